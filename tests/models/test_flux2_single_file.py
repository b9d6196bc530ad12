"""FLUX.2's transformer in one file is the transformer of the folder, whatever its names."""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_flux2_transformer_checkpoint_to_diffusers
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux_lora.errors import ModelError
from flux_lora.models.family import ModelSource, Placement
from flux_lora.models.flux1.single_file import open_single_file as open_flux1
from flux_lora.models.flux2.family import FLUX2_DEV, KLEIN
from flux_lora.models.flux2.layers import DEV, KLEIN_4B, KLEIN_9B, Size, flux2_shapes, fused_weights
from flux_lora.models.flux2.load import load_transformer
from flux_lora.models.flux2.programs import BASE_4B
from flux_lora.models.flux2.single_file import open_single_file
from flux_lora.models.flux2.weightless import transformer_settings
from flux_lora.models.single_file import NORMS, settings_of, tensors_in
from tests.dev_base import write_dev
from tests.klein_base import write_klein

PLACE = Placement(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_klein(tmp_path_factory.mktemp("klein") / "base")


def native(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As Black Forest Labs name and fuse them."""
    made: dict[str, Tensor] = {}
    for bfl, weight in fused_weights({name.removesuffix(".weight") for name in weights}).items():
        whole = torch.cat([weights[f"{part}.weight"] for part in weight.parts])
        made[f"{bfl}.weight"] = torch.cat(whole.chunk(2)[::-1]) if weight.swaps else whole
    for bfl, name in NORMS.items():
        ours, theirs = (
            ("single_transformer_blocks", "single_blocks")
            if bfl.startswith("norm")
            else ("transformer_blocks", "double_blocks")
        )
        for number in range(48):
            norm = weights.get(f"{ours}.{number}.{name}.weight")
            if norm is not None:
                made[f"{theirs}.{number}.{bfl}.scale"] = norm
    assert sum(each.numel() for each in made.values()) == sum(each.numel() for each in weights.values())
    return made


def written(folder: Path, base: Path, weights: Mapping[str, Tensor]) -> str:
    """With the config that says how wide the tiny one's positions are."""
    shutil.copy(base / "transformer" / "config.json", folder)
    save_file({key: each.contiguous() for key, each in weights.items()}, folder / "klein.safetensors")
    return str(folder / "klein.safetensors")


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
@pytest.mark.parametrize("naming", [native, dict])
def test_a_file_in_either_naming_and_behind_any_prefix_is_the_folder_s_transformer(
    base: Path, tmp_path: Path, prefix: str, naming: object
):
    assert callable(naming)
    weights = load_file(next((base / "transformer").glob("*.safetensors")))
    file = written(tmp_path, base, {prefix + name: each for name, each in naming(weights).items()})
    source = ModelSource(str(base), transformer=file)
    ours, theirs = (KLEIN[0].load_transformer(each, PLACE).state_dict() for each in (source, ModelSource(str(base))))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    counted = KLEIN[0].weightless_base(source).transformer
    assert {name: each.shape for name, each in counted.state_dict().items()} == {
        name: each.shape for name, each in theirs.items()
    }


def test_embedded_guidance_is_told_by_the_tensors_and_comes_with_them(tmp_path: Path):
    base = write_dev(tmp_path / "base")
    weights = load_file(next((base / "transformer").glob("*.safetensors")))
    file = written(tmp_path, base, native(weights))
    loaded = FLUX2_DEV.load_transformer(ModelSource(str(base), transformer=file), PLACE)
    assert all(torch.equal(each, weights[name]) for name, each in loaded.state_dict().items())
    assert [name for name in weights if "guidance_embedder" in name]


def released(size: Size, columns: int = 1) -> dict[str, Tensor]:
    """Every tensor of the released file by its name and rows, each row another number."""
    shapes = flux2_shapes(size)
    made: dict[str, Tensor] = {}
    for bfl, weight in fused_weights(shapes).items():
        count = sum(shapes[part][0] for part in weight.parts)
        wide = shapes[weight.parts[0]][1] if bfl in ("img_in", "txt_in") else columns
        made[f"{bfl}.weight"] = torch.arange(float(count))[:, None].expand(count, wide).contiguous() + len(made)
    for block, numbers, of in (("double", size.doubles, ("img_attn.", "txt_attn.")), ("single", size.singles, ("",))):
        for number in range(numbers):
            for part in of:
                for norm in ("query", "key"):
                    name = f"{block}_blocks.{number}.{part}norm.{norm}_norm.scale"
                    made[name] = torch.full((128,), float(len(made)))
    return made


@pytest.mark.parametrize("size", [KLEIN_4B, KLEIN_9B, DEV], ids=["4B", "9B", "dev"])
def test_every_tensor_goes_where_diffusers_own_conversion_puts_it_and_tells_the_size(size: Size, tmp_path: Path):
    save_file(released(size), tmp_path / "klein.safetensors")
    single = open_single_file(str(tmp_path / "klein.safetensors"))
    ours, theirs = dict(tensors_in(single)), convert_flux2_transformer_checkpoint_to_diffusers(released(size))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert {name: settings_of(single)[name] for name in transformer_settings(size)} == transformer_settings(size)


def test_a_file_of_another_size_than_the_base_is_refused_before_anything_is_encoded(tmp_path: Path):
    save_file(released(KLEIN_4B), tmp_path / "klein.safetensors")
    file = str(tmp_path / "klein.safetensors")
    assert KLEIN[0].transformer_place(ModelSource(BASE_4B.hub, transformer=file)) == Path(file)
    cpu = torch.device("cpu")
    for family in (KLEIN[1], FLUX2_DEV):
        source = ModelSource(family.release.hub, transformer=file)
        for ask in (
            partial(family.transformer_place, source),
            partial(family.weightless_base, source),
            partial(family.load_transformer, source, PLACE),
            partial(family.encoders, source, device=cpu, text_device=cpu, dtype=torch.float32),
        ):
            with pytest.raises(ModelError, match="reads text of 7680 features") as refused:
                ask()
            assert refused.value.fix.startswith("set model=flux2_klein_4b")


def test_eight_bit_weights_are_taken_times_their_scale(base: Path, tmp_path: Path):
    weights = native(load_file(next((base / "transformer").glob("*.safetensors"))))
    name = "single_blocks.0.linear1"
    scale = weights[f"{name}.weight"].abs().max() / 448
    eight = (weights[f"{name}.weight"] / scale).to(torch.float8_e4m3fn)
    file = written(tmp_path, base, weights | {f"{name}.weight": eight, f"{name}.weight_scale": scale})
    loaded = load_transformer(ModelSource(str(base), transformer=file), PLACE)
    found = loaded.get_parameter("single_transformer_blocks.0.attn.to_qkv_mlp_proj.weight")
    assert (found - weights[f"{name}.weight"]).norm() / found.norm() < 0.04


def test_a_file_of_the_other_family_is_refused_by_name(tmp_path: Path):
    save_file(released(KLEIN_4B), tmp_path / "klein.safetensors")
    with pytest.raises(ModelError, match=r"stream_modulation.*, which FLUX.1 has not"):
        settings_of(open_flux1(str(tmp_path / "klein.safetensors")))
    save_file({"img_in.weight": torch.zeros(4, 64), "vector_in.in_layer.weight": torch.zeros(4, 8)}, tmp_path / "dev")
    (tmp_path / "dev").rename(tmp_path / "dev.safetensors")
    with pytest.raises(ModelError, match=r"vector_in.*, which FLUX.2 has not"):
        settings_of(open_single_file(str(tmp_path / "dev.safetensors")))

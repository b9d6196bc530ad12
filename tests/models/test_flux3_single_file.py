# ruff: noqa: E402
"""FLUX.3 klein's transformer in one file is the transformer of the folder, whatever its names."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

pytest.importorskip("diffusers", minversion="0.42", reason="FLUX.3 came with diffusers 0.42")

from diffusers.loaders.single_file_utils import convert_flux3_transformer_checkpoint_to_diffusers

from flux_lora.errors import ConfigError, ModelError
from flux_lora.models.family import ModelSource
from flux_lora.models.flux2.single_file import open_single_file as open_flux2
from flux_lora.models.flux3.layers import bfl_weights, flux3_shapes
from flux_lora.models.flux3.single_file import NORMS, open_single_file
from flux_lora.models.flux3.weightless import weightless_transformer
from flux_lora.models.registry import family_of
from flux_lora.models.single_file import settings_of, tensors_in
from tests.flux3_base import PLACE, write_flux3


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux3(tmp_path_factory.mktemp("flux3") / "base")


def weights_of(base: Path) -> dict[str, Tensor]:
    return load_file(next((base / "transformer").glob("*.safetensors")))


def native(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As Black Forest Labs name them, with the heads that only their training used."""
    made: dict[str, Tensor] = {}
    for bfl, weight in bfl_weights({name.removesuffix(".weight") for name in weights}).items():
        whole = weights[f"{weight.parts[0]}.weight"]
        made[f"{bfl}.weight"] = torch.cat(whole.chunk(2)[::-1]) if weight.swaps else whole
    made |= {bfl: weights[name] for bfl, name in NORMS.items() if name in weights}
    assert len(made) == len(weights)
    return made | {"repa_projectors.0.weight": torch.zeros(3, 3)}


def written(folder: Path, base: Path, weights: Mapping[str, Tensor]) -> str:
    """With the config that says how wide the tiny one's positions are."""
    shutil.copy(base / "transformer" / "config.json", folder)
    save_file({key: each.contiguous() for key, each in weights.items()}, folder / "klein.safetensors")
    return str(folder / "klein.safetensors")


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
@pytest.mark.parametrize("naming", [native, dict])
def test_a_file_in_either_naming_and_behind_any_prefix_is_the_folder_s_transformer(
    base: Path, tmp_path: Path, prefix: str, naming: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
):
    file = written(tmp_path, base, {prefix + name: each for name, each in naming(weights_of(base)).items()})
    source = ModelSource(str(base), transformer=file)
    family = family_of(source)
    assert family.name == "FLUX.3 klein base" and family.transformer_place(source) == Path(file)
    ours, theirs = (family.load_transformer(each, PLACE).state_dict() for each in (source, ModelSource(str(base))))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    counted = family.weightless_base(source).transformer
    assert {name: each.shape for name, each in counted.state_dict().items()} == {
        name: each.shape for name, each in theirs.items()
    }


def released(*, flow_map: bool) -> dict[str, Tensor]:
    """Every tensor of the released file by its name and rows, each row another number."""
    shapes = flux3_shapes(flow_map=flow_map)
    sides = {name: each.shape for name, each in weightless_transformer(flow_map=flow_map).state_dict().items()}
    wide = ("emb_in", "txt_in", "time_in.in")
    made: dict[str, Tensor] = {}
    for bfl, weight in bfl_weights(shapes).items():
        rows, columns = shapes[weight.parts[0]]
        columns = columns if bfl.startswith(wide) else 1
        made[f"{bfl}.weight"] = torch.arange(float(rows))[:, None].expand(rows, columns).contiguous() + len(made)
    for bfl, name in NORMS.items():
        if name in sides:
            made[bfl] = torch.full(sides[name], float(len(made)))
    assert len(made) == len(sides)
    return made


@pytest.mark.parametrize("flow_map", [False, True], ids=["base", "distilled"])
def test_every_tensor_goes_where_diffusers_own_conversion_puts_it_and_tells_which_it_is(flow_map: bool, tmp_path: Path):
    save_file(released(flow_map=flow_map), tmp_path / "klein.safetensors")
    single = open_single_file(str(tmp_path / "klein.safetensors"))
    ours = dict(tensors_in(single))
    theirs = convert_flux3_transformer_checkpoint_to_diffusers(released(flow_map=flow_map))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    settings = weightless_transformer(flow_map=flow_map).config
    assert {name: settings[name] for name in settings_of(single)} == settings_of(single)
    hub = ModelSource("black-forest-labs/flux-3-image-klein-base", transformer=str(single.file))
    assert family_of(hub).name == ("FLUX.3 klein" if flow_map else "FLUX.3 klein base")


def test_weights_as_whole_numbers_are_refused_by_name(base: Path, tmp_path: Path):
    """ComfyUI's int8 files: rotated, and with a scale beside each weight."""
    name = "single_blocks.0.q_proj.weight"
    weights = native(weights_of(base))
    file = written(tmp_path, base, weights | {name: (weights[name] * 100).to(torch.int8)})
    with pytest.raises(ModelError, match=f"packed in a way that is not read \\({name}\\)"):
        open_single_file(file)


def test_a_file_of_another_family_is_refused_by_name(base: Path, tmp_path: Path):
    file = written(tmp_path, base, native(weights_of(base)))
    with pytest.raises(ModelError, match="holds no FLUX.2 transformer"):
        open_flux2(file)
    save_file({"img_in.weight": torch.zeros(4, 64)}, tmp_path / "dev.safetensors")
    with pytest.raises(ModelError, match="no FLUX.3 klein transformer"):
        open_single_file(str(tmp_path / "dev.safetensors"))


@pytest.mark.parametrize("part", ["vae", "text_encoder", "text_encoder_2"])
def test_a_part_that_is_not_read_out_of_a_file_is_refused_and_not_passed_over(part: str, base: Path):
    source = replace(ModelSource(str(base)), **{part: "some.safetensors"})
    cpu = torch.device("cpu")
    with pytest.raises(ConfigError, match=f"model.{part} is some.safetensors"):
        family_of(source).encoders(source, device=cpu, text_device=cpu, dtype=torch.float32)

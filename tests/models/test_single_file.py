"""A transformer in one file, in every layout that people have, is the transformer of the folder."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux_lora.config.choices import Quantization
from flux_lora.errors import ModelError
from flux_lora.models.family import ModelSource, Placement
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.layers import fused_weights
from flux_lora.models.flux1.load import load_transformer
from flux_lora.models.flux1.single_file import open_single_file
from flux_lora.models.flux1.weightless import weightless_transformer
from flux_lora.models.frozen_linear import FrozenLinear
from flux_lora.models.hub import fingerprint
from flux_lora.models.mini import MINI, mini_folder
from flux_lora.models.pipeline_folder import model_folder
from flux_lora.models.single_file import settings_of, tensors_in
from tests.single_files import eight_bit, native

WIDTH = 3072
Weights = Mapping[str, Tensor]


def mini() -> dict[str, Tensor]:
    """Under diffusers' names."""
    return load_file(next((mini_folder() / "transformer").glob("*.safetensors")))


def written(folder: Path, weights: Weights, name: str = "flux1-dev.safetensors") -> str:
    """With the config that says how wide mini's positions are."""
    shutil.copy(mini_folder() / "transformer" / "config.json", folder)
    save_file({key: each.contiguous() for key, each in weights.items()}, folder / name)
    return str(folder / name)


def same(file: str, dtype: torch.dtype = torch.float32) -> bool:
    ours, theirs = (load_transformer(path, dtype).state_dict() for path in (file, MINI))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
@pytest.mark.parametrize("naming", [native, dict])
def test_a_file_in_either_naming_and_behind_any_prefix_is_the_folders_transformer(tmp_path, prefix, naming):
    file = written(tmp_path, {prefix + name: each for name, each in naming(mini()).items()})
    assert same(file)


def test_an_all_in_one_checkpoint_gives_its_transformer(tmp_path):
    weights = {f"model.diffusion_model.{name}": each for name, each in native(mini()).items()}
    others = {"vae.decoder.conv_in.weight": torch.zeros(2), "text_encoders.clip_l.logit_scale": torch.ones(1)}
    assert same(written(tmp_path, weights | others))


def released(columns: int = 1) -> dict[str, Tensor]:
    """Every tensor of flux1-dev.safetensors by its name and rows, each row another number."""
    made: dict[str, Tensor] = {}
    inside = {1: WIDTH, 3: 3 * WIDTH, 4: 7 * WIDTH}
    rows = {"mlp.0": 4 * WIDTH, "mod.lin": 6 * WIDTH, "modulation.lin": 3 * WIDTH, "adaLN_modulation.1": 2 * WIDTH}
    for bfl, weight in fused_weights().items():
        known = next((count for ending, count in rows.items() if bfl.endswith(ending)), inside[len(weight.parts)])
        count = 64 if bfl == "final_layer.linear" else known
        made[f"{bfl}.weight"] = torch.arange(float(count))[:, None].expand(count, columns).contiguous() + len(made)
        made[f"{bfl}.bias"] = torch.arange(float(count)) + len(made)
    for block, numbers, of in (("double", 19, ("img_attn.", "txt_attn.")), ("single", 38, ("",))):
        for number in range(numbers):
            for part in of:
                for norm in ("query", "key"):
                    name = f"{block}_blocks.{number}.{part}norm.{norm}_norm.scale"
                    made[name] = torch.full((128,), float(len(made)))
    return made


def test_every_tensor_of_flux1_dev_goes_where_diffusers_own_conversion_puts_it(tmp_path):
    save_file(released(), tmp_path / "flux1-dev.safetensors")
    ours = dict(tensors_in(open_single_file(str(tmp_path / "flux1-dev.safetensors"))))
    theirs = convert_flux_transformer_checkpoint_to_diffusers(released())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("guided", [True, False])
def test_dev_and_schnell_are_told_apart_by_their_tensors(tmp_path, guided):
    widths = {"img_in": 64, "txt_in": 4096, "vector_in.in_layer": 768}
    tensors = {
        name: torch.zeros(each.shape[0], widths.get(name.removesuffix(".weight"), 1)) if each.ndim == 2 else each
        for name, each in released().items()
        if guided or not name.startswith("guidance_in")
    }
    save_file(tensors, tmp_path / "model.safetensors")
    settings = settings_of(open_single_file(str(tmp_path / "model.safetensors")))
    dev = weightless_transformer().config
    assert settings["guidance_embeds"] is guided
    assert {name: dev[name] for name in settings} == dict(settings) | {
        "guidance_embeds": True,
        "axes_dims_rope": dev["axes_dims_rope"],
    }
    assert tuple(settings["axes_dims_rope"]) == tuple(dev["axes_dims_rope"])


@pytest.mark.parametrize(("scaled", "most"), [(False, 0.05), (True, 0.035)])
def test_eight_bit_weights_are_the_numbers_that_they_stand_for(tmp_path, scaled, most):
    file = written(tmp_path, eight_bit(native(mini()), scaled=scaled))
    ours, theirs = (load_transformer(path, torch.bfloat16).state_dict() for path in (file, MINI))
    assert ours.keys() == theirs.keys()
    off = {
        name: float((ours[name] - each).float().norm() / each.float().norm().clamp_min(1e-6))
        for name, each in theirs.items()
        if each.ndim == 2
    }
    assert max(off.values()) < most


def test_a_file_is_quantised_on_its_way_as_a_folder_is(tmp_path):
    file = written(tmp_path, native(mini()))
    ours, theirs = (load_transformer(path, torch.bfloat16, quantize=Quantization.int8) for path in (file, MINI))
    pairs = [
        (ours.get_submodule(name), each) for name, each in theirs.named_modules() if isinstance(each, FrozenLinear)
    ]
    assert pairs and all(isinstance(one, FrozenLinear) for one, _ in pairs)
    mine, their = ours.state_dict(), theirs.state_dict()
    assert all(torch.equal(mine[name], their[name]) for name in their)


def test_what_cannot_be_trained_or_read_is_refused_in_two_lines_with_the_way_out(tmp_path):
    cases = {
        "model.ckpt": ({"x": torch.zeros(1)}, "is no safetensors file"),
        "lora.safetensors": ({"lora_unet_x.alpha": torch.zeros(1)}, "holds no FLUX.1 transformer"),
        "nvfp4.safetensors": (
            {**native(mini()), "a.weight_scale_2": torch.zeros(1)},
            "packed in a way that is not read",
        ),
        "more.safetensors": ({**native(mini()), "distilled_guidance_layer.x.weight": torch.zeros(1)}, "another model"),
    }
    for name, (weights, said) in cases.items():
        with pytest.raises(ModelError, match=said) as refused:
            load_transformer(written(tmp_path, weights, name), torch.float32)
        assert refused.value.fix


def test_a_file_without_what_tells_its_sizes_is_refused_and_a_broken_config_beside_it_is_not_believed(tmp_path):
    few = {name: each for name, each in native(mini()).items() if "txt_in" not in name}
    file = written(tmp_path, few)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="has no context_embedder.weight") as refused:
        load_transformer(file, torch.float32)
    assert refused.value.fix


def test_a_model_for_filling_is_refused_before_its_weights_are_read(tmp_path):
    fill = native(mini()) | {"img_in.weight": torch.zeros(192, 384)}
    save_file({name: each.contiguous() for name, each in fill.items()}, tmp_path / "fill.safetensors")
    with pytest.raises(ModelError, match="takes 384 channels"):
        load_transformer(str(tmp_path / "fill.safetensors"), torch.float32)


def test_a_file_cut_short_is_named(tmp_path):
    file = Path(written(tmp_path, native(mini())))
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="flux1-dev.safetensors cannot be opened"):
        load_transformer(str(file), torch.float32)


def test_a_file_given_as_the_whole_model_is_sent_to_the_key_that_takes_it(tmp_path):
    file = written(tmp_path, native(mini()))
    with pytest.raises(ModelError) as refused:
        model_folder(file)
    assert f"model.transformer={file}" in refused.value.fix


def test_a_family_opens_the_file_wherever_it_would_open_the_folders_transformer(tmp_path):
    file = written(tmp_path, native(mini()))
    source = ModelSource(MINI, transformer=file)
    loaded = Flux1().load_pipeline(source, Placement(torch.device("cpu"), torch.float32)).transformer.state_dict()
    assert all(
        torch.equal(loaded[name], each) for name, each in load_transformer(MINI, torch.float32).state_dict().items()
    )
    on_meta = {name: each.shape for name, each in weightless_transformer(source).state_dict().items()}
    assert on_meta == {name: each.shape for name, each in loaded.items()}
    renamed = shutil.copy(file, tmp_path / "other.safetensors")
    assert fingerprint(Flux1().transformer_place(source)) == fingerprint(Path(renamed))

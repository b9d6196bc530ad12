"""A base's weights are found under an adapter's names in both layouts."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flux_lora.adapter.base_weights import linear_modules, open_base, weight_reader
from flux_lora.adapter.fuse import fuse_into_base
from flux_lora.adapter.layer_types import frobenius_norm, lora_delta
from flux_lora.adapter.merge_resize import extract_lora
from flux_lora.adapter.quantized_merge import forecast
from flux_lora.config.choices import AdapterTargets
from flux_lora.errors import AdapterFileError, ModelError
from tests.adapter.example_adapters import frozen_transformer, learned_adapter
from tests.adapter.native_base import as_native

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One transformer as diffusers' folder and as a file with FLUX's own names."""
    folder = tmp_path_factory.mktemp("base") / "transformer"
    frozen_transformer().save_pretrained(folder)
    file = folder.parent / "native.safetensors"
    save_file(as_native(load_file(folder / WEIGHTS)), file)
    return folder, file


def test_both_layouts_have_the_same_layers_with_the_same_weights(bases: tuple[Path, Path]):
    ours, native = (open_base(place) for place in bases)
    modules = dict(frozen_transformer().named_modules())
    assert linear_modules(ours) == linear_modules(native)
    assert set(linear_modules(ours)) == {name for name, each in modules.items() if isinstance(each, torch.nn.Linear)}
    for name in linear_modules(ours):
        assert torch.equal(weight_reader(ours)(name), weight_reader(native)(name))


def test_flux_s_own_names_are_found_in_a_diffusers_folder(bases: tuple[Path, Path]):
    ours, native = (open_base(place) for place in bases)
    for name in native.modules:
        if weight_reader(native)(name).ndim == 2:
            assert torch.equal(weight_reader(ours)(name), weight_reader(native)(name))


@pytest.mark.parametrize("at", [0, 1])
def test_what_was_fused_into_a_base_is_extracted_from_the_two(at: int, bases: tuple[Path, Path], tmp_path: Path):
    adapter = learned_adapter(rank=3, targets=AdapterTargets.blocks_all)
    out = tmp_path / "out.safetensors"
    fuse_into_base(bases[at], adapter, out)
    before, after = open_base(bases[at]), open_base(out)
    found = extract_lora(weight_reader(before), weight_reader(after), linear_modules(before), rank=3)
    assert set(found.adapter.layers) == set(adapter.layers) and found.worst < 1e-4
    for name, layer in found.adapter.layers.items():
        torch.testing.assert_close(
            lora_delta(layer), lora_delta(adapter.layers[name]), rtol=0, atol=1e-5 * frobenius_norm(layer)
        )


def test_a_forecast_needs_no_model_in_memory(bases: tuple[Path, Path]):
    said = forecast(learned_adapter(), weight_reader(open_base(bases[0])), "fp8-e4m3")
    assert said.modules.keys() == learned_adapter().layers.keys() and 0 <= said.whole.lost < 0.5


def test_a_layer_that_is_not_there_and_one_that_is_rounded_are_named(bases: tuple[Path, Path], tmp_path: Path):
    with pytest.raises(AdapterFileError, match="has no layer transformer_blocks.9.attn.to_q"):
        weight_reader(open_base(bases[0]))("transformer_blocks.9.attn.to_q")
    tensors = {key: tensor.to(torch.float8_e4m3fn) for key, tensor in load_file(bases[0] / WEIGHTS).items()}
    save_file(tensors, tmp_path / "fp8.safetensors")
    with pytest.raises(ModelError, match=r"proj_out.weight of .*fp8.safetensors is stored as F8_E4M3"):
        weight_reader(open_base(tmp_path / "fp8.safetensors"))("proj_out")

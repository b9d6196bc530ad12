"""Folders and files that bitsandbytes packed are read as the numbers that diffusers itself makes of them."""

import json
from pathlib import Path

import pytest
import torch
from bitsandbytes import functional
from diffusers import BitsAndBytesConfig, FluxPipeline, FluxTransformer2DModel
from diffusers.quantizers.bitsandbytes.bnb_quantizer import BnB4BitDiffusersQuantizer, BnB8BitDiffusersQuantizer
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BitsAndBytesConfig as TextPacking
from transformers import T5EncoderModel

from flux_lora.config.choices import Quantization
from flux_lora.errors import ModelError
from flux_lora.models.family import ModelSource
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.load import load_text_encoders, load_transformer
from flux_lora.models.flux1.weightless import weightless_base
from flux_lora.models.frozen_linear import FrozenLinear, Nf4Linear
from tests.models.test_part_files import full_size
from tests.single_files import flux1, native, write_folder, written

WAYS = {
    "nf4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16),
    "nf4 with packed scales": BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    ),
    "fp4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="fp4"),
    "int8": BitsAndBytesConfig(load_in_8bit=True),
}


@pytest.fixture(scope="module")
def pipeline() -> FluxPipeline:
    return flux1()


@pytest.fixture(scope="module")
def folder(pipeline: FluxPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("packed") / "folder", pipeline)


def packed(folder: Path, out: Path, way: BitsAndBytesConfig, monkeypatch: pytest.MonkeyPatch, **sizes: str) -> Path:
    """The transformer packed and written by diffusers, which asks for a GPU and needs none."""
    for kind in (BnB4BitDiffusersQuantizer, BnB8BitDiffusersQuantizer):
        monkeypatch.setattr(kind, "validate_environment", lambda *_, **__: None)
        monkeypatch.setattr(kind, "update_device_map", lambda *_: {"": "cpu"})
    model = FluxTransformer2DModel.from_pretrained(
        folder / "transformer", quantization_config=way, torch_dtype=torch.bfloat16
    )
    model.save_pretrained(out / "transformer", **sizes)
    for part in (each for each in folder.iterdir() if each.name != "transformer"):
        (out / part.name).symlink_to(part)
    return out


def by_diffusers(model: nn.Module) -> dict[str, Tensor]:
    """Names and whole weights, by bitsandbytes from the layers that diffusers filled."""
    made = {name: each.data for name, each in model.named_parameters()}
    for name, layer in model.named_modules():
        kind = type(layer).__name__
        if kind == "Linear4bit":
            made[f"{name}.weight"] = functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        elif kind == "Linear8bitLt":
            state = layer.state_dict()
            made[f"{name}.weight"] = functional.int8_vectorwise_dequant(state["weight"], state["SCB"].view(-1, 1))
    return made


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore")
def test_a_packed_folder_is_the_numbers_that_diffusers_makes_of_it(folder: Path, tmp_path: Path, monkeypatch, way: str):
    base = packed(folder, tmp_path / "base", WAYS[way], monkeypatch, max_shard_size="400KB")
    assert len(list((base / "transformer").glob("*.safetensors"))) > 1, "scales and weights lie in several files"
    theirs = by_diffusers(FluxTransformer2DModel.from_pretrained(base / "transformer", torch_dtype=torch.bfloat16))
    ours = load_transformer(str(base), torch.bfloat16).state_dict()
    assert ours.keys() == theirs.keys()
    for name, each in theirs.items():
        torch.testing.assert_close(ours[name], each.bfloat16(), rtol=2**-7, atol=0)
    whole = load_transformer(str(folder), torch.bfloat16).state_dict()
    off = max(float((ours[name] - each).float().norm() / each.float().norm()) for name, each in whole.items())
    assert 0.001 < off < 0.2
    assert full_size(weightless_base(ModelSource(str(base))).transformer) == full_size(
        load_transformer(str(folder), torch.bfloat16)
    )


@pytest.mark.filterwarnings("ignore")
def test_it_trains_in_the_bits_that_hardware_says_and_nf4_stays_the_same_levels(folder: Path, tmp_path, monkeypatch):
    base = packed(folder, tmp_path / "base", WAYS["nf4"], monkeypatch)
    place = base / "transformer" / "diffusion_pytorch_model.safetensors"
    for how in (Quantization.int8, Quantization.nf4):
        loaded = load_transformer(str(base), torch.bfloat16, quantize=how)
        layers = {name: each for name, each in loaded.named_modules() if isinstance(each, FrozenLinear)}
        assert len(layers) == 20
    codes = load_file(place)
    for name, layer in layers.items():
        assert isinstance(layer, Nf4Linear)
        same = layer.weight.data.view(-1) == codes[f"{name}.weight"].view(-1)
        assert same.float().mean() > 0.99, name


@pytest.mark.filterwarnings("ignore")
def test_t5_that_transformers_packed_is_made_whole_too(folder: Path, tmp_path: Path):
    packing = TextPacking(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    model = T5EncoderModel.from_pretrained(
        folder / "text_encoder_2", quantization_config=packing, dtype=torch.bfloat16, device_map={"": "cpu"}
    )
    base = tmp_path / "base"
    base.mkdir()
    model.save_pretrained(base / "text_encoder_2")
    for part in (each for each in folder.iterdir() if each.name != "text_encoder_2"):
        (base / part.name).symlink_to(part)
    ours = load_text_encoders(str(base), torch.bfloat16).t5.state_dict()
    theirs = by_diffusers(model)
    for name, each in theirs.items():
        torch.testing.assert_close(ours[name], each.bfloat16(), rtol=2**-7, atol=0)


@pytest.mark.filterwarnings("ignore")
def test_one_file_in_bfls_names_packed_in_4_bits_is_read(pipeline: FluxPipeline, tmp_path: Path):
    weights, made = native(pipeline.transformer.state_dict()), {}
    for name, tensor in weights.items():
        if tensor.ndim != 2:
            made[name] = tensor
            continue
        codes, state = functional.quantize_4bit(tensor.bfloat16(), blocksize=64, quant_type="nf4")
        made |= {name: codes, **{f"{name}.{key}": each for key, each in state.as_dict(packed=True).items()}}
    file = written(tmp_path / "flux1-dev-bnb-nf4.safetensors", made)
    ours = load_transformer(str(file), torch.bfloat16).state_dict()
    whole = pipeline.transformer.state_dict()
    off = max(float((ours[name] - each).norm() / each.norm()) for name, each in whole.items() if each.ndim == 2)
    assert 0.05 < off < 0.15


def test_a_folder_packed_in_a_way_that_is_not_read_is_refused_with_the_way_out(folder: Path, tmp_path: Path):
    base = tmp_path / "base"
    (base / "transformer").mkdir(parents=True)
    for file in (folder / "transformer").iterdir():
        (base / "transformer" / file.name).symlink_to(file)
    config = json.loads((folder / "transformer" / "config.json").read_text())
    (base / "transformer" / "config.json").unlink()
    (base / "transformer" / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": "torchao"}})
    )
    (base / "model_index.json").symlink_to(folder / "model_index.json")
    for opened in (
        lambda: load_transformer(str(base), torch.bfloat16),
        lambda: Flux1().weightless_base(ModelSource(str(base))),
    ):
        with pytest.raises(ModelError, match="packed by torchao") as refused:
            opened()
        assert "16 bits" in refused.value.fix

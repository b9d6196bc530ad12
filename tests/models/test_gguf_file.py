"""A GGUF transformer is the numbers that llama.cpp's blocks stand for, as diffusers makes them whole too."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.model_loading_utils import load_gguf_checkpoint
from diffusers.quantizers.gguf.utils import GGML_QUANT_SIZES, GGUFParameter, dequantize_functions
from gguf import GGMLQuantizationType as Kind
from torch import Tensor

from flux_lora.config.choices import Quantization
from flux_lora.errors import ModelError
from flux_lora.models.family import ModelSource
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.load import load_transformer
from flux_lora.models.flux1.single_file import open_single_file
from flux_lora.models.frozen_linear import FrozenLinear
from flux_lora.models.mini import MINI, mini_folder
from flux_lora.models.single_file import tensors_in
from flux_lora.share.base_models import base_model
from tests.models.test_single_file import mini
from tests.single_files import native

KINDS = (Kind.Q8_0, Kind.Q4_K, Kind.Q5_K, Kind.Q6_K, Kind.Q4_0, Kind.F16, Kind.BF16)
SCALES = {Kind.Q8_0: (0,), Kind.Q4_0: (0,), Kind.Q4_K: (0, 2), Kind.Q5_K: (0, 2), Kind.Q6_K: (208,)}
"""Where in a block its float16 scales stand."""


def wide() -> dict[str, Tensor]:
    """A small transformer whose rows are whole blocks of 256, by BFL's names."""
    torch.manual_seed(0)
    made = FluxTransformer2DModel(
        num_layers=1,
        num_single_layers=1,
        num_attention_heads=2,
        joint_attention_dim=64,
        pooled_projection_dim=32,
        guidance_embeds=True,
    )
    return native(made.state_dict())


def packed(shape: tuple[int, ...], kind: Kind) -> np.ndarray:
    """Blocks of any levels and small scales: gguf-py writes no K-quants, and every byte of one means something."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    made = np.random.default_rng(0).integers(0, 256, (shape[0], shape[1] // block, size), dtype=np.uint8)
    for place in SCALES[kind]:
        made[..., place : place + 2] = np.float16(0.003).reshape(1).view(np.uint8)
    return made.reshape(shape[0], -1)


def written(file: Path, weights: Mapping[str, Tensor], kind: Kind, architecture: str = "flux") -> str:
    """As ComfyUI-GGUF's converter does: what is small or has narrow rows stays whole."""
    writer = gguf.GGUFWriter(file, architecture)
    for name, tensor in weights.items():
        whole = tensor.float().numpy()
        if tensor.ndim != 2 or (kind in SCALES and whole.shape[1] % gguf.GGML_QUANT_SIZES[kind][0]):
            writer.add_tensor(name, whole)
        elif kind in (Kind.F16, Kind.BF16, Kind.Q8_0):
            writer.add_tensor(name, gguf.quants.quantize(whole, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, packed(whole.shape, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(file)


def made_whole_by_diffusers(tensor: Tensor) -> Tensor:
    """In float32, where diffusers itself stops at float16."""
    if not isinstance(tensor, GGUFParameter):
        return tensor.float()
    block, size = GGML_QUANT_SIZES[tensor.quant_type]
    raw = tensor.as_tensor().view(torch.uint8)
    blocks = raw.reshape(-1, size)
    whole = dequantize_functions[tensor.quant_type](blocks, block, size, dtype=torch.float32)
    return whole.reshape(*raw.shape[:-1], raw.shape[-1] // size * block).float()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_tensor_is_what_diffusers_makes_of_it(tmp_path: Path, kind: Kind):
    file = written(tmp_path / f"flux1-dev-{kind.name}.gguf", wide(), kind)
    theirs = {name: made_whole_by_diffusers(each) for name, each in load_gguf_checkpoint(file).items()}
    single = open_single_file(file)
    with single.weights.opened() as read:
        assert single.shapes.keys() == theirs.keys()
        assert all(torch.equal(read(name).float(), each) for name, each in theirs.items())
    ours = dict(tensors_in(single))
    assert sum(each.is_floating_point() and bool(each.isfinite().all()) for each in ours.values()) == len(ours)


@pytest.mark.parametrize("kind", [Kind.Q8_0, Kind.Q4_K], ids=lambda kind: kind.name)
def test_it_is_quantised_on_arrival_and_its_sizes_are_told(tmp_path: Path, kind: Kind):
    file = written(tmp_path / "flux1-dev.gguf", wide(), kind)
    loaded = load_transformer(file, torch.bfloat16, quantize=Quantization.int8)
    assert sum(isinstance(each, FrozenLinear) for each in loaded.modules()) == 20
    assert loaded.config["num_attention_heads"] == 2 and loaded.config["joint_attention_dim"] == 64
    counted = Flux1().weightless_base(ModelSource("black-forest-labs/FLUX.1-dev", transformer=file)).transformer
    assert [each.shape for each in counted.state_dict().values()] == [
        each.shape for each in load_transformer(file, torch.bfloat16).state_dict().values()
    ]


def test_in_8_bits_mini_is_as_near_to_itself_as_q8_0_is(tmp_path: Path):
    file = written(tmp_path / "mini.gguf", native(mini()), Kind.Q8_0)
    shutil.copy(mini_folder() / "transformer" / "config.json", tmp_path)
    ours, theirs = (load_transformer(path, torch.float32).state_dict() for path in (file, MINI))
    off = [
        float((ours[name] - each).norm() / each.norm())
        for name, each in theirs.items()
        if each.ndim == 2 and each.shape[1] % 32 == 0
    ]
    assert 0.001 < max(off) < 0.01


def test_another_architecture_a_damaged_file_and_a_missing_package_are_said_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = written(tmp_path / "sd3.gguf", {"joint_blocks.0.x.weight": torch.zeros(4, 32)}, Kind.F16, "sd3")
    with pytest.raises(ModelError, match=r"sd3.gguf holds no FLUX.1 transformer: its architecture is sd3"):
        open_single_file(other)
    whole = Path(written(tmp_path / "cut.gguf", wide(), Kind.Q8_0))
    whole.write_bytes(whole.read_bytes()[:200_000])
    (tmp_path / "no.gguf").write_bytes(b"<html>" * 100)
    for file in (whole, tmp_path / "no.gguf"):
        with pytest.raises(ModelError, match="cannot be opened") as refused:
            open_single_file(str(file))
        assert "fetch the model again" in refused.value.fix
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match="the gguf package reads") as refused:
        open_single_file(other)
    assert "pip install gguf" in refused.value.fix


def test_comfyuis_own_loader_is_not_given_a_gguf() -> None:
    base = base_model("mine", "black-forest-labs/FLUX.1-dev", "", Flux1(), "/home/me/flux1-dev-Q4_K_S.gguf")
    assert base.comfy == "flux1-dev.safetensors" and base.own_transformer == "flux1-dev-Q4_K_S.gguf"

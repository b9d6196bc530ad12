"""FLUX.2's files: the table for diffusers agrees with diffusers itself, and every layout comes back as it was."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers import Flux2Transformer2DModel
from safetensors.torch import save_file
from torch import Tensor

from flux_lora.adapter.attach import detach
from flux_lora.adapter.dialects import flux2_names
from flux_lora.adapter.dialects.module_names import bfl_name, diffusers_names
from flux_lora.adapter.files import read_contents, write_dialect
from flux_lora.adapter.layer_types import Adapter, LoRA, lora_delta
from flux_lora.adapter.loaders.comfyui import COMFYUI
from flux_lora.adapter.loaders.diffusers import DIFFUSERS
from flux_lora.adapter.proof.diffusers_load import LoadedBase, load, shapes_of
from flux_lora.adapter.proof.prove import prove
from flux_lora.errors import AdapterFileError
from flux_lora.models.flux2.family import KLEIN
from flux_lora.models.flux2.layers import DEV, KLEIN_4B, LAYER_GROUPS, Size, flux2_shapes, fused_weights
from tests.adapter.loaders.layouts import bfl_names, blocks_of, drawn, own_names
from tests.dev_base import tiny_transformer as tiny_dev
from tests.klein_base import tiny_transformer

STOPS = (ValueError, KeyError, IndexError)


@pytest.fixture(scope="module", params=["klein", "dev"])
def transformer(request: pytest.FixtureRequest) -> Flux2Transformer2DModel:
    """Dev has embedded guidance beside klein's layers."""
    torch.manual_seed(0)
    return tiny_transformer() if request.param == "klein" else tiny_dev()


@pytest.fixture
def adapter(transformer: Flux2Transformer2DModel) -> Adapter:
    """Every linear layer, at twice its scale."""
    detach(transformer)
    return drawn(shapes_of(transformer))


FILES = {
    "own names": lambda whole: own_names(whole),
    "own names with alpha": lambda whole: own_names(whole) | {"transformer.proj_out.alpha": torch.tensor(1.0)},
    "bare": lambda whole: own_names(whole, ""),
    "BFL, blocks": lambda whole: bfl_names(blocks_of(whole)),
    "BFL, all": lambda whole: bfl_names(whole),
    "BFL, blocks, with alpha": lambda whole: (
        bfl_names(blocks_of(whole)) | {"diffusion_model.single_blocks.0.linear1.alpha": torch.tensor(1.0)}
    ),
    "BFL, down and up": lambda whole: bfl_names(blocks_of(whole), ends="down up"),
    "fal": lambda whole: bfl_names(blocks_of(whole), "base_model.model."),
    "kohya, blocks": lambda whole: bfl_names(blocks_of(whole), "lora_unet_", "down up"),
    "kohya, all": lambda whole: bfl_names(whole, "lora_unet_", "down up"),
    "own names behind ComfyUI's prefix": lambda whole: own_names(blocks_of(whole), "diffusion_model."),
}


def loaded_by_diffusers(file: Path, transformer: Flux2Transformer2DModel) -> Mapping[str, Tensor] | None:
    """The change of each module that peft made; None where diffusers stops."""
    detach(transformer)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = load(file, KLEIN[0], transformer)
    except STOPS:
        return None
    finally:
        detach(transformer)
    return {name: lora_delta(layer) for name, layer in found.items() if isinstance(layer, LoRA)}


@pytest.mark.parametrize("layout", FILES)
def test_the_table_for_diffusers_says_what_diffusers_does(
    layout: str, adapter: Adapter, transformer: Flux2Transformer2DModel, tmp_path: Path
):
    file = tmp_path / "x.safetensors"
    tensors = {key: tensor.clone() for key, tensor in FILES[layout](adapter).items()}
    save_file(tensors, file)
    theirs = loaded_by_diffusers(file, transformer)
    ours = DIFFUSERS.load(tensors, {}, shapes_of(transformer))
    if theirs is None:
        assert ours.stopped
        return
    assert not ours.stopped
    said = {name: lora_delta(layer) for name, layer in ours.deltas.items() if isinstance(layer, LoRA)}
    assert said.keys() == theirs.keys()
    for name, change in theirs.items():
        torch.testing.assert_close(said[name], change)
    right = {
        name for name, change in theirs.items() if torch.allclose(change, lora_delta(adapter.layers[name]), atol=1e-4)
    }
    assert bool(ours.wrong) == (right != set(theirs))


READ = [layout for layout in FILES if "with alpha" not in layout]


@pytest.mark.parametrize("layout", READ)
def test_every_layout_is_read_as_it_was_written(layout: str, adapter: Adapter, tmp_path: Path):
    tensors = {key: tensor.clone() for key, tensor in FILES[layout](adapter).items()}
    save_file(tensors, tmp_path / "x.safetensors")
    contents = read_contents(tmp_path / "x.safetensors")
    expected = blocks_of(adapter) if len(contents.adapter.deltas) < len(adapter.deltas) else adapter
    assert contents.adapter.layers.keys() == expected.layers.keys()
    for name, layer in expected.layers.items():
        torch.testing.assert_close(lora_delta(contents.adapter.layers[name]), lora_delta(layer), rtol=1e-4, atol=1e-4)
    assert any("FLUX.2" in remark for remark in contents.remarks)


@pytest.mark.parametrize("dialect", ["diffusers", "kohya"])
def test_what_is_written_is_proven_by_diffusers_and_comfyui(
    dialect: str, adapter: Adapter, transformer: Flux2Transformer2DModel, tmp_path: Path
):
    trained = Adapter(
        {name: layer for name, layer in adapter.deltas.items() if re.fullmatch(LAYER_GROUPS["attention_mlp"], name)}
    )
    file = write_dialect(trained, tmp_path / "x.safetensors", dialect=dialect, metadata={}, dtype=torch.float32)
    proof = prove(file, trained, dialect=dialect, base=LoadedBase(family=KLEIN[0], transformer=transformer))
    assert {reader.reader for reader in proof.readers} == {"diffusers", "ComfyUI"}
    assert all((reader.unused, reader.missing) == (0, 0) for reader in proof.readers)
    assert proof.output_error is not None and proof.output_error < 1e-4


@pytest.mark.parametrize(("size", "last"), [(KLEIN_4B, 19), (DEV, 47)], ids=["klein", "dev"])
def test_without_a_base_a_file_is_loaded_into_its_model_without_weights(size: Size, last: int, tmp_path: Path):
    name = f"single_transformer_blocks.{last}.attn.to_qkv_mlp_proj"
    outputs, inputs = flux2_shapes(size)[name]
    trained = Adapter({name: LoRA(torch.randn(2, inputs), torch.randn(outputs, 2), 2.0)})
    file = write_dialect(trained, tmp_path / "x.safetensors", dialect="diffusers", metadata={}, dtype=torch.float32)
    how = {reader.reader: reader.how for reader in prove(file, trained).readers}
    assert how["diffusers"] == "loaded, without the base's weights"


@pytest.mark.parametrize("dialect", ["comfyui", "bfl"])
def test_a_dialect_that_flux2_s_readers_do_not_take_is_refused(dialect: str, adapter: Adapter, tmp_path: Path):
    with pytest.raises(AdapterFileError, match=r"FLUX\.2"):
        write_dialect(blocks_of(adapter), tmp_path / "x.safetensors", dialect=dialect, metadata={}, dtype=torch.float32)
    assert not (tmp_path / "x.safetensors").exists()


def test_a_folder_of_peft_s_is_written_and_read(adapter: Adapter, tmp_path: Path):
    folder = write_dialect(adapter, tmp_path / "x", dialect="peft", metadata={}, dtype=torch.float32)
    assert read_contents(folder).adapter.deltas.keys() == adapter.deltas.keys()


@pytest.mark.parametrize("size", [KLEIN_4B, DEV], ids=["klein", "dev"])
def test_both_tables_of_names_say_the_same(size: Size):
    names = flux2_shapes(size)
    ours = {bfl: weight.parts for bfl, weight in fused_weights(names).items()}
    for bfl, parts in ours.items():
        assert diffusers_names(bfl, flux2=True).names == parts
    for name in names:
        assert name in ours[bfl_name(name).module]
    assert sum(len(parts) for parts in ours.values()) == len(names)


def test_comfyui_knows_the_blocks_under_every_name_and_shared_modulation_under_bfl_s_alone(
    adapter: Adapter, transformer: Flux2Transformer2DModel
):
    names = shapes_of(transformer)
    ours = COMFYUI.load(own_names(adapter), {}, names)
    embedders = {name for name in names if "time_guidance_embed" in name}
    assert len(embedders) == (4 if transformer.config["guidance_embeds"] else 2)
    assert {key.split(".lora_")[0] for key in ours.unused} == {
        "transformer.double_stream_modulation_img.linear",
        "transformer.double_stream_modulation_txt.linear",
        "transformer.single_stream_modulation.linear",
        *(f"transformer.{name}" for name in embedders),
    }
    assert not COMFYUI.load(bfl_names(adapter), {}, names).unused


def test_names_alone_tell_flux2_from_flux1():
    assert flux2_names.is_flux2(["single_transformer_blocks.0.attn.to_out"])
    assert flux2_names.is_flux2(["transformer_blocks.0.ff.linear_in"])
    assert not flux2_names.is_flux2(["transformer_blocks.0.attn.to_out.0", "single_transformer_blocks.0.proj_out"])

# ruff: noqa: E402
"""FLUX.3's files: the table for diffusers agrees with diffusers itself, and every layout comes back as it was."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

pytest.importorskip("diffusers", minversion="0.42", reason="FLUX.3 came with diffusers 0.42")

from flux_lora.adapter.attach import detach, load_into
from flux_lora.adapter.base_weights import linear_modules, open_base, weight_reader
from flux_lora.adapter.dialects.bfl import swap_halves
from flux_lora.adapter.dialects.flux2_names import is_flux2
from flux_lora.adapter.dialects.flux3_names import is_flux3
from flux_lora.adapter.dialects.module_names import bfl_name, diffusers_names
from flux_lora.adapter.files import read_contents, write_dialect
from flux_lora.adapter.fuse import fuse_into_base
from flux_lora.adapter.inspection import describe
from flux_lora.adapter.layer_types import Adapter, LoRA, lora_delta
from flux_lora.adapter.loaders.diffusers import DIFFUSERS
from flux_lora.adapter.merge_resize import extract_lora
from flux_lora.adapter.proof.diffusers_load import LoadedBase, load, shapes_of
from flux_lora.adapter.proof.prove import prove
from flux_lora.adapter.trainable import matching_layers
from flux_lora.errors import AdapterFileError, ConfigError
from flux_lora.models.flux1.layers import flux1_shapes
from flux_lora.models.flux2.layers import KLEIN_4B, flux2_shapes
from flux_lora.models.flux3.diffusers_classes import Flux3Transformer2DModel
from flux_lora.models.flux3.family import FLUX3
from flux_lora.models.flux3.layers import LAYER_GROUPS, UNUSED, bfl_weights, flux3_shapes
from tests.adapter.loaders.layouts import RANK, bfl_names, blocks_of, drawn, own_names
from tests.flux3_base import tiny_transformer, write_flux3
from tests.klein_base import tiny_transformer as tiny_flux2

STOPS = (ValueError, KeyError, IndexError, TypeError)


@pytest.fixture(scope="module")
def transformer() -> Flux3Transformer2DModel:
    torch.manual_seed(0)
    return tiny_transformer()


@pytest.fixture
def adapter(transformer: Flux3Transformer2DModel) -> Adapter:
    """Every linear layer, at twice its scale."""
    detach(transformer)
    return drawn(shapes_of(transformer))


def outside_of(adapter: Adapter) -> Adapter:
    return Adapter({name: delta for name, delta in adapter.deltas.items() if "blocks." not in name})


FILES = {
    "own names": lambda whole: own_names(whole),
    "own names with alpha": lambda whole: own_names(whole) | {"transformer.proj_out.alpha": torch.tensor(1.0)},
    "bare": lambda whole: own_names(whole, ""),
    "BFL, blocks": lambda whole: bfl_names(blocks_of(whole)),
    "BFL, all": lambda whole: bfl_names(whole),
    "BFL, blocks, with alpha": lambda whole: (
        bfl_names(blocks_of(whole)) | {"diffusion_model.single_blocks.0.q_proj.alpha": torch.tensor(1.0)}
    ),
    "BFL, down and up": lambda whole: bfl_names(blocks_of(whole), ends="down up"),
    "BFL, down and up, without alpha": lambda whole: {
        key: tensor for key, tensor in bfl_names(blocks_of(whole), ends="down up").items() if "alpha" not in key
    },
    "fal": lambda whole: bfl_names(blocks_of(whole), "base_model.model."),
    "kohya, blocks": lambda whole: bfl_names(blocks_of(whole), "lora_unet_", "down up"),
    "own names behind ComfyUI's prefix": lambda whole: own_names(whole, "diffusion_model."),
    "BFL, outside of the blocks": lambda whole: bfl_names(outside_of(whole)),
    "own names of another model": lambda _: own_names(drawn({"transformer_blocks.0.attn.to_add_out": (32, 32)})),
    "own names, some of another model": lambda whole: (
        own_names(whole) | own_names(drawn({"transformer_blocks.0.attn.to_add_out": (32, 32)}))
    ),
}


def loaded_by_diffusers(file: Path, transformer: Flux3Transformer2DModel) -> Mapping[str, Tensor] | None:
    """The change of each module that peft made; None where diffusers stops."""
    detach(transformer)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = load(file, FLUX3[0], transformer)
    except STOPS:
        return None
    finally:
        detach(transformer)
    return {name: lora_delta(layer) for name, layer in found.items() if isinstance(layer, LoRA)}


@pytest.mark.parametrize("layout", FILES)
def test_the_table_for_diffusers_says_what_diffusers_does(
    layout: str, adapter: Adapter, transformer: Flux3Transformer2DModel, tmp_path: Path
):
    file = tmp_path / "x.safetensors"
    tensors = {key: tensor.clone() for key, tensor in FILES[layout](adapter).items()}
    save_file(tensors, file)
    theirs = loaded_by_diffusers(file, transformer)
    ours = DIFFUSERS.load(tensors, {}, shapes_of(transformer))
    if theirs is None:
        assert ours.stopped
        return
    assert not ours.stopped, ours.stopped
    said = {name: lora_delta(layer) for name, layer in ours.deltas.items() if isinstance(layer, LoRA)}
    assert said.keys() == theirs.keys()
    for name, change in theirs.items():
        torch.testing.assert_close(said[name], change)
    right = {
        name for name, change in theirs.items() if torch.allclose(change, lora_delta(adapter.layers[name]), atol=1e-4)
    }
    assert bool(ours.wrong) == (right != set(theirs))


READ = [layout for layout in FILES if "with alpha" not in layout and "of another model" not in layout]


@pytest.mark.parametrize("layout", READ)
def test_every_layout_is_read_as_it_was_written(layout: str, adapter: Adapter, tmp_path: Path):
    tensors = {key: tensor.clone() for key, tensor in FILES[layout](adapter).items()}
    save_file(tensors, tmp_path / "x.safetensors")
    contents = read_contents(tmp_path / "x.safetensors")
    some = outside_of(adapter) if "outside" in layout else blocks_of(adapter)
    expected = some if len(contents.adapter.deltas) < len(adapter.deltas) else adapter
    assert contents.adapter.layers.keys() == expected.layers.keys()
    for name, layer in expected.layers.items():
        scale = layer.scale if layout == "BFL, down and up, without alpha" else 1.0
        change = lora_delta(layer) / scale
        torch.testing.assert_close(lora_delta(contents.adapter.layers[name]), change, rtol=1e-4, atol=1e-4)
    assert any("FLUX.3" in remark for remark in contents.remarks)


@pytest.mark.parametrize("dialect", ["diffusers", "comfyui"])
def test_what_is_written_is_proven_by_diffusers(
    dialect: str, adapter: Adapter, transformer: Flux3Transformer2DModel, tmp_path: Path
):
    names = matching_layers(adapter.deltas, "attention_mlp", LAYER_GROUPS, unused=UNUSED)
    trained = Adapter({name: adapter.deltas[name] for name in names})
    file = write_dialect(trained, tmp_path / "x.safetensors", dialect=dialect, metadata={}, dtype=torch.float32)
    proof = prove(file, trained, dialect=dialect, base=LoadedBase(family=FLUX3[0], transformer=transformer))
    (reader,) = proof.readers
    assert (reader.reader, reader.unused, reader.missing, reader.how) == ("diffusers", 0, 0, "loaded")
    assert any("ComfyUI was not tried with FLUX.3" in gap for gap in proof.gaps)
    assert proof.output_error is not None and proof.output_error < 1e-4


def test_without_a_base_a_file_for_klein_is_loaded_into_klein_without_weights(tmp_path: Path):
    name = "single_transformer_blocks.27.ff.linear_out"
    trained = drawn({name: flux3_shapes()[name]})
    file = write_dialect(trained, tmp_path / "x.safetensors", dialect="diffusers", metadata={}, dtype=torch.float32)
    how = {reader.reader: reader.how for reader in prove(file, trained).readers}
    assert how["diffusers"] == "loaded, without the base's weights"


def test_a_folder_of_peft_s_is_written_and_read(adapter: Adapter, tmp_path: Path):
    folder = write_dialect(adapter, tmp_path / "x", dialect="peft", metadata={}, dtype=torch.float32)
    again = read_contents(folder).adapter
    assert again.deltas.keys() == adapter.deltas.keys()


@pytest.mark.parametrize("dialect", ["kohya", "bfl", "onetrainer", "lycoris", "xlabs"])
def test_a_dialect_that_flux3_s_readers_do_not_take_is_refused(dialect: str, adapter: Adapter, tmp_path: Path):
    with pytest.raises(AdapterFileError):
        write_dialect(blocks_of(adapter), tmp_path / "x.safetensors", dialect=dialect, metadata={}, dtype=torch.float32)
    assert not (tmp_path / "x.safetensors").exists()


def test_outside_of_the_blocks_comfyui_s_dialect_has_no_reader(adapter: Adapter, tmp_path: Path):
    with pytest.raises(AdapterFileError, match="no reader for"):
        write_dialect(adapter, tmp_path / "x.safetensors", dialect="comfyui", metadata={}, dtype=torch.float32)


def test_both_tables_of_names_say_the_same():
    names = flux3_shapes(flow_map=True)
    ours = bfl_weights(names)
    for bfl, weight in ours.items():
        said = diffusers_names(bfl, flux3=True)
        assert (said.names, said.swap) == (weight.parts, weight.swaps)
    for name in names:
        assert ours[bfl_name(name, flux3=True).module].parts == (name,)
    assert len(ours) == len(names)


def test_names_alone_tell_flux3_from_the_others():
    assert is_flux3(flux3_shapes()) and not is_flux2(flux3_shapes())
    assert is_flux2(flux2_shapes(KLEIN_4B)) and not is_flux3(flux2_shapes(KLEIN_4B))
    assert not is_flux3(flux1_shapes()) and not is_flux2(flux1_shapes())
    for name in flux3_shapes():
        told = re.search(r"single_transformer_blocks\.\d+\.attn\.to_[qkv]|context_embedder|proj_out|norm_out", name)
        assert is_flux3([name]) or told, name


def test_inspect_names_the_family_its_blocks_and_who_takes_the_file(tmp_path: Path):
    some = ["image", "text.0", "single.3"]
    names = matching_layers(flux3_shapes(), "attention", LAYER_GROUPS, unused=UNUSED, blocks=some)
    assert len(names) == 4 * (5 + 1 + 1)
    trained = drawn({name: flux3_shapes()[name] for name in names})
    for dialect in ("diffusers", "comfyui"):
        file = write_dialect(trained, tmp_path / dialect, dialect=dialect, metadata={}, dtype=torch.bfloat16)
        seen = describe(file)
        assert "it is for FLUX.3 klein, and not for FLUX.1" in seen.remarks
        takes = {each.reader: (each.takes, each.reason) for each in seen.verdicts}
        assert takes["diffusers"][0] == "all"
        assert takes["ComfyUI"] == ("unknown", "was not tried with FLUX.3")
        assert takes["sd-scripts"] == takes["Forge"] == ("none", "does not know FLUX.3")
        assert {group.place for group in seen.groups} == {"image attention", "text attention", "single attention"}
    with pytest.raises(ConfigError, match="image.0-4 and text.0-4 and single.0-27"):
        matching_layers(flux3_shapes(), "attention", LAYER_GROUPS, unused=UNUSED, blocks=["double"])


def test_a_lora_for_flux1_or_2_does_not_go_on_flux3_and_the_reverse(transformer: Flux3Transformer2DModel):
    flux2 = tiny_flux2()
    own = {name: shape for name, shape in shapes_of(transformer).items() if is_flux3([name])}
    theirs = {name: shape for name, shape in shapes_of(flux2).items() if is_flux2([name])}
    for target, foreign in ((transformer, theirs), (flux2, own)):
        with pytest.raises(AdapterFileError, match="but this base has no such layer"):
            load_into(target, drawn(foreign))
    with pytest.raises(AdapterFileError, match="but this base has no such layer"):
        load_into(transformer, drawn({"transformer_blocks.0.ff.net.2": (32, 32)}))


@pytest.mark.parametrize("native", [False, True])
def test_what_was_fused_into_a_base_is_extracted_from_the_two(native: bool, tmp_path: Path):
    """A pipeline's folder as it is released, and one file with FLUX's own names."""
    base = write_flux3(tmp_path / "base")
    weights = load_file(base / "transformer" / "diffusion_pytorch_model.safetensors")
    if native:
        base = tmp_path / "native.safetensors"
        named = {
            f"{bfl}.weight": weights[f"{each.parts[0]}.weight"] for bfl, each in bfl_weights(stems(weights)).items()
        }
        swapped = "final_layer.image.adaLN_modulation.1.weight"
        save_file(named | {swapped: swap_halves(named[swapped])}, base)
    trained = drawn({name: tuple(weights[f"{name}.weight"].shape) for name in (*NAMES, "norm_out.linear")})
    fuse_into_base(base, trained, tmp_path / "out.safetensors")
    before, after = open_base(base), open_base(tmp_path / "out.safetensors")
    found = extract_lora(weight_reader(before), weight_reader(after), linear_modules(before), rank=RANK)
    assert found.adapter.layers.keys() == trained.layers.keys()
    for name, layer in found.adapter.layers.items():
        torch.testing.assert_close(lora_delta(layer), lora_delta(trained.layers[name]), rtol=1e-3, atol=1e-3)


NAMES = ("single_transformer_blocks.1.attn.to_q", "mode_blocks.image.0.ff.linear_in", "txt_mode_blocks.1.attn.to_out.0")


def stems(weights: Mapping[str, Tensor]) -> set[str]:
    return {name.removesuffix(".weight") for name in weights}

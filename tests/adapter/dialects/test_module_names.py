"""The table of module names."""

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from flux_lora.adapter.dialects import flux2_names, flux3_names
from flux_lora.adapter.dialects.module_names import (
    DIFFUSERS,
    NATIVE,
    UNDERSCORED,
    bfl_name,
    diffusers_names,
    dotted,
    is_bfl,
    is_diffusers,
    underscored,
)
from flux_lora.errors import AdapterFileError


@pytest.fixture(scope="module")
def linears() -> dict[str, nn.Linear]:
    """Every linear layer of FLUX.1-dev at full size, without memory."""
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(guidance_embeds=True)
    return {name: module for name, module in transformer.named_modules() if isinstance(module, nn.Linear)}


def test_every_linear_layer_of_flux_has_a_native_place_and_comes_back_from_it(linears: dict[str, nn.Linear]):
    assert len(linears) == 19 * 14 + 38 * 6 + 10
    for name in linears:
        place = bfl_name(name)
        there = diffusers_names(place.module)
        assert there.names[place.part] == name
        assert len(there.names) == place.parts and there.swap == place.swap and there.shares == place.shares


def test_every_native_module_is_made_of_layers_that_exist_with_rows_in_the_shares_told(linears: dict[str, nn.Linear]):
    for module in {bfl_name(name).module for name in linears}:
        parts = diffusers_names(module)
        rows = [linears[name].out_features for name in parts.names]
        assert len({row / share for row, share in zip(rows, parts.shares, strict=True)}) == 1
        assert len({linears[name].in_features for name in parts.names}) == 1


def test_only_the_final_norm_swaps_its_halves(linears: dict[str, nn.Linear]):
    assert [name for name in linears if bfl_name(name).swap] == ["norm_out.linear"]


def test_names_with_underscores_come_back(linears: dict[str, nn.Linear]):
    others = (name for table in (flux2_names, flux3_names) for name in (*table.NATIVE, *table.DIFFUSERS))
    every = {*NATIVE, *DIFFUSERS, *others}
    assert len(UNDERSCORED) == len(every), "no two names are alike without their dots"
    for name in linears:
        assert dotted(underscored(name)) == name
        assert dotted(underscored(bfl_name(name).module)) == bfl_name(name).module


@pytest.mark.parametrize(
    ("diffusers", "native", "part"),
    [
        ("transformer_blocks.18.attn.add_v_proj", "double_blocks.18.txt_attn.qkv", 2),
        ("single_transformer_blocks.37.proj_mlp", "single_blocks.37.linear1", 3),
        ("single_transformer_blocks.0.proj_out", "single_blocks.0.linear2", 0),
        ("proj_out", "final_layer.linear", 0),
        ("x_embedder", "img_in", 0),
    ],
)
def test_some_names_as_written_down(diffusers: str, native: str, part: int):
    place = bfl_name(diffusers)
    assert (place.module, place.part) == (native, part)
    assert is_diffusers(diffusers) and is_bfl(native) and not is_diffusers(native) and not is_bfl(diffusers)


@pytest.mark.parametrize("name", ["transformer_blocks.0.ff.linear_up", "transformer_blocks.x.attn.to_q", "", "img_in"])
def test_a_name_that_diffusers_has_not_is_refused(name: str):
    with pytest.raises(AdapterFileError, match="has no module"):
        bfl_name(name)


@pytest.mark.parametrize("name", ["double_blocks.00.img_mod.lin", "double_blocks.0.img_attn_qkv", "{}", "x_embedder"])
def test_a_name_that_the_native_model_has_not_is_refused(name: str):
    with pytest.raises(AdapterFileError, match="has no module"):
        diffusers_names(name)

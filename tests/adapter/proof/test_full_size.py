"""On FLUX.1's own architecture, each dialect's file is read by every program that it is for, to the last key."""

from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Generator, nn

from flux_lora.adapter.dialects.table import DIALECTS, WRITABLE, dialect_refusals
from flux_lora.adapter.files import write_dialect
from flux_lora.adapter.layer_types import OFT, Adapter, DoRA, LayerDelta, LoHa, LoKr, LoRA, type_name
from flux_lora.adapter.proof.expected_support import expected_loaders
from flux_lora.adapter.proof.loader_check import changes_nothing, deviation
from flux_lora.adapter.proof.prove import LOADED_BARE, prove
from flux_lora.adapter.trainable import matching_layers
from flux_lora.config.choices import AdapterTargets
from flux_lora.errors import AdapterFileError
from flux_lora.models.flux1.layers import LAYER_GROUPS, flux1_shapes
from flux_lora.models.flux1.weightless import weightless_transformer

EVERYTHING = "everything"
SHRUNK = 384
"""3072 becomes 8: the same names and proportions in a thousandth of the memory."""
SIDE = "transformer_blocks.0.attn.to_out.0"
targets = pytest.mark.parametrize("preset", [*AdapterTargets, EVERYTHING])
dialects = pytest.mark.parametrize("dialect", WRITABLE)


def layers_of(preset: str) -> dict[str, tuple[int, int]]:
    shapes = flux1_shapes()
    return (
        shapes
        if preset == EVERYTHING
        else {name: shapes[name] for name in matching_layers(shapes, AdapterTargets(preset), LAYER_GROUPS)}
    )


def adapter_of(shapes: dict[str, tuple[int, int]], *, shrunk: int = 1) -> Adapter:
    """Rank 1, alpha 0.75, in float32."""
    generator = Generator().manual_seed(0)

    def layer(outputs: int, inputs: int) -> LoRA:
        down = torch.randn(1, max(1, inputs // shrunk), generator=generator)
        return LoRA(down, torch.randn(max(2, outputs // shrunk), 1, generator=generator), 0.75)

    return Adapter({name: layer(*shape) for name, shape in shapes.items()})


@pytest.fixture(scope="module")
def full() -> FluxTransformer2DModel:
    return weightless_transformer()


def test_our_table_of_flux_is_diffusers_own(full: FluxTransformer2DModel):
    linears = {name: module for name, module in full.named_modules() if isinstance(module, nn.Linear)}
    assert {name: (each.out_features, each.in_features) for name, each in linears.items()} == flux1_shapes()


@targets
@dialects
def test_every_key_of_every_dialect_is_in_its_readers_tables(dialect: str, preset: str):
    shapes = layers_of(preset)
    adapter = adapter_of(shapes, shrunk=SHRUNK)
    write = DIALECTS[dialect].write
    assert write is not None
    if list(dialect_refusals(shapes, "LoRA", [dialect])):
        with pytest.raises(AdapterFileError):
            write(adapter, torch.float32)
        return
    tensors = write(adapter, torch.float32)
    for promise in expected_loaders(dialect, adapter):
        consumed = promise.reader.load(tensors, {}, flux1_shapes())
        assert not consumed.stopped and not consumed.wrong
        taken = {name: change for name, change in consumed.deltas.items() if not changes_nothing(change)}
        if promise.modules == ".+":
            assert not consumed.unused and set(taken) == set(shapes)
        assert all(deviation(change, adapter.deltas[name]) < 1e-5 for name, change in taken.items())


@dialects
def test_what_can_be_written_is_promised_to_somebody_or_said_to_be_read_by_none(dialect: str):
    assert DIALECTS[dialect].loaders or dialect in ("bfl", "peft")


CHANGES: tuple[LayerDelta, ...] = (
    LoRA(torch.ones(2, 8), torch.ones(8, 2), 2.0),
    DoRA(LoRA(torch.ones(2, 8), torch.ones(8, 2), 2.0), torch.ones(8)),
    LoKr(torch.ones(2, 2), None, None, torch.ones(4, 4), None, None, 1.0),
    LoHa(torch.ones(8, 2), torch.ones(2, 8), torch.ones(8, 2), torch.ones(2, 8), 2.0),
    OFT(torch.ones(2, 4, 4)),
    OFT(torch.ones(2, 4, 4), torch.ones(8)),
)


@dialects
@pytest.mark.parametrize("change", CHANGES, ids=type_name)
def test_a_kind_is_refused_before_training_where_the_writer_would_refuse_it(dialect: str, change: LayerDelta):
    write = DIALECTS[dialect].write
    assert write is not None
    if list(dialect_refusals([SIDE], type_name(change), [dialect])):
        with pytest.raises(AdapterFileError):
            write(Adapter({SIDE: change}), torch.float32)
    else:
        write(Adapter({SIDE: change}), torch.float32)


@dialects
@pytest.mark.parametrize("change", CHANGES, ids=type_name)
def test_every_kind_that_can_be_written_is_proven(dialect: str, change: LayerDelta, tmp_path: Path):
    if list(dialect_refusals([SIDE], type_name(change), [dialect])):
        return
    adapter = Adapter({SIDE: change})
    place = write_dialect(adapter, tmp_path / "x.safetensors", dialect=dialect, metadata={}, dtype=torch.bfloat16)
    assert prove(place, adapter, dialect=dialect).worst.modules == 1


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["diffusers", "kohya", "comfyui", "xlabs", "onetrainer"])
def test_diffusers_itself_loads_a_full_size_file_without_the_base(dialect: str, tmp_path: Path):
    adapter = adapter_of(layers_of(AdapterTargets.attention if dialect in ("xlabs", "onetrainer") else EVERYTHING))
    blocks = {name: layer for name, layer in adapter.deltas.items() if dialect != "kohya" or "blocks." in name}
    file = tmp_path / "x.safetensors"
    write_dialect(Adapter(blocks), file, dialect=dialect, metadata={}, dtype=torch.bfloat16)
    proof = prove(file, Adapter(blocks), dialect=dialect)
    assert {each.reader: each.how for each in proof.readers}["diffusers"] == LOADED_BARE

"""docs/files.md says of every dialect what the programs' rules say of a file in it."""

import re
from pathlib import Path

import pytest
import torch

from flux_lora.adapter.dialects.table import DIALECTS
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.adapter.loaders.compatibility import Compatibility, compatibility
from flux_lora.adapter.proof.diffusers_load import shapes_of
from flux_lora.adapter.trainable import matching_layers
from flux_lora.config.choices import AdapterTargets, ExportDialect
from flux_lora.models.flux1.layers import LAYER_GROUPS, flux1_shapes
from flux_lora.models.flux3.layers import flux3_shapes
from tests.adapter.loaders.test_flux2 import FILES
from tests.klein_base import tiny_transformer

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "files.md").read_text(encoding="utf-8")


def table(text: str) -> list[list[str]]:
    lines = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


FLUX1, FLUX2, FLUX3 = map(table, re.split(r"^## FLUX\.[23]$", PAGE, flags=re.MULTILINE))
PROGRAMS = FLUX1[0][1:]
ROWS = FLUX1[2:]
LAYOUTS = (
    "own names",
    "own names with alpha",
    "kohya, blocks",
    "BFL, blocks",
    "BFL, blocks, with alpha",
    "BFL, down and up",
    "fal",
    "bare",
)
"""Of the page's rows on FLUX.2, in their order."""
LAYOUTS_OF_FLUX3 = (
    "own names",
    "own names with alpha",
    "BFL, blocks",
    "BFL, blocks, with alpha",
    "BFL, down and up, without alpha",
    "kohya, blocks",
    "fal",
    "bare",
)
NARROW = 128
"""FLUX.1's widths divided by this."""


def narrow_lora() -> Adapter:
    """Every layer that the widest preset trains."""
    shapes = flux1_shapes()
    names = matching_layers(shapes, AdapterTargets.blocks_all, LAYER_GROUPS)
    sizes = {name: (max(1, outputs // NARROW), max(1, inputs // NARROW)) for name, (outputs, inputs) in shapes.items()}
    return Adapter({name: LoRA(torch.ones(2, sizes[name][1]), torch.ones(sizes[name][0], 2), 2.0) for name in names})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_table_is_what_each_program_does(row: list[str]):
    write = DIALECTS[row[0]].write
    assert write is not None
    found = {each.reader: each.takes for each in compatibility(write(narrow_lora(), torch.float32), {})}
    assert [found[program] for program in PROGRAMS] == row[1:]


@pytest.mark.parametrize(("row", "layout"), [*zip(FLUX2[2:], LAYOUTS, strict=True)], ids=str)
def test_the_table_of_flux2_is_what_each_program_does(row: list[str], layout: str):
    generator, shapes = torch.Generator().manual_seed(0), shapes_of(tiny_transformer())
    drawn = {
        name: LoRA(torch.randn(2, inputs, generator=generator), torch.randn(outputs, 2, generator=generator), 2.0)
        for name, (outputs, inputs) in shapes.items()
        if "blocks." in name
    }
    found = {each.reader: each for each in compatibility(FILES[layout](Adapter(drawn)), {}, shapes)}
    assert [_said(found["diffusers"]), _said(found["ComfyUI"])] == row[1:]


def _said(verdict: Compatibility) -> str:
    if verdict.takes == "none" and verdict.reader == "diffusers":
        return "stops" if verdict.reason.startswith("stops") else "loads nothing, silently"
    return verdict.takes


def test_every_dialect_that_can_be_exported_is_on_the_page():
    assert {row[0] for row in ROWS} | {"xlabs"} == set(ExportDialect)
    assert set(ExportDialect) == {name for name, dialect in DIALECTS.items() if dialect.write is not None}


@pytest.mark.parametrize(("row", "layout"), [*zip(FLUX3[2:], LAYOUTS_OF_FLUX3, strict=True)], ids=str)
def test_the_table_of_flux3_is_what_diffusers_does(row: list[str], layout: str):
    from tests.adapter.loaders import test_flux3 as files  # here, where it may skip

    shapes = {name: (4, 4) for name in flux3_shapes() if "blocks." in name}
    found = {each.reader: each for each in compatibility(files.FILES[layout](files.drawn(shapes)), {}, shapes)}
    assert [_said(found["diffusers"])] == row[1:]
    assert found["ComfyUI"].takes == "unknown"

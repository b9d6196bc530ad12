"""docs/files.md says of every dialect what the programs' rules say of a file in it."""

import re
from pathlib import Path

import pytest
import torch

from flux_lora.adapter.layouts.dialects import DIALECTS
from flux_lora.adapter.readers.architecture import flux1_shapes
from flux_lora.adapter.readers.verdicts import compatibility
from flux_lora.adapter.targets import matching_layers
from flux_lora.adapter.tensors import Adapter, LoRA
from flux_lora.config.choices import AdapterTargets, ExportDialect

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "files.md").read_text(encoding="utf-8")
TABLE = [
    [cell.strip(" `") for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", PAGE, re.MULTILINE)
]
PROGRAMS = TABLE[0][1:]
ROWS = TABLE[2:]
NARROW = 128
"""FLUX.1's widths divided by this."""


def narrow_lora() -> Adapter:
    """Every layer that the widest preset trains."""
    shapes = flux1_shapes()
    names = matching_layers(shapes, AdapterTargets.blocks_all)
    sizes = {name: (max(1, outputs // NARROW), max(1, inputs // NARROW)) for name, (outputs, inputs) in shapes.items()}
    return Adapter({name: LoRA(torch.ones(2, sizes[name][1]), torch.ones(sizes[name][0], 2), 2.0) for name in names})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_table_is_what_each_program_does(row: list[str]):
    write = DIALECTS[row[0]].write
    assert write is not None
    found = {each.reader: each.takes for each in compatibility(write(narrow_lora(), torch.float32), {})}
    assert [found[program] for program in PROGRAMS] == row[1:]


def test_every_dialect_that_can_be_exported_is_on_the_page():
    assert {row[0] for row in ROWS} | {"xlabs"} == set(ExportDialect)
    assert set(ExportDialect) == {name for name, dialect in DIALECTS.items() if dialect.write is not None}

"""No dead knobs: whatever the schema offers, something outside it reads."""

import re
from pathlib import Path
from typing import get_type_hints

import pytest

from flux_lora.config.knobs import all_knobs
from flux_lora.config.schema import RunConfig

PACKAGE = Path(__file__).resolve().parents[1] / "flux_lora"
READERS = "\n".join(file.read_text() for file in PACKAGE.rglob("*.py") if file.name not in ("schema.py", "knobs.py"))


def owners_of(section: str) -> set[str]:
    """What a section is called where it is read: config.train, and the names it has where its slice alone is passed."""
    kind = get_type_hints(RunConfig)[section].__name__
    passed = re.findall(rf"\b(\w+): {kind}\b", READERS)
    taken = re.findall(rf"\b(\w+) = (?:\w+\.)*config\.{section}\b(?!\.)", READERS)
    return {rf"config\.{section}", *passed, *taken}


@pytest.mark.parametrize("key", [knob.key for knob in all_knobs()])
def test_a_knob_is_read_by_something(key: str):
    section, _, name = key.rpartition(".")
    owners = "|".join(owners_of(section)) if section else "config"
    assert re.search(rf"\b(?:{owners})\.{name}\b", READERS), f"nothing reads {key}"

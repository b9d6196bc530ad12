"""No dead knobs: whatever the schema offers, something outside it reads."""

import re
from pathlib import Path

import pytest

from flux_lora.config.knobs import all_knobs

PACKAGE = Path(__file__).resolve().parents[1] / "flux_lora"
READERS = "\n".join(file.read_text() for file in PACKAGE.rglob("*.py") if file.name not in ("schema.py", "knobs.py"))
OWNERS = {
    "data": "wanted",
    "check": "wanted",
    "export": "wanted",
    "captioner": "wanted",
    "train": "config",
    "hardware": "hardware",
}
"""What a section is called where only its slice is passed."""


@pytest.mark.parametrize("key", [knob.key for knob in all_knobs()])
def test_a_knob_is_read_by_something(key: str):
    section, _, name = key.rpartition(".")
    owners = rf"config\.{section}|{OWNERS.get(section, 'no other')}" if section else "config"
    assert re.search(rf"\b(?:{owners})\.{name}\b", READERS), f"nothing reads {key}"

"""diffusers before 0.42 has no FLUX.3: then it says so, and every other family is as it was."""

import subprocess
import sys

OLDER = """
import diffusers

diffusers.__version__ = "0.40.0"
for name in [name for name in diffusers._class_to_module if name.startswith("Flux3")]:
    del diffusers._class_to_module[name]  # as if it had never been there

from flux_lora.errors import ModelError
from flux_lora.models.family import ModelSource
from flux_lora.models.registry import FAMILIES, family_of

for family in FAMILIES:
    assert family.linear_shapes() and family_of(ModelSource(family.programs.releases[0].hub)) is family
    try:
        print(family.name, sum(each.numel() for each in family.weightless_transformer().parameters()) > 1e9)
    except ModelError as error:
        print(family.name, error.problem, error.fix, error.exit_code)
"""


def test_only_flux3_asks_for_a_newer_diffusers_and_says_how_to_get_it():
    done = subprocess.run([sys.executable, "-c", OLDER], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    needs = "FLUX.3 needs diffusers 0.42 or newer, and 0.40.0 is installed run: pip install --upgrade diffusers 2"
    assert said[-2:] == [f"FLUX.3 klein base {needs}", f"FLUX.3 klein {needs}"]
    assert all(line.endswith(" True") for line in said[:-2]) and len(said) > 4

"""README's commands are real: each composes, and each place it names is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flux_lora.config.help import VERBS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
COMMANDS = [line for line in LINES if line.startswith("flux-lora ")]


def test_the_first_screen_has_the_two_commands():
    assert "make demo" in README[:1200] and "make test" in README[:1200]


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in {line.split()[1] for line in LINES if line.startswith("make ")}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_composes(line: str, tmp_path: Path):
    arguments = [word for word in shlex.split(line)[1:] if word not in ("--cfg", "job")]
    verb = "train" if arguments[0] == "run" else arguments[0]
    command = [sys.executable, "-m", "flux_lora", verb, *arguments[1:], "--cfg", "job"]
    seen = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert seen.returncode == 0, seen.stderr


def test_the_table_of_verbs_is_complete():
    assert set(re.findall(r"^\| `flux-lora (\w+)", README, re.MULTILINE)) == set(VERBS)


def test_every_link_and_image_is_there():
    for place in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / place).exists(), place

"""The verbs that work on files, as a person types them."""

from pathlib import Path

import pytest

from flux_lora import commands
from flux_lora.__main__ import answer, command_of
from flux_lora.config.help import ON_FILES, VERBS, verb_help
from flux_lora.config.knobs import knobs_of
from flux_lora.errors import ConfigError
from tests.adapter.example_adapters import frozen_transformer
from tests.commands.example_runs import adapter, apart, deltas, written

VERBS_ON_WORDS = {
    "convert": "file={a} to=kohya out={new}",
    "merge": "files=[{a},{b}] strengths=[0.8,0.5] rank=6 out={new} dtype=fp32",
    "resize": "file={a} keep=0.9 out={new}",
    "fuse": "base={base} file={a} strength=0.5 out={folder}",
    "extract": "before={base} after={folder} rank=4 out={new}",
    "export": "adapter={a} export.dialects=[kohya] export.file={new}",
    "inspect": "file={new}",
}


@pytest.fixture
def names(tmp_path: Path) -> dict[str, Path]:
    """Two LoRAs with spaces in their names, a base, and places that are free."""
    frozen_transformer().save_pretrained(tmp_path / "base")
    return {
        "a": written(tmp_path / "mug one.safetensors", adapter()),
        "b": written(tmp_path / "mug two.safetensors", adapter(seed=2)),
        "base": tmp_path / "base",
        "folder": tmp_path / "fused",
        "new": tmp_path / "new one.safetensors",
    }


def typed(verb: str, names: dict[str, Path]) -> list[str]:
    """The words after the shell has split them: a path with a space is one word."""
    return [verb, *(word.format(**names) for word in VERBS_ON_WORDS[verb].split())]


@pytest.mark.parametrize("verb", ["convert", "merge", "resize", "export"])
def test_a_verb_does_what_its_words_say(verb: str, names: dict[str, Path], capsys: pytest.CaptureFixture[str]):
    assert answer(typed(verb, names)) == 0
    said = capsys.readouterr().out
    assert str(names["new"]) in said and "0 unused keys, 0 missing" in said
    assert not said.startswith("\n") and "\n\n" not in said
    assert answer(typed("inspect", names)) == 0


def test_fuse_and_extract_undo_each_other(names: dict[str, Path]):
    assert answer(typed("fuse", names)) == 0 and answer([*typed("extract", names), "dtype=fp32"]) == 0
    half = {name: 0.5 * change for name, change in deltas(names["a"]).items()}
    assert apart(deltas(names["new"]), half) < 1e-4


@pytest.mark.parametrize("verb", VERBS_ON_WORDS)
def test_a_word_that_is_not_known_stops_it_before_anything_is_read(verb: str, names: dict[str, Path]):
    with pytest.raises(ConfigError, match="knows no 'nonsense'"):
        answer([*typed(verb, names), "nonsense=1"])
    assert not names["new"].exists() and not names["folder"].exists()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_command_of_its_name_and_a_help_that_fits(verb: str):
    assert (Path(commands.__file__).parent / f"{verb}.py").is_file()
    assert max(map(len, verb_help(verb).splitlines())) <= 100
    assert VERBS[verb] in verb_help(verb)


@pytest.mark.parametrize("verb", ON_FILES)
def test_help_of_a_verb_on_files_lists_its_keys_and_no_other(verb: str):
    text = verb_help(verb)
    keys = [line.split("=")[0].strip() for line in text.splitlines() if line.startswith("  ") and line[2] != " "]
    assert keys[1:] == [knob.key for knob in knobs_of(ON_FILES[verb])]
    assert callable(command_of(verb))


def test_help_of_export_says_how_another_tool_s_adapter_is_exported():
    text = verb_help("export")
    assert "adapter=???" in text and "base=" in text and "export.dialects=" in text

"""The verbs that work on files read key=value without a recipe, and every slip is named."""

from pathlib import Path

import pytest

from flux_lora.config.choices import ExportDialect, FileDtype
from flux_lora.config.file_verbs import ConvertArgs, ExportAdapterArgs, MergeArgs
from flux_lora.config.key_values import read_key_values
from flux_lora.config.knobs import knobs_of
from flux_lora.errors import ConfigError


def test_words_become_what_is_asked_for():
    ask = read_key_values(ConvertArgs, "convert", ["file=a b.safetensors", "to=kohya", "out=c=d.safetensors"])
    assert ask == ConvertArgs(
        file="a b.safetensors", to=ExportDialect.kohya, out="c=d.safetensors", dtype=FileDtype.same
    )


def test_lists_and_numbers_are_read_as_such():
    words = ["files=[a.safetensors, b 2.safetensors]", "strengths=[0.8,1]", "rank=32", "out=c.safetensors"]
    ask = read_key_values(MergeArgs, "merge", words)
    assert ask.files == ("a.safetensors", "b 2.safetensors")
    assert ask.strengths == (0.8, 1.0)
    assert ask.rank == 32


def test_the_knobs_of_export_are_those_of_a_run():
    ask = read_key_values(
        ExportAdapterArgs, "export", ["adapter=x", "export.dialects=[diffusers,kohya]", "export.dir=out"]
    )
    assert ask.export.dialects == (ExportDialect.diffusers, ExportDialect.kohya)
    assert ask.export.dir == "out"


@pytest.mark.parametrize(
    ("words", "problem", "fix"),
    [
        (["fil=a", "to=kohya", "out=b"], "knows no 'fil'", "did you mean file="),
        (["file=a", "to=kohja", "out=b"], "to cannot be 'kohja'", "did you mean to=kohya"),
        (["file=", "to=kohya", "out="], "needs file and out", "add out=<value>: The new file."),
        (["file=a", "out=b"], "needs to", "add to=<value>: Dialect of the new file."),
        (["file=a", "file=b", "to=kohya", "out=c"], "file is given twice", "give it once"),
        (["a.safetensors", "to=kohya"], "'a.safetensors' is not key=value", "its keys are: file, to, out, dtype"),
    ],
)
def test_a_slip_is_named_with_the_way_out(words: list[str], problem: str, fix: str):
    with pytest.raises(ConfigError) as caught:
        read_key_values(ConvertArgs, "convert", words)
    assert problem in caught.value.problem
    assert fix in caught.value.fix


@pytest.mark.parametrize("words", [["files=[a", "out=c"], ["files=[a]", "rank=many", "out=c"], ["files=a", "out=c"]])
def test_a_value_of_another_kind_is_refused(words: list[str]):
    with pytest.raises(ConfigError, match="cannot be"):
        read_key_values(MergeArgs, "merge", words)


@pytest.mark.parametrize("knob", knobs_of(ExportAdapterArgs), ids=lambda knob: knob.key)
def test_every_key_says_why(knob):
    assert len(knob.reason) > 15
    assert knob.reason.endswith(".")


def test_a_place_at_home_is_found_there_as_the_shell_leaves_it():
    ask = read_key_values(MergeArgs, "merge", ["files=[~/a.safetensors,b~.safetensors]", "out=~/c.safetensors"])
    assert ask.files == (str(Path.home() / "a.safetensors"), "b~.safetensors")
    assert ask.out == str(Path.home() / "c.safetensors")

"""Braces and globs stand for the paths a shell would make of them."""

import pytest

from flux_lora.data.sources.find import expand_pattern
from flux_lora.errors import DataError


def test_a_range_in_braces_keeps_its_zeros():
    assert expand_pattern("x-{008..011}.tar") == ["x-008.tar", "x-009.tar", "x-010.tar", "x-011.tar"]


def test_choices_and_ranges_multiply():
    assert expand_pattern("{a,b}/{1..2}.tar") == ["a/1.tar", "a/2.tar", "b/1.tar", "b/2.tar"]


def test_a_glob_is_sorted(tmp_path):
    for name in ("b.tar", "a.tar", "c.txt"):
        (tmp_path / name).touch()
    assert expand_pattern(f"{tmp_path}/*.tar") == [f"{tmp_path}/a.tar", f"{tmp_path}/b.tar"]


def test_a_glob_leaves_alone_what_a_folder_would(tmp_path):
    """photos/* once trained on photos/held_out and on masks."""
    for name in ("blue", "red", "held_out", "Masks", ".ipynb_checkpoints", "latent_cache"):
        (tmp_path / name).mkdir()
    assert expand_pattern(f"{tmp_path}/*") == [f"{tmp_path}/blue", f"{tmp_path}/red"]
    assert expand_pattern(f"{tmp_path}/held_out") == [f"{tmp_path}/held_out"], "named, it is meant"
    (tmp_path / "red" / "held_out").mkdir()
    assert expand_pattern(f"{tmp_path}/*/held_out") == [f"{tmp_path}/red/held_out"]
    assert expand_pattern(f"{tmp_path}/.ipynb*") == [f"{tmp_path}/.ipynb_checkpoints"]


def test_a_relative_glob_stays_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tar").touch()
    assert expand_pattern("*.tar") == ["a.tar"]


def test_a_folder_with_brackets_in_its_name_is_meant_itself(tmp_path):
    for name in ("photos [2024]", "photos {a,b}"):
        (tmp_path / name).mkdir()
        assert expand_pattern(f"{tmp_path}/{name}") == [f"{tmp_path}/{name}"]


def test_a_pattern_that_matches_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="matches no file"):
        expand_pattern(f"{tmp_path}/*.tar")


def test_a_range_that_counts_down_is_refused_rather_than_empty():
    with pytest.raises(DataError, match="counts from 3 down to 1"):
        expand_pattern("x-{3..1}.tar")


def test_a_range_without_end_is_refused():
    with pytest.raises(DataError, match="stands for over"):
        expand_pattern("x-{0..999999999}.tar")


def test_an_address_of_the_hub_is_no_pattern():
    assert expand_pattern("hub:some/one@main#train[:10]") == ["hub:some/one@main#train[:10]"]

"""Held-out photos and prompts are found where a person puts them, and are asked as training is."""

from pathlib import Path

import pytest

from flux_lora.config.compose import compose_config
from flux_lora.runs.dataset import RunDataset, read_dataset
from flux_lora.runs.run import Run
from tests.data.sources.folders import write_jsonl
from tests.test_path import photos, settings

__all__ = ["photos"]


def read(tiny_flux: Path, photos: Path, tmp_path: Path, *more: str) -> RunDataset:
    return read_dataset(Run(compose_config(settings(tiny_flux, photos, tmp_path / "run", *more))))


def test_what_goes_around_captions_goes_around_held_out_ones(tiny_flux: Path, photos: Path, tmp_path: Path):
    (photos / "held_out" / "photo_5.txt").write_text("in the garden")
    found = read(tiny_flux, photos, tmp_path, "data.prefix=a zorb mug, ", "data.suffix= outside")
    assert found.held_out[0].caption == "a zorb mug, in the garden outside"


def test_a_table_of_the_photos_has_held_out_photos_and_prompts_beside_it(tiny_flux: Path, photos: Path, tmp_path: Path):
    rows = [{"file_name": f"photo_{number}.png", "text": "a zorb mug"} for number in range(5)]
    table = write_jsonl(photos / "metadata.jsonl", *rows)
    found = read(tiny_flux, table, tmp_path)
    assert len(found.samples) == 5 and len(found.held_out) == 3 and not found.held_out_by_lot
    assert "a zorb mug in the grass" in found.suite.trigger


@pytest.mark.parametrize("name", ["Held_Out", "HELD_OUT"])
def test_the_folder_of_held_out_photos_is_one_in_any_case(tiny_flux: Path, photos: Path, tmp_path: Path, name: str):
    (photos / "held_out").rename(photos / name)
    found = read(tiny_flux, photos, tmp_path)
    assert len(found.held_out) == 3 and len(found.samples) == 5 and not found.held_out_by_lot

"""A short run of an edit on a tiny base of any family, and what holds of it."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flux_lora.render.kept import spec_in
from tests.data.drawn_pairs import grey, painted, scene, write_pair
from tests.family_path import file_of
from tests.test_path import settings

SAID = "paint a red disc on it"


def pairs_folder(folder: Path, count: int = 4, held_out: int = 2, *, size: tuple[int, int] = (96, 64)) -> Path:
    """Wide pairs that all say the same."""
    for number in range(count + held_out):
        place = folder if number < count else folder / "held_out"
        before = scene(number, size)
        write_pair(place, f"pair_{number}", before, painted(before), SAID)
    return folder


def two_references(folder: Path, count: int = 4) -> Path:
    """A table in which each image is made from two, the second of another shape."""
    lines = []
    for number in range(count):
        before = scene(number, (96, 64))
        for name, image in (("after", painted(before)), ("one", before), ("two", grey(before).crop((0, 0, 64, 64)))):
            (folder / name).mkdir(parents=True, exist_ok=True)
            image.save(folder / name / f"{number}.png")
        names = f'["one/{number}.png", "two/{number}.png"]'
        lines.append(f'{{"file_name": "after/{number}.png", "text": "{SAID}", "reference": {names}}}')
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def edit_settings(tiny_flux: Path, pairs: Path, run_dir: Path, *more: str) -> list[str]:
    """The edit recipe, cut to a few steps."""
    own = ["data.trigger=", "data.class_word=", "model.likeness=", "check.page=true"]
    short = settings(tiny_flux, pairs, run_dir, *own, *more)
    return ["recipe=edit", *short[1:]]


def assert_program_draws_the_example(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a level of 255: the program makes pixels of the image before it by its own pipeline."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(file_of(finished).parent / "diffusers_example.py"))
    example = finished / "evaluation" / "example.png"
    made = spec_in(example)
    assert made and made.made_from
    drawn, shown = (np.asarray(Image.open(each), int) for each in (tmp_path / "picture.png", example))
    assert drawn.shape == shown.shape and np.abs(drawn - shown).max() <= 1

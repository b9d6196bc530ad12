"""What each photo taught: its loss after training beside the base's own, at the same noise."""

import json
import re
from pathlib import Path

import pytest

from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.commands.train import train
from flux_lora.config.compose import compose_config
from flux_lora.flow.randomness import generator_for
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.held_out import losses_at
from flux_lora.runs.photo_losses import SIGMAS, PhotoLoss, read_photo_losses, standing_out, worst_in_words
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from tests.test_path import photo_folder, photos, settings

__all__ = ["photos"]


def learned(*losses: float, bases: float = 0.3) -> list[PhotoLoss]:
    """Photos with such losses after training."""
    return [PhotoLoss(f"photos/mug_{number:02d}.png", bases, loss) for number, loss in enumerate(losses)]


EVEN = (0.04, 0.042, 0.038, 0.041, 0.04, 0.039, 0.043, 0.04, 0.041)


def test_the_photo_that_is_learned_far_worse_is_named():
    (line,) = worst_in_words(learned(*EVEN, 0.08))
    assert line.startswith("mug_09.png is learned worst: its loss is 2.0 times the median photo's")


def test_photos_that_are_learned_alike_are_not():
    assert standing_out(learned(*EVEN)) == []


def test_each_photo_of_a_run_is_measured_once_and_shown_on_the_page(tiny_flux: Path, photos: Path, tmp_path: Path):
    place = tmp_path / "run"
    assert run(compose_config(settings(tiny_flux, photos, place))) == FELL_SHORT
    kept = read_photo_losses(place / "photo_losses.json")
    assert {Path(each.image).name for each in kept} == {f"photo_{number}.png" for number in range(5)}
    assert all(each.base > 0 and each.now > 0 for each in kept)
    assert any(each.now != each.base for each in kept)
    page = (place / "report.html").read_text(encoding="utf-8")
    worst = max(kept, key=lambda each: each.now)
    assert len(re.findall(r"[0-9.]+ → [0-9.]+", page)) == 5
    first = page.partition('<span class="name">')[2].partition("<")[0]
    assert first == Path(worst.image).name
    assert train(compose_config(settings(tiny_flux, photos, place))) == 0
    assert read_photo_losses(place / "photo_losses.json") == kept


def test_the_bases_loss_is_that_of_a_base_to_which_nothing_was_attached(tiny_flux: Path, photos: Path, tmp_path: Path):
    words = settings(tiny_flux, photos, tmp_path / "run", "train.steps=3", "preview.every=0", "train.preservation=0")
    assert train(compose_config(words)) == 0
    opened = Run(compose_config(words))
    prepared = encode_dataset(opened, preflight(opened))
    base = opened.family.velocity(opened.load_pipeline().transformer, guidance=opened.config.model.train_guidance)
    for number, each in enumerate(read_photo_losses(opened.folder.photo_losses)):
        noise = generator_for(0, number, "photo loss")
        assert each.base == float(losses_at(SIGMAS, prepared.encoded[number], base, noise, opened).mean())


def test_of_many_photos_those_are_measured_whose_loss_in_training_was_the_highest(
    tiny_flux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("flux_lora.runs.photo_losses.MOST", 3)
    folder = photo_folder(tmp_path / "many", 6)
    words = settings(
        tiny_flux, folder, tmp_path / "run", "train.steps=60", "train.save_every=60", "preview.every=0",
        "train.preservation=0",
    )  # fmt: skip
    assert train(compose_config(words)) == 0
    kept = {Path(each.image).name for each in read_photo_losses(tmp_path / "run" / "photo_losses.json")}
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()][30:]
    sums: dict[int, list[float]] = {}
    for line in lines:
        for sample, loss in zip(line["samples"], line["sample_losses"], strict=True):
            sums.setdefault(sample, []).append(loss)
    means = {sample: sum(each) / len(each) for sample, each in sums.items()}
    assert kept == {f"photo_{number}.png" for number in sorted(means, key=lambda n: -means[n])[:3]}

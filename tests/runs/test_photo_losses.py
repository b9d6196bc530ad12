"""What each photo taught is its loss beside the base's own, so a busy photo is not accused of being busy."""

import json
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


def learned(*shares: float, busy: int = -1) -> list[PhotoLoss]:
    """Photos of which such shares of the loss are left; the busy one has three times as much to learn."""
    bases = [0.9 if number == busy else 0.3 for number in range(len(shares))]
    return [
        PhotoLoss(f"photos/mug_{number:02d}.png", base, base * share)
        for number, (base, share) in enumerate(zip(bases, shares, strict=True))
    ]


EVEN = (0.4, 0.42, 0.38, 0.41, 0.4, 0.39, 0.43, 0.4, 0.41)


def test_the_photo_that_is_learned_far_worse_is_named_with_what_is_left():
    (line,) = worst_in_words(learned(*EVEN, 0.8))
    assert line.startswith("mug_09.png is learned worst: 80% of its loss is left, 2.0 times as much as of the median")


def test_a_busy_photo_that_is_learned_as_well_as_the_others_is_not():
    assert standing_out(learned(*EVEN, busy=3)) == []


def test_a_base_without_a_loss_divides_nothing():
    assert PhotoLoss("a.png", 0.0, 0.0).left == 1.0


def test_each_photo_of_a_run_is_measured_once_and_shown_on_the_page(tiny_flux: Path, photos: Path, tmp_path: Path):
    place = tmp_path / "run"
    assert run(compose_config(settings(tiny_flux, photos, place))) == FELL_SHORT
    kept = read_photo_losses(place / "photo_losses.json")
    assert {Path(each.image).name for each in kept} == {f"photo_{number}.png" for number in range(5)}
    assert all(each.base > 0 and each.now > 0 for each in kept)
    assert any(each.now != each.base for each in kept)
    page = (place / "report.html").read_text(encoding="utf-8")
    worst = max(kept, key=lambda each: each.left)
    assert page.count("% left</span>") == 5
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

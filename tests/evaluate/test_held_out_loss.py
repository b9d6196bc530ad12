"""A fall of the held-out loss is a share with an interval, and measuring it changes nothing of the training."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.config.compose import compose_config
from flux_lora.evaluate.held_out_loss import (
    SIGMAS,
    LossTable,
    expected_loss,
    fall,
    fall_by_sigma,
    fall_in_words,
    read_tables,
    whole_in_words,
)
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from flux_lora.runs.training import train_adapter
from flux_lora.train.checkpoints import complete_checkpoints
from tests import test_path
from tests.test_path import photograph, settings

photos = test_path.photos
GENERATOR = torch.Generator().manual_seed(0)
BASE = LossTable(0, torch.rand(6, len(SIGMAS), generator=GENERATOR) + 0.2)


@given(st.floats(0.05, 3))
def test_losses_that_are_all_a_share_of_the_base_s_fell_by_the_rest_without_doubt(left: float):
    found = fall(LossTable(10, BASE.losses * left), BASE)
    assert found.value == pytest.approx(1 - left, abs=1e-4)
    assert found.high - found.low == pytest.approx(0, abs=1e-4)


def test_the_interval_holds_zero_where_photos_disagree_and_not_where_they_agree():
    noise = torch.randn(6, 1, generator=torch.Generator().manual_seed(1))
    unsure = fall(LossTable(10, BASE.losses * (1 + 0.2 * (noise - noise.mean()))), BASE)
    sure = fall(LossTable(10, BASE.losses * (0.8 + 0.02 * noise)), BASE)
    assert unsure.low < 0 < unsure.high
    assert 0 < sure.low < 0.2 < sure.high


def test_each_sigma_has_its_own_fall():
    later = LossTable(10, BASE.losses * torch.linspace(0.5, 1.0, len(SIGMAS)))
    assert [each.value for each in fall_by_sigma(later, BASE)] == pytest.approx(
        (1 - torch.linspace(0.5, 1.0, len(SIGMAS))).tolist(), abs=1e-5
    )


def test_tables_come_back_from_their_lines(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(f"{BASE.to_json()}\n")
    (kept,) = read_tables(tmp_path / "a.jsonl")
    assert kept.step == 0 and torch.allclose(kept.losses, BASE.losses)
    assert list(read_tables(tmp_path / "none.jsonl")) == []


def test_a_person_reads_shares_against_the_base_and_the_time_before():
    first, second = LossTable(10, BASE.losses * 0.8), LossTable(20, BASE.losses * 0.4)
    assert fall_in_words(first, BASE, BASE) == "step 10: held-out loss is 20% (20% to 20%) below the base's"
    assert fall_in_words(second, BASE, first).endswith("50% (50% to 50%) below step 10's")


def test_a_loss_that_rose_did_not_fall_by_less_than_nothing():
    worse = LossTable(10, BASE.losses * 1.25)
    assert fall_in_words(worse, BASE, BASE) == "step 10: held-out loss is 25% (25% to 25%) above the base's"
    assert whole_in_words(worse, BASE).startswith("On photos that training never saw the loss rose by 25% (between 25%")
    assert "fell by 40%" in whole_in_words(LossTable(10, BASE.losses * 0.6), BASE)


def trained(tiny_flux: Path, photos: Path, folder: Path, *more: str) -> Run:
    run = Run(compose_config(settings(tiny_flux, photos, folder, "preview.every=0", "train.steps=12", *more)))
    dataset = preflight(run)
    run.begin()
    train_adapter(run, encode_dataset(run, dataset))
    return run


def test_a_run_keeps_its_tables_and_its_adapter_is_the_same_without_them(tiny_flux: Path, photos: Path, tmp_path: Path):
    watched = trained(tiny_flux, photos, tmp_path / "a", "evaluate.held_out_losses=4")
    alone = trained(tiny_flux, photos, tmp_path / "b", "evaluate.held_out_losses=0")
    tables = [json.loads(line) for line in watched.folder.held_out_loss.read_text().splitlines()]
    assert [table["step"] for table in tables] == [0, 3, 6, 9, 12]
    assert len(tables[0]["losses"][0]) == len(SIGMAS)
    assert not alone.folder.held_out_loss.exists()
    one, other = (complete_checkpoints(run.folder.root)[-1].adapter_file.read_bytes() for run in (watched, alone))
    assert one == other


@pytest.mark.parametrize("change", ["one more", "one less", "another"])
def test_other_photos_are_compared_with_the_base_and_not_with_the_photos_before(
    tiny_flux: Path, photos: Path, tmp_path: Path, change: str
):
    """One more once ended a run with a traceback; another was compared with what stood there before."""
    run = trained(tiny_flux, photos, tmp_path / "run", "evaluate.held_out_losses=4")
    shutil.rmtree(max((tmp_path / "run" / "checkpoints").iterdir()))
    held_out = photos / "held_out"
    if change == "one more":
        photograph(held_out / "photo_99.png", 11, "")
    else:
        (held_out / "photo_5.png").unlink()
    if change == "another":
        photograph(held_out / "photo_5.png", 12, "")
    trained(tiny_flux, photos, tmp_path / "run", "evaluate.held_out_losses=4")
    tables = list(read_tables(run.folder.held_out_loss))
    assert tables[0].step == 0 and tables[-1].step == 12
    assert {table.photos for table in tables} == {tables[0].photos}
    assert len(tables[0].losses) == len(list(held_out.iterdir()))
    alone = trained(tiny_flux, photos, tmp_path / "other", "evaluate.held_out_losses=4")
    assert torch.equal(tables[0].losses, next(read_tables(alone.folder.held_out_loss)).losses)


def test_the_same_steps_again_give_the_same_losses(tiny_flux: Path, photos: Path, tmp_path: Path):
    one, other = (trained(tiny_flux, photos, tmp_path / name).folder.held_out_loss.read_text() for name in "ab")
    assert one == other


def test_the_expected_loss_is_the_base_s_at_the_sigmas_of_the_table_and_straight_between():
    base = LossTable(0, torch.tensor([[1.0, 2, 3, 4, 5, 6, 7, 8], [3.0, 4, 5, 6, 7, 8, 9, 10]]))
    expected = expected_loss(base)
    torch.testing.assert_close(expected(torch.tensor(SIGMAS)), base.losses.mean(dim=0))
    torch.testing.assert_close(expected(torch.tensor([0.125, 0.0, 1.0])), torch.tensor([2.5, 2.0, 9.0]))

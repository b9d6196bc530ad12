"""prepare is done by as many processes as are started, and whoever stops it loses nothing that was done."""

import json
import signal
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from flux_lora.commands.prepare import prepare
from flux_lora.config.compose import compose_config
from flux_lora.data.cache.index import INDEX
from tests.data.colours import grow_old
from tests.data.drawn_images import gradient, write_sample
from tests.started_together import PATIENCE, programs, start_together
from tests.test_path import photograph, settings

__all__ = ["programs"]


def two_processes(programs: ForkServerContext, arguments: list[str], place: Path) -> list[tuple[int | None, str]]:
    """Exit codes and what was said of two that were started as torchrun starts them."""
    return [each.end() for each in start_together(programs, ["prepare", *arguments], place, 2)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven, so that two processes cannot have as many each, written an hour ago."""
    folder = tmp_path / "photos"
    for number in range(7):
        photograph(folder / f"photo_{number}.png", number, f"a zorb mug in place number {number}")
    for file in folder.iterdir():
        grow_old(file)
    return folder


def entries(cache: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in cache.glob("*.safetensors")}


@pytest.mark.parametrize(("knobs", "more"), [(["train.preservation=0"], 1), (["train.class_images=0"], 2)])
def test_another_caption_is_one_more_text_and_under_preservation_its_plain_form_too(
    tiny_flux: Path, photos: Path, tmp_path: Path, knobs: list[str], more: int
):
    runs = [settings(tiny_flux, photos, tmp_path / "runs" / name, *knobs) for name in ("first", "second")]
    assert prepare(compose_config(runs[0])) == 0
    before = set(entries(tmp_path / "runs" / "cache"))
    (photos / "photo_2.txt").write_text("a zorb mug, told anew")
    assert prepare(compose_config(runs[1])) == 0
    assert len(set(entries(tmp_path / "runs" / "cache")) - before) == more


def test_two_processes_encode_each_image_once_and_write_what_one_would(
    tiny_flux: Path, photos: Path, tmp_path: Path, programs: ForkServerContext
):
    alone, both = tmp_path / "alone" / "mug", tmp_path / "both" / "mug"
    assert prepare(compose_config(settings(tiny_flux, photos, alone))) == 0
    (first, said), (second, quiet) = two_processes(programs, settings(tiny_flux, photos, both), tmp_path)
    assert (first, second) == (0, 0), said + quiet
    looked = [json.loads(line)[0] for line in (both.parent / "cache" / INDEX).read_text().splitlines() if line]
    assert len(looked) == len(set(looked)) == 7, "no image was decoded by both"
    assert entries(both.parent / "cache") == entries(alone.parent / "cache")
    manifests = [(folder / "dataset" / "manifest.jsonl").read_text() for folder in (alone, both)]
    assert manifests[0] == manifests[1]
    assert (both / "dataset" / "report.html").is_file()
    assert json.loads((both / "summary.json").read_text())["status"] == "done"
    assert "images read" in said and "images read" not in quiet, "one of them speaks"


def test_an_image_that_is_cut_short_and_let_pass_is_left_out_by_all(
    tiny_flux: Path, photos: Path, tmp_path: Path, programs: ForkServerContext
):
    whole = (photos / "photo_3.png").read_bytes()
    (photos / "photo_3.png").write_bytes(whole[: len(whole) - 60])  # its header is sound
    off = "check.off=[{rule: unreadable, reason: one is damaged}]"
    (first, said), (second, quiet) = two_processes(
        programs, settings(tiny_flux, photos, tmp_path / "runs" / "mug", off), tmp_path
    )
    assert (first, second) == (0, 0), said + quiet
    manifest = (tmp_path / "runs" / "mug" / "dataset" / "manifest.jsonl").read_text()
    assert "photo_3.png" not in manifest and manifest.count("photo_") >= 6


def test_what_is_refused_is_said_once_and_no_process_is_left_waiting(
    tiny_flux: Path, photos: Path, tmp_path: Path, programs: ForkServerContext
):
    (photos / "photo_3.txt").unlink()
    (first, said), (second, quiet) = two_processes(
        programs, settings(tiny_flux, photos, tmp_path / "runs" / "mug"), tmp_path
    )
    assert (first, second) == (2, 2)
    assert "photo_3.png" in said and "Traceback" not in said and quiet == ""
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_keeps_what_is_encoded_and_says_so(tiny_flux: Path, tmp_path: Path, programs: ForkServerContext):
    photos, run_dir = tmp_path / "photos", tmp_path / "runs" / "mug"
    for number in range(3):
        write_sample(photos, f"{number}.png", f"a zorb mug in place number {number}", gradient(480, 96, number))
    many_crops = ("data.crop=random", "data.repeats=25", "data.resolution=256", "data.max_upscale=2")
    arguments = settings(tiny_flux, photos, run_dir, *many_crops, "check.page=false")
    cache = run_dir.parent / "cache"
    (program,) = start_together(programs, ["prepare", *arguments], tmp_path, 1)
    deadline = time.monotonic() + PATIENCE
    while len(list(cache.glob("latent-*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    program.ask(signal.SIGINT)
    code, said = program.end()
    assert code == 130, said
    assert "are done and kept" in said and "the same command again continues" in said
    done = {file.name: file.stat().st_mtime_ns for file in cache.glob("*.safetensors")}
    assert json.loads((run_dir / "summary.json").read_text())["status"] == "stopped"
    assert not (run_dir / "dataset" / "manifest.jsonl").exists()

    assert prepare(compose_config(arguments)) == 0
    after = {file.name: file.stat().st_mtime_ns for file in cache.glob("*.safetensors")}
    assert done.items() < after.items(), "what was done is as it was, and the rest has come"

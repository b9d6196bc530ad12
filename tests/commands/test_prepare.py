"""prepare is done by as many processes as are started, and whoever stops it loses nothing that was done."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from flux_lora.commands.prepare import prepare
from flux_lora.config.compose import compose_config
from flux_lora.data.cache.glances import INDEX
from tests.data.colours import grow_old
from tests.data.painted import gradient, write_sample
from tests.test_path import ENVIRONMENT, command, photograph, settings

PATIENCE = 120
"""Seconds."""


def two_processes(arguments: list[str]) -> list[tuple[int, str]]:
    """Exit codes and what was said of two that were started as torchrun starts them."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(listening.getsockname()[1]), "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            command("prepare", *arguments),
            stderr=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    said = [each.communicate(timeout=PATIENCE)[1] for each in started]
    return [(each.returncode, words) for each, words in zip(started, said, strict=True)]


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


def test_two_processes_encode_each_picture_once_and_write_what_one_would(tiny_flux: Path, photos: Path, tmp_path: Path):
    alone, both = tmp_path / "alone" / "mug", tmp_path / "both" / "mug"
    assert prepare(compose_config(settings(tiny_flux, photos, alone))) == 0
    (first, said), (second, quiet) = two_processes(settings(tiny_flux, photos, both))
    assert (first, second) == (0, 0), said + quiet
    looked = [json.loads(line)[0] for line in (both.parent / "cache" / INDEX).read_text().splitlines() if line]
    assert len(looked) == len(set(looked)) == 7, "no picture was decoded by both"
    assert entries(both.parent / "cache") == entries(alone.parent / "cache")
    manifests = [(folder / "dataset" / "manifest.jsonl").read_text() for folder in (alone, both)]
    assert manifests[0] == manifests[1]
    assert (both / "dataset" / "report.html").is_file()
    assert json.loads((both / "summary.json").read_text())["status"] == "done"
    assert "pictures read" in said and "pictures read" not in quiet, "one of them speaks"


def test_what_is_refused_is_said_once_and_no_process_is_left_waiting(tiny_flux: Path, photos: Path, tmp_path: Path):
    (photos / "photo_3.txt").unlink()
    (first, said), (second, quiet) = two_processes(settings(tiny_flux, photos, tmp_path / "runs" / "mug"))
    assert (first, second) == (2, 2)
    assert "photo_3.png" in said and "Traceback" not in said and quiet == ""
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_keeps_what_is_encoded_and_says_so(tiny_flux: Path, tmp_path: Path):
    photos, run_dir = tmp_path / "photos", tmp_path / "runs" / "mug"
    for number in range(3):
        write_sample(photos, f"{number}.png", f"a zorb mug in place number {number}", gradient(480, 96, number))
    many_crops = ("data.crop=random", "data.repeats=25", "data.resolution=256", "data.most_enlarged=2")
    arguments = settings(tiny_flux, photos, run_dir, *many_crops, "check.page=false")
    cache = run_dir.parent / "cache"
    process = subprocess.Popen(
        command("prepare", *arguments), stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    )
    deadline = time.monotonic() + PATIENCE
    while len(list(cache.glob("latent-*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130, said
    assert "are done and kept" in said and "the same command again continues" in said
    done = {file.name: file.stat().st_mtime_ns for file in cache.glob("*.safetensors")}
    assert json.loads((run_dir / "summary.json").read_text())["status"] == "stopped"
    assert not (run_dir / "dataset" / "manifest.jsonl").exists()

    assert prepare(compose_config(arguments)) == 0
    after = {file.name: file.stat().st_mtime_ns for file in cache.glob("*.safetensors")}
    assert done.items() < after.items(), "what was done is as it was, and the rest has come"

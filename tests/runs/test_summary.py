"""summary.json tells how a run stands, whatever ended it."""

import json
from pathlib import Path

import pytest

from flux_lora.errors import RunError
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.summary import note, read_summary, stage


def test_a_finished_stage_is_done_and_timed(tmp_path: Path):
    folder = RunFolder(tmp_path)
    with stage(folder, "train"):
        assert read_summary(folder)["status"] == "stopped", "what a power cut would leave"
    summary = json.loads(folder.summary.read_text())
    assert summary["status"] == "done" and summary["seconds"]["train"] >= 0


def test_a_user_error_leaves_the_status_failed_and_its_problem(tmp_path: Path):
    folder = RunFolder(tmp_path)
    with pytest.raises(RunError), stage(folder, "train"):
        raise RunError("step 7: the loss is nan", fix="lower the rate")
    summary = read_summary(folder)
    assert (summary["status"], summary["problem"]) == ("failed", "step 7: the loss is nan")


def test_ctrl_c_leaves_the_status_stopped(tmp_path: Path):
    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt), stage(folder, "train"):
        raise KeyboardInterrupt
    assert read_summary(folder)["status"] == "stopped"


def test_seconds_add_up_only_where_a_stage_continues(tmp_path: Path):
    folder = RunFolder(tmp_path)
    note(folder, {"seconds": {"train": 100.0, "evaluate": 100.0}})
    with stage(folder, "train", continues=True), stage(folder, "evaluate"):
        pass
    seconds = read_summary(folder)["seconds"]
    assert isinstance(seconds, dict) and seconds["train"] >= 100.0 and seconds["evaluate"] < 100.0


def test_a_note_keeps_what_others_noted(tmp_path: Path):
    folder = RunFolder(tmp_path)
    note(folder, {"steps": 250})
    note(folder, {"report": "report.html"})
    assert read_summary(folder)["steps"] == 250

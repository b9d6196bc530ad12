"""summary.json: how a run stands, in a schema that scripts may rely on.

A run that is killed leaves the status `stopped`: the file says so from the first stage on, and
only the end changes it to `done` or `failed`.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from flux_lora.errors import UserError
from flux_lora.runs.folder import RunFolder, write_json

SCHEMA = 1


def read_summary(folder: RunFolder) -> dict[str, object]:
    """What is known of the run so far; a fresh summary if nothing is."""
    fresh: dict[str, object] = {
        "schema": SCHEMA,
        "status": "stopped",
        "problem": "",
        "steps": 0,
        "seconds": {},
        "chosen": None,
        "scores": [],
        "files": [],
        "places": [],
        "report": "",
    }
    if folder.summary.is_file():
        fresh.update(json.loads(folder.summary.read_text(encoding="utf-8")))
    return fresh


def note(folder: RunFolder, facts: Mapping[str, object]) -> None:
    """Write these facts into the summary, and keep the others."""
    write_json({**read_summary(folder), **facts}, folder.summary)


@contextmanager
def stage(folder: RunFolder, name: str, *, continues: bool = False) -> Iterator[None]:
    """Time a stage, and say how it ended. The seconds of one that continues what was begun add up."""
    note(folder, {"status": "stopped", "problem": ""})
    began = time.monotonic()
    try:
        yield
    except Exception as error:
        problem = error.problem if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):  # a full disk is said by what met it first
            note(folder, {"status": "failed", "problem": problem})
        raise
    finally:
        seconds = read_summary(folder)["seconds"]
        assert isinstance(seconds, dict), "the summary is ours"
        before = float(seconds.get(name, 0.0)) if continues else 0.0
        spent = round(time.monotonic() - began + before, 1)
        with suppress(OSError):
            note(folder, {"seconds": {**seconds, name: spent}})
    note(folder, {"status": "done"})

"""Seconds and peak memory of a stage: captions are encoded and their encoders freed before the first picture is."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")
OWN_STATUS = Path("/proc/self/status")
FORGET_PEAK = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class StageProfile:
    """What one stage took."""

    name: str
    seconds: float
    peak_bytes: int
    """Of this process, pages of read files among it. On other systems than Linux: since the process began."""
    gpu_bytes: int = 0
    """Peak of what torch held on the GPU."""


def profiled(name: str, work: Callable[[], Result]) -> tuple[Result, StageProfile]:
    """Do the work, and say what it took."""
    _forget_peak()
    began = time.perf_counter()
    result = work()
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return result, StageProfile(name, time.perf_counter() - began, peak_bytes(), gpu)


def peak_bytes() -> int:
    """The most memory that this process held since the peak was last forgotten; 0 where the machine does not say."""
    if OWN_STATUS.is_file():
        found = [line.split()[1] for line in OWN_STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(found[0]) * 1024 if found else 0
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        FORGET_PEAK.write_text("5")
    except OSError:
        return

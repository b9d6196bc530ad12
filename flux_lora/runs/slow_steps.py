"""A step that takes twice as long as others of its size did is said once, with what is known of the memory."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from flux_lora.runs.plan import GIB

OWN_STATUS = Path("/proc/self/status")
USUAL = 20
"""Steps of a size of which the median is what is usual."""
IN_A_ROW = 3
"""So many slow ones, as one may have waited for a disk."""
SLOWER = 2.0


class SlowSteps:
    """Told every step; says once that they have become slow."""

    def __init__(self, say: Callable[[str], None], memory: Callable[[], float]) -> None:
        """`memory`: the bytes that this process holds now."""
        self._say, self._memory = say, memory
        self._usual: dict[object, deque[float]] = {}
        self._before = self._slow = 0.0
        self._said = False

    def look_at(self, number: int, size: object, seconds: float) -> None:
        """`size` tells steps apart that take different times: the buckets of their images."""
        known = self._usual.setdefault(size, deque(maxlen=USUAL))
        if len(known) < USUAL:
            known.append(seconds)
            self._before = self._before or self._memory()
            return
        usual = median(known)
        self._slow = self._slow + 1 if seconds > SLOWER * usual else 0
        if not self._slow:
            known.append(seconds)
        if self._slow < IN_A_ROW or self._said:
            return
        self._said, now = True, self._memory()
        self._say(
            f"step {number} took {seconds:.2f} s, {seconds / usual:.1f} times as long as steps of its size did; memory "
            f"was {self._before / GIB:.2f} GB then and is {now / GIB:.2f} GB now. "
            + ("It has grown: see whether it spills into the host's" if now > 1.1 * self._before else _OTHERS)
        )


_OTHERS = "It has not grown: see what else this machine computes, and how hot it is"


def memory_held() -> float:
    """Bytes: what torch has reserved on the GPU, or the process's own where there is none; 0 where nobody says."""
    if torch.cuda.is_available():
        return float(torch.cuda.memory_reserved())
    if not OWN_STATUS.is_file():
        return 0.0
    found = [line.split()[1] for line in OWN_STATUS.read_text().splitlines() if line.startswith("VmRSS:")]
    return float(found[0]) * 1024 if found else 0.0

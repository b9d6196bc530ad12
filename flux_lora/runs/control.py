"""Requests to a run that trains: a file in its folder, taken between two steps.

A request is written beside and renamed, so it is read whole or not at all. Who takes it takes the file away, which says
that it arrived. One that was left for a dead process is not for the next: training begins by clearing it.
"""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from flux_lora.atomic import write_text
from flux_lora.config.choices import Control
from flux_lora.distributed.processes import ALONE, EndedTogether, ProcessGroup
from flux_lora.errors import RunError
from flux_lora.runs.lock import is_alone_in
from flux_lora.runs.stop_request import StopRequest

FILE = ".control"
EVERY = 0.2
"""Seconds between two looks."""
WEAKEST_FIRST = (None, Control.resume, Control.save, Control.sample, Control.pause, Control.stop)
"""Where processes have heard different things, the strongest is done."""


@dataclass(frozen=True)
class ControlFile:
    """The file of a run folder by which requests arrive."""

    root: Path

    def clear(self) -> None:
        """Requests from before this process are not for it."""
        (self.root / FILE).unlink(missing_ok=True)

    def take(self) -> Control | None:
        """The request that arrived since the last look; none is taken twice."""
        file = self.root / FILE
        try:
            said = file.read_text(encoding="utf-8").strip()
        except OSError:
            return None
        file.unlink(missing_ok=True)
        return Control(said) if said in set(Control) else None


@dataclass
class Requests:
    """What a person asks of a run, by a signal or by `flux-lora control`. All processes that train together take it
    between the same two steps: the first one reads the file, and a signal may have reached any of them."""

    stop: StopRequest
    file: ControlFile
    group: ProcessGroup = ALONE

    def after_step(self) -> Control | None:
        """The request that arrived; a signal asks to stop."""
        arrived = self.file.take() if self.group.first else None
        arrived = Control.stop if self.stop.signal else arrived
        agreed = self.group.agree(WEAKEST_FIRST.index(arrived))
        if WEAKEST_FIRST[agreed] is Control.stop:
            self.stop.signal = self.stop.signal or signal.SIGINT
        return WEAKEST_FIRST[agreed]

    def paused(self) -> Control:
        """Wait until anything else than a pause is asked."""
        while (request := self.after_step()) in (None, Control.pause):
            time.sleep(EVERY)
        return request

    def end_together(self, over: bool) -> bool:
        """Whether training ends here for one of the processes; none goes on before the first has saved.

        If a stop was asked for, all of them end as the signal would have it.
        """
        over = bool(self.group.agree(int(over)))
        if self.stop.signal and not self.group.alone:
            raise EndedTogether(128 + self.stop.signal)
        self.stop.obey()
        return over


def send(root: Path, request: Control, *, patience: float) -> bool:
    """Send a request to the process that trains there; whether it was taken within so many seconds.

    Raises RunError where no process trains there.
    """
    if not root.is_dir() or is_alone_in(root):
        raise RunError(f"nothing trains in {root}", fix="name the run folder of a training that goes on: run=runs/mug")
    write_text(request.value, root / FILE)
    until = time.monotonic() + patience
    while (root / FILE).exists():
        if time.monotonic() > until:
            return False
        time.sleep(EVERY)
    return True

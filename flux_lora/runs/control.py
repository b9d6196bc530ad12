"""Requests to a run that trains: a file in its folder, taken between two steps.

A request is written beside and renamed, so it is read whole or not at all. Who takes it takes the file away, which says
that it arrived. One that was left for a dead process is not for the next: training begins by clearing it.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flux_lora.atomic import write_text
from flux_lora.config.choices import Control
from flux_lora.errors import RunError
from flux_lora.runs.lock import is_alone_in
from flux_lora.runs.stop_request import StopRequest

FILE = ".control"
EVERY = 0.2
"""Seconds between two looks."""


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

    def wait(self, stopped: Callable[[], bool]) -> Control | None:
        """The request that ends a pause: any other. None where a signal ended it."""
        while not stopped():
            request = self.take()
            if request and request is not Control.pause:
                return request
            time.sleep(EVERY)
        return None


@dataclass
class Requests:
    """What a person asks of a run, by a signal or by `flux-lora control`."""

    stop: StopRequest
    file: ControlFile

    def after_step(self) -> Control | None:
        """The request that arrived; a signal asks to stop."""
        return self._noted(self.file.take())

    def paused(self) -> Control | None:
        """Wait until something else is asked."""
        return self._noted(self.file.wait(lambda: bool(self.stop.signal)))

    def _noted(self, request: Control | None) -> Control | None:
        if request is Control.stop:
            self.stop.signal = self.stop.signal or signal.SIGINT
        return Control.stop if self.stop.signal else request


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

"""Words to a run that trains: a file in its folder, taken between two steps.

A word is written beside and renamed, so it is read whole or not at all; the one who takes it takes the file away, and
so says that it was heard. A word that a dead process left is not for the next one: training begins by forgetting it.
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
class Ear:
    """Where a run listens."""

    root: Path

    def forget(self) -> None:
        """What was said before now was not said to this process."""
        (self.root / FILE).unlink(missing_ok=True)

    def heard(self) -> Control | None:
        """The word that was said since the last look, and nothing twice."""
        file = self.root / FILE
        try:
            said = file.read_text(encoding="utf-8").strip()
        except OSError:
            return None
        file.unlink(missing_ok=True)
        return Control(said) if said in set(Control) else None

    def after_a_pause(self, stopped: Callable[[], bool]) -> Control | None:
        """The word that ends a pause: any other. None where a signal ended it."""
        while not stopped():
            word = self.heard()
            if word and word is not Control.pause:
                return word
            time.sleep(EVERY)
        return None


@dataclass
class Asked:
    """What a person asks of a run, by a signal or by a word."""

    stop: StopRequest
    ear: Ear

    def after_step(self) -> Control | None:
        """The word that was said, a signal's among them."""
        word = self.ear.heard()
        if word is Control.stop:
            self.stop.signal = self.stop.signal or signal.SIGINT
        return Control.stop if self.stop.signal else word

    def paused(self) -> Control | None:
        """Wait until something else is asked."""
        word = self.ear.after_a_pause(lambda: bool(self.stop.signal))
        if word is Control.stop:
            self.stop.signal = signal.SIGINT
        return Control.stop if self.stop.signal else word


def say(root: Path, word: Control, *, patience: float) -> bool:
    """Say a word to the process that trains there; whether it was heard within so many seconds.

    Raises RunError where no process trains there.
    """
    if not root.is_dir() or is_alone_in(root):
        raise RunError(f"nothing trains in {root}", fix="name the run folder of a training that goes on: run=runs/mug")
    write_text(word.value, root / FILE)
    until = time.monotonic() + patience
    while (root / FILE).exists():
        if time.monotonic() > until:
            return False
        time.sleep(EVERY)
    return True

"""A stop that is asked for: the first Ctrl-C, or the SIGTERM of a machine that is taken back, waits for the step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """Whether someone has asked to stop, and how."""

    signal: int = 0
    """0 until then."""

    def obey(self) -> None:
        """If one was asked for, end as the signal would have: Ctrl-C, or exit code 143."""
        if not self.signal:
            return
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.signal)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """The first signal is only noted; a second one acts at once, as it always does. Signals reach the main thread
    alone: in another one nothing is noted."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def asked(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        request.signal = number
        put_back()

    for number in SIGNALS:
        signal.signal(number, asked)
    try:
        yield request
    finally:
        put_back()

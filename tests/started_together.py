"""Programs that are started as torchrun starts them, in processes that have imported what they need already."""

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path

import pytest

from flux_lora.__main__ import main
from tests.test_path import ENVIRONMENT

PATIENCE = 120
"""Seconds."""
HEAVY = ("flux_lora.commands.prepare", "flux_lora.commands.train", "flux_lora.models.flux1.load")
"""What a process of ours imports first; imported once, for all that are started here."""


def as_a_program(arguments: list[str], environment: dict[str, str], said: Path) -> None:
    """The whole command line, in a process of its own."""
    os.environ |= environment
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a gate that runs in the background has it ignored
    with said.open("w") as heard:
        os.dup2(heard.fileno(), 2)
    sys.argv = ["flux-lora", *arguments]
    main()


@pytest.fixture(scope="session")
def programs() -> Iterator[ForkServerContext]:
    """Starts processes that have imported what they need: their imports would be most of what is measured."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__, *HEAVY])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        ensure_running()
        yield server


@dataclass(frozen=True)
class Program:
    """One that was started, and the file in which it says what it says."""

    process: ForkServerProcess
    said: Path

    def ask(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None, "it was started"
        os.kill(self.process.pid, number)

    def end(self) -> tuple[int | None, str]:
        """Its exit code, and what it has said."""
        self.process.join(PATIENCE)
        return self.process.exitcode, self.said.read_text()


def start_together(programs: ForkServerContext, arguments: list[str], place: Path, count: int) -> list[Program]:
    """So many processes of one command, with the environment that torchrun gives them."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(listening.getsockname()[1])}
    address |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)} if count > 1 else {}
    started = []
    for rank in range(count):
        environment = {**address, "RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}
        said = place / f"said_{rank}.txt"
        said.touch()
        process = programs.Process(target=as_a_program, args=(arguments, environment, said))
        process.start()
        started.append(Program(process, said))
    return started

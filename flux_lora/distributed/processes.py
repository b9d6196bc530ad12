"""Processes that torchrun or accelerate started together: rank, world size, broadcast, and failing together."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as processes

FAILED = 2
LONGEST_WAIT = timedelta(days=7)
"""Whoever is done with its images waits for the slowest."""


Item = TypeVar("Item")


@dataclass(frozen=True)
class ProcessShare:
    """One process's part of a piece of work. Nobody waits: the parts are told apart by number alone."""

    rank: int
    world_size: int

    def of(self, work: Sequence[Item]) -> Sequence[Item]:
        """Every world_size-th item, from number rank on."""
        return work[self.rank :: self.world_size]


@dataclass(frozen=True)
class ProcessGroup:
    """Which process of how many this is."""

    share: ProcessShare

    @property
    def alone(self) -> bool:
        """Whether there is nobody to wait for."""
        return self.share.world_size == 1

    @property
    def first(self) -> bool:
        """Whether this one speaks, and writes what there is one of."""
        return self.share.rank == 0

    def all_max(self, code: int) -> int:
        """The highest of all processes' codes. None goes on before all have come this far."""
        if self.alone:
            return code
        codes = torch.tensor([code])
        processes.all_reduce(codes, op=processes.ReduceOp.MAX)
        return int(codes)

    def broadcast(self, said: str) -> str:
        """What the first one says, as all hear it."""
        content = torch.frombuffer(bytearray(said.encode()), dtype=torch.uint8)
        length = torch.tensor([len(content)])
        processes.broadcast(length, src=0)
        content = content if self.first else torch.empty(int(length), dtype=torch.uint8)
        processes.broadcast(content, src=0)
        return content.numpy().tobytes().decode()

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """A piece of work that all wait for. Where it fails for one, none goes on: that one says why."""
        try:
            yield
        except Exception:
            self.all_max(FAILED)
            raise
        if self.all_max(0):
            raise SystemExit(FAILED)


@contextmanager
def process_group(environment: Mapping[str, str] = os.environ) -> Iterator[ProcessGroup]:
    """All processes that were started together; this one alone where no launcher did."""
    share = ProcessShare(int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1")))
    if share.world_size == 1:
        yield ProcessGroup(share)
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(environment.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    processes.init_process_group("gloo", rank=share.rank, world_size=share.world_size, timeout=LONGEST_WAIT)
    try:
        yield ProcessGroup(share)
    finally:
        processes.destroy_process_group()

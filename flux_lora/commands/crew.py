"""Several processes that prepare one run together, as torchrun or accelerate start them, and how they wait."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as processes

from flux_lora.data.cache import Share

FAILED = 2
LONGEST_WAIT = timedelta(days=7)
"""Whoever is done with its pictures waits for the slowest."""


@dataclass(frozen=True)
class Crew:
    """Which process of how many this is."""

    share: Share

    @property
    def alone(self) -> bool:
        """Whether there is nobody to wait for."""
        return self.share.world == 1

    @property
    def first(self) -> bool:
        """Whether this one speaks, and writes what there is one of."""
        return self.share.rank == 0

    def worst(self, code: int) -> int:
        """The highest of all processes' codes. None goes on before all have come this far."""
        if self.alone:
            return code
        codes = torch.tensor([code])
        processes.all_reduce(codes, op=processes.ReduceOp.MAX)
        return int(codes)

    def heard(self, said: str) -> str:
        """What the first one says, as all hear it."""
        content = torch.frombuffer(bytearray(said.encode()), dtype=torch.uint8)
        length = torch.tensor([len(content)])
        processes.broadcast(length, src=0)
        content = content if self.first else torch.empty(int(length), dtype=torch.uint8)
        processes.broadcast(content, src=0)
        return content.numpy().tobytes().decode()

    @contextmanager
    def together(self) -> Iterator[None]:
        """A piece of work that all wait for. Where it fails for one, none goes on: that one says why."""
        try:
            yield
        except Exception:
            self.worst(FAILED)
            raise
        if self.worst(0):
            raise SystemExit(FAILED)


@contextmanager
def crew_of(environment: Mapping[str, str] = os.environ) -> Iterator[Crew]:
    """All processes that were started together; this one alone where no launcher did."""
    share = Share(int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1")))
    if share.world == 1:
        yield Crew(share)
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(environment.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    processes.init_process_group("gloo", rank=share.rank, world_size=share.world, timeout=LONGEST_WAIT)
    try:
        yield Crew(share)
    finally:
        processes.destroy_process_group()

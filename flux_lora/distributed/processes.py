"""Processes that torchrun or accelerate started together: rank, world size, broadcast, sums, and ending together.

Whatever one of them waits for the others with goes through `all_max` first, on the CPU. So a process that fails says
so there, once, and none is left waiting for it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as processes
from torch import Tensor

from flux_lora.errors import RunError

FAILED = 2
"""Exit code of those that end because another failed."""
INTERRUPTED = 130
FAILURE = 2**62
"""What a process that fails says to the others; above any code that they agree on."""
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


class OtherFailedError(RunError):
    """Another process has failed, or is gone without a word."""


class EndedTogether(SystemExit):
    """All processes end here with this code, because one was asked to."""


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
        """The highest of all processes' codes. None goes on before all have come this far.

        Raises OtherFailedError where one of them was killed.
        """
        if self.alone:
            return code
        codes = torch.tensor([code])
        self._reduce(codes, processes.ReduceOp.MAX)
        return int(codes)

    def agree(self, code: int) -> int:
        """The same between the beginning and the end of `fail_together`: where another has failed, this one ends.

        Raises OtherFailedError on the first one, which keeps the books; the others end in silence.
        """
        if (agreed := self.all_max(code)) != FAILURE:
            return agreed
        if self.first:
            raise OtherFailedError("another process has failed", fix="see what it said; the same command continues")
        raise SystemExit(FAILED)

    def add_up(self, numbers: Tensor) -> None:
        """Put the sum over all processes in place of these numbers, on any device."""
        self.agree(0)
        if not self.alone:
            self._reduce(numbers, processes.ReduceOp.SUM)

    def _reduce(self, numbers: Tensor, how: processes.ReduceOp.RedOpType) -> None:
        try:
            processes.all_reduce(numbers, op=how)
        except RuntimeError as error:
            raise OtherFailedError(
                f"one of the {self.share.world_size} processes was killed",
                fix="see what it said, and whether its machine had memory left; the same command continues",
            ) from error

    def broadcast(self, said: str) -> str:
        """What the first one says, as all hear it."""
        content = torch.frombuffer(bytearray(said.encode()), dtype=torch.uint8)
        length = torch.tensor([len(content)])
        processes.broadcast(length, src=0)
        content = content if self.first else torch.empty(int(length), dtype=torch.uint8)
        processes.broadcast(content, src=0)
        return content.numpy().tobytes().decode()

    def if_first(self, context: AbstractContextManager[Item]) -> AbstractContextManager[Item | None]:
        """This context for the first one, and none for the others."""
        return context if self.first else nullcontext()

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first one does it, and then the others, who find there what it has written."""
        if not self.first:
            self.agree(0)
        yield
        if self.first:
            self.agree(0)

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """All that they do together, from its beginning to its end. Where it fails for one, that one says why, and
        none goes on; and none is gone before all are done. One that is interrupted speaks if it is the first."""
        try:
            yield
        except OtherFailedError:
            raise
        except EndedTogether as end:
            self.all_max(0)
            if self.first and end.code == INTERRUPTED:
                raise KeyboardInterrupt from None
            raise
        except KeyboardInterrupt:
            if self.first:
                raise
            raise SystemExit(INTERRUPTED) from None
        except Exception:
            self.all_max(FAILURE)
            raise
        self.agree(0)


ALONE = ProcessGroup(ProcessShare(0, 1))
"""A process that nobody works with."""


@contextmanager
def process_group(environment: Mapping[str, str] = os.environ) -> Iterator[ProcessGroup]:
    """All processes that were started together; this one alone where no launcher did."""
    share = ProcessShare(int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1")))
    if share.world_size == 1:
        yield ProcessGroup(share)
        return
    backend = _backend(int(environment.get("LOCAL_RANK", "0")), int(environment.get("LOCAL_WORLD_SIZE", "1")))
    processes.init_process_group(backend, rank=share.rank, world_size=share.world_size, timeout=LONGEST_WAIT)
    try:
        yield ProcessGroup(share)
    finally:
        processes.destroy_process_group()


def _backend(local_rank: int, local_world_size: int) -> str:
    """gloo, and NCCL for what is on GPUs if each process has one of its own, which is then its device."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus:
        torch.cuda.set_device(local_rank % gpus)
    return "cpu:gloo,cuda:nccl" if 0 < local_world_size <= gpus else "gloo"

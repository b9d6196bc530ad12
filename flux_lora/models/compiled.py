"""Blocks compiled by torch.compile, one graph for all blocks of a kind, after a test that they still answer the same.

Only blocks are compiled, each as a whole (fullgraph): a minute at the start instead of many, and packing, positions and
peft's bookkeeping stay as they are. Every variant of a block's inputs is a graph of its own: with and without
gradients, first or later in the stack, each size until torch makes it dynamic, previews. torch gives up after 8, so the
limit is raised, also on the thread of a GPU's backward pass, where checkpointing runs blocks again and settings are
kept apart.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._dynamo import config as dynamo

VARIANTS = 256
"""Graphs of one block's code, at most."""
MOST_OFF = 0.03
"""Of an answer, as a share of it (root mean squares): fused kernels round less often. NF4 was 2.6 % off on a CPU."""
LEAST_COSINE = 0.99
"""Between the gradients of the whole adapter."""

Try = Callable[[], tuple[Tensor, Sequence[Tensor]]]
"""-> an answer, and the gradients of all that trains."""


@dataclass(frozen=True)
class Comparison:
    """Compiled blocks beside eager ones."""

    off: float
    cosine: float

    @property
    def same(self) -> bool:
        """Whether they may train."""
        return self.off <= MOST_OFF and self.cosine >= LEAST_COSINE


@contextmanager
def compiled_blocks(
    transformer: nn.Module, attempt: Try, say: Callable[[str], None], *, backend: str | Callable = "inductor"
) -> Iterator[None]:
    """With the blocks compiled, if that works here and gives the same answer and gradients; else as they are, and said.

    `attempt` does one pass, forward and backward, and must leave no gradients behind.
    """
    blocks = blocks_of(transformer)
    _raise_limit(next(transformer.parameters()).device)
    eager = attempt()
    try:
        for block in blocks:
            block.compile(fullgraph=True, backend=backend)
        found = compared(eager, attempt())
        apart = f"{found.off:.2%} from eager, gradients at a cosine of {found.cosine:.4f}"
        if found.same:
            say(f"compile: {len(blocks)} blocks, {apart}")
        else:
            _undo(blocks)
            say(f"compile: left off, for answers are {apart}")
    except (RuntimeError, ImportError, OSError) as error:
        _undo(blocks)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        say(f"compile: left off, it does not work here: {' '.join(lines[:2])[:200]}")
    try:
        yield
    finally:
        _undo(blocks)


def blocks_of(transformer: nn.Module) -> list[nn.Module]:
    """Those of its lists."""
    return [block for each in transformer.children() if isinstance(each, nn.ModuleList) for block in each]


def compared(eager: tuple[Tensor, Sequence[Tensor]], other: tuple[Tensor, Sequence[Tensor]]) -> Comparison:
    """One answer beside another, and all gradients as one vector; what is not finite is nowhere near."""
    (answer, gradients), (changed, moved) = eager, other
    off = (changed.float() - answer.float()).norm() / answer.float().norm()
    one, two = (torch.cat([each.float().flatten() for each in every]) for every in (gradients, moved))
    cosine = torch.nn.functional.cosine_similarity(one, two, dim=0)
    return Comparison(*(float(each) if bool(each.isfinite()) else bad for each, bad in ((off, 1e9), (cosine, -1.0))))


def _undo(blocks: Sequence[nn.Module]) -> None:
    for block in blocks:
        block._compiled_call_impl = None  # noqa: SLF001  what nn.Module.compile sets


def _raise_limit(device: torch.device) -> None:
    """Here, and on the thread that the device's backward pass has."""

    def raised(gradient: Tensor) -> Tensor:
        dynamo.recompile_limit, dynamo.accumulated_recompile_limit = VARIANTS, 4 * VARIANTS
        return gradient

    start = torch.zeros(1, device=device, requires_grad=True)
    raised(start)
    start.register_hook(raised)
    start.sum().backward()

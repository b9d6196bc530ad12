"""What a program made of a file: the changes it applies, the keys it leaves, and what it gets wrong."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from flux_lora.adapter.kinds import LayerDelta

CLOSE = 1e-3
"""Relative: alpha may have been rounded to a 16-bit dtype."""


@dataclass(frozen=True)
class LoadResult:
    """A file as one program sees it."""

    deltas: Mapping[str, LayerDelta] = field(default_factory=dict)
    """By diffusers' module name; what cannot be split of a fused weight stays under BFL's name."""
    unused: tuple[str, ...] = ()
    """Keys of the file that it does not use."""
    wrong: str = ""
    """What it applies otherwise than it was trained, in words."""
    stopped: str = ""
    """Why it stops with an error; then it applies nothing."""


Load = Callable[[Mapping[str, Tensor], Mapping[str, str], Collection[str]], LoadResult]
"""(the file's tensors, its metadata, the linear layers of the base by diffusers' name) -> what the program does"""


@dataclass(frozen=True)
class Loader:
    """A program that loads LoRA files."""

    name: str
    about: str
    load: Load


def stopped(reason: str, tensors: Mapping[str, Tensor]) -> LoadResult:
    """The program raises: nothing is used."""
    return LoadResult(unused=tuple(sorted(tensors)), stopped=reason)


def without_trained_alpha(consumed: LoadResult, scales: Iterable[tuple[float, float]]) -> LoadResult:
    """The same, with a word on the strength where one that it applies (the first) is not the one that was meant."""
    off = [(applied, meant) for applied, meant in scales if not math.isclose(applied, meant, rel_tol=CLOSE)]
    if not off:
        return consumed
    applied, meant = (_range(list(each)) for each in zip(*off, strict=True))
    return replace(consumed, wrong=f"leaves alpha out: applies strength {applied} where {meant} was trained")


def _range(scales: Sequence[float]) -> str:
    first, last = min(scales), max(scales)
    return f"{first:g}" if first == last else f"{first:g} to {last:g}"

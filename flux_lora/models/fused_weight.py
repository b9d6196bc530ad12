"""Weights of Black Forest Labs' models as diffusers has them. Importing this waits for no torch."""

from dataclasses import dataclass

HALVES_SWAPPED = "norm_out.linear"
"""BFL keeps shift above scale in this weight, diffusers scale above shift."""


@dataclass(frozen=True)
class FusedWeight:
    """A weight of BFL's model: one of diffusers', or several stacked by rows."""

    parts: tuple[str, ...]
    """diffusers' names, top rows first."""
    fused: str = ""
    """BFL's name, which a delta that cannot be split keeps."""
    swaps: bool = False
    """Whether the two halves of its rows change places."""

"""A part of a picture."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, in pixels of the upright picture."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Pixels."""
        return self.bottom - self.top

    def holds(self, other: "Box", slack: float = 1.0) -> bool:
        """Whether the other lies inside, but for `slack` pixels."""
        beyond = (self.left - other.left, self.top - other.top, other.right - self.right, other.bottom - self.bottom)
        return max(beyond) <= slack

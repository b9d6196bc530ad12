"""What long training needs: averaged weights, and a state file to continue from."""

from pathlib import Path

import torch
from torch import Tensor, nn


class Ema:
    """An exponential moving average of a module's weights."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.count = 0
        self.average = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one more look; early looks count more, so that the start is forgotten."""
        self.count += 1
        decay = min(self.decay, self.count / (self.count + 10))
        for name, value in module.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def copy_to(self, module: nn.Module) -> None:
        """Give the module its averaged weights."""
        module.load_state_dict(self.average)

    def state_dict(self) -> dict[str, Tensor | int]:
        """The average and its age."""
        return {"count": self.count, **{f"average.{name}": value for name, value in self.average.items()}}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Continue an average."""
        self.count = int(state["count"])
        for name in self.average:
            self.average[name] = state[f"average.{name}"]  # type: ignore[assignment]


def save_state(file: Path, step: int, **parts: object) -> None:
    """Write the states of parts beside the file, then rename."""
    states = {name: part.state_dict() for name, part in parts.items()}  # type: ignore[attr-defined]
    half = file.with_suffix(".half")
    torch.save({"step": step, **states}, half)
    half.rename(file)


def load_state(file: Path, **parts: object) -> int:
    """Put saved states back and return the step to go on from; 0 without a file."""
    if not file.exists():
        return 0
    states = torch.load(file, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(states[name])  # type: ignore[attr-defined]
    return int(states["step"])

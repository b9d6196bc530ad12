"""The base model that ships inside the package: FLUX.1-dev's architecture, small enough for a laptop."""

from pathlib import Path

MINI = "mini"
"""What model.path calls it."""


def mini_folder() -> Path:
    """A diffusers FluxPipeline folder, with a small CLIP for scores in scorer/."""
    return Path(__file__).parent / "weights"

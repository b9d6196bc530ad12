"""The page of several runs side by side. A RunsPage is the whole input; the page needs no other file."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from flux_lora.atomic import write_text
from flux_lora.evaluate.choice import Verdict
from flux_lora.evaluate.report import page_environment
from flux_lora.evaluate.scores import METRICS, Score


@dataclass(frozen=True)
class ComparedRun:
    """A run as a row of the table and of the grid of images."""

    name: str
    verdict: Verdict
    candidate: str
    """Its step and strength."""
    score: Score
    minutes: float
    settings: tuple[str, ...]
    """Those that are not the same in all runs, as key=value."""
    why: str
    images: tuple[Image.Image, ...]
    """One for each prompt of the page."""


@dataclass(frozen=True)
class RunsPage:
    """Everything that the page shows, the best run first."""

    answer: str
    same_prompts: bool
    """Whether all runs drew the same prompts with the same seeds."""
    runs: tuple[ComparedRun, ...]
    prompts: tuple[str, ...]
    base: tuple[Image.Image, ...]


def write_runs_page(page: RunsPage, file: Path) -> Path:
    """Write the page, whole or not at all."""
    template = page_environment().get_template("runs.html.j2")
    write_text(template.render(page=page, metrics=METRICS), file)
    return file

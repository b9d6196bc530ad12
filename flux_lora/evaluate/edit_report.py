"""The HTML page of an edit: held-out pairs before, wanted and made, then the scores, then the file."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from flux_lora.atomic import write_text
from flux_lora.evaluate.choice import Choice, ChoiceLimits, score_of
from flux_lora.evaluate.edits import MIN_UNTOUCHED
from flux_lora.evaluate.report import (
    SMALL,
    Curve,
    Dataset,
    ExportedFile,
    FileCheck,
    Frame,
    StageSeconds,
    page_environment,
    shared_parts,
)
from flux_lora.evaluate.scores import Score


@dataclass(frozen=True, kw_only=True)
class ShownEdit:
    """A held-out pair, what the base and the LoRA made of it, and the LoRA's scores there."""

    prompt: str
    before: Image.Image
    base: Image.Image
    lora: Image.Image
    after: Image.Image
    edited: float
    untouched: float


@dataclass(frozen=True, kw_only=True)
class EditReport:
    """Everything that the page shows; what it shares with a subject's has the names of Report."""

    title: str
    base: str
    when: str
    stages: tuple[StageSeconds, ...]
    dataset: Dataset
    shown: tuple[ShownEdit, ...]
    scores: tuple[Score, ...]
    limits: ChoiceLimits
    without_training: str
    doubts: tuple[str, ...]
    """Where the numbers stand on little."""
    choice: Choice
    curve: Curve
    frames: tuple[Frame, ...]
    frames_prompt: str
    held_out_loss: str
    file: ExportedFile | None
    """None where there is nothing to ship."""
    checks: tuple[FileCheck, ...]
    recipe: str
    snippet: str
    comfy: str


def write_edit_report(report: EditReport, file: Path) -> Path:
    """Write the page, whole or not at all."""
    page = (
        page_environment()
        .get_template("edit.html.j2")
        .render(
            report=report,
            chosen=score_of(report.choice, report.scores),
            least={"edited": report.limits.min_recognised, "untouched": MIN_UNTOUCHED},
            **shared_parts(report.curve, report.choice, report.file),
            small=all(max(each.lora.size) <= SMALL for each in report.shown),
        )
    )
    write_text(page, file)
    return file

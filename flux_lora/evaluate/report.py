"""One page that shows what was learned: pictures first, then how well, then the file.

A Report is the whole input. The page it becomes needs no other file, no network and no script.
"""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from flux_lora.evaluate import wording
from flux_lora.evaluate.choice import Choice, ChoiceLimits
from flux_lora.evaluate.curve import along, draw
from flux_lora.evaluate.scores import Score
from flux_lora.evaluate.webpictures import image_data_uri


@dataclass(frozen=True)
class StageSeconds:
    """A part of the run and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Thumbnail:
    """A training picture and its caption."""

    image: Image.Image
    caption: str


@dataclass(frozen=True)
class Dataset:
    """The photos that went in; findings are what the judge said about them."""

    count: int
    thumbnails: tuple[Thumbnail, ...]
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trio:
    """A photo that was held out, beside what base and LoRA make of one prompt and seed."""

    prompt: str
    held_out: Image.Image
    base: Image.Image
    lora: Image.Image


@dataclass(frozen=True)
class ComparedPair:
    """Base and LoRA on a prompt without the trigger. change: 0 the same picture, 1 another prompt's."""

    prompt: str
    kind: str
    base: Image.Image
    lora: Image.Image
    change: float


@dataclass(frozen=True)
class Frame:
    """The same prompt and seed at one step of training; step 0 is the base."""

    step: int
    image: Image.Image


@dataclass(frozen=True)
class Curve:
    """Loss by step, and the steps that were kept."""

    losses: tuple[tuple[int, float], ...]
    checkpoints: tuple[int, ...] = ()


@dataclass(frozen=True)
class ExportedFile:
    """The file to ship."""

    name: str
    size: int
    sha256: str
    dialect: str
    loads_in: tuple[str, ...]
    merged: str = ""
    """What is lost of it where it is merged into a quantised base."""


@dataclass(frozen=True)
class FileCheck:
    """Something that was tried on the exported file, and what was seen."""

    name: str
    seen: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything the page says."""

    title: str
    trigger: str
    class_word: str
    base: str
    when: str
    scorer: str
    stages: tuple[StageSeconds, ...]
    dataset: Dataset
    trios: tuple[Trio, ...]
    pairs: tuple[ComparedPair, ...]
    scores: tuple[Score, ...]
    doubts: tuple[str, ...] = ()
    limits: ChoiceLimits
    choice: Choice
    curve: Curve
    frames: tuple[Frame, ...] = ()
    frames_prompt: str = ""
    file: ExportedFile
    checks: tuple[FileCheck, ...]
    recipe: str
    snippet: str
    comfy: str

    @property
    def chosen(self) -> Score:
        """The score of the checkpoint that was chosen."""
        found = [each for each in self.scores if (each.step, each.strength) == (self.choice.step, self.choice.strength)]
        assert found, "the choice is one of the scores"
        return found[0]


def write_report(report: Report, file: Path) -> Path:
    """Write the page, whole or not at all."""
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            chosen=report.chosen,
            drawing=draw(report.curve.losses) if len(report.curve.losses) > 1 else None,
            marks=[(step, along(step, [step for step, _ in report.curve.losses])) for step in report.curve.checkpoints],
            sentence=wording.result_in_words(report.trigger, report.class_word, report.chosen),
            small=all(max(trio.lora.size) <= 256 for trio in report.trios),
        )
    )
    half_written = file.with_name(file.name + ".partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    half_written.write_text(page, encoding="utf-8")
    half_written.replace(file)
    return file


def _environment() -> Environment:
    """Prompts, captions and triggers are other people's text, so everything is escaped."""
    environment = Environment(
        loader=PackageLoader("flux_lora.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        uri=image_data_uri,
        percent=wording.percent,
        duration=wording.duration,
        size=wording.bytes_in_words,
        held=wording.within_limits,
    )
    return environment

"""The HTML report of a run: images first, then the scores, then the file.

A Report is the whole input. The page it becomes needs no other file, no network and no script.
"""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from flux_lora.atomic import write_text
from flux_lora.evaluate.choice import Choice, ChoiceLimits, Verdict, has_learned, limit_on, score_of, within_limits
from flux_lora.evaluate.plots import along, draw_loss, draw_scores, draw_tradeoff
from flux_lora.evaluate.scores import METRICS, Score


def percent(share: float) -> str:
    """0.863 -> 86%."""
    return f"{round(100 * share)}%".replace("-", "−")


def duration(seconds: float) -> str:
    """372 -> 6 min 12 s."""
    rounded = round(seconds)
    if rounded < 1:
        return f"{seconds:.1f} s"
    hours, minutes, left = rounded // 3600, rounded % 3600 // 60, rounded % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def bytes_in_words(count: int) -> str:
    """1300000 -> 1.3 MB."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def result_in_words(trigger: str, class_word: str, score: Score) -> str:
    """The result in two sentences."""
    return (
        f"Say “{trigger}” and {percent(score['recognised'].value)} of the images show it as a whole. Prompts are "
        f"followed {percent(score['adherence'].value)} as well as by the base, and “{class_word}” without “{trigger}” "
        f"has {percent(score['bleeding'].value)} of it."
    )


def scale_in_words(altered: float, twins: float, taken: float) -> str:
    """What 0 % and 100 % of likeness are, and where something that is nearly the subject stands."""
    return (
        "Likeness is how much of what the photos share, and the base does not draw, is in an image. 0% is the base’s "
        "own images of the class, 100% is one unseen photo beside the others. Copies of the photos in other colours "
        f"or upside down reach {percent(altered)}. Near-twins, the photos with one part in another colour, reach "
        f"{percent(twins)}, and {percent(taken)} of them would be taken for the subject: an image counts as recognised "
        "by its worst part, not by its likeness."
    )


SMALL = 256
"""Images up to this side in pixels are lossless; beyond, a page of dozens would weigh megabytes."""
QUALITY = 86
"""Of lossy WebP."""


def image_data_uri(image: Image.Image, longest: int = 640) -> str:
    """An image as a WebP data: URI, its longer side at most `longest` pixels; small ones without loss."""
    shrunk = image.convert("RGB")
    shrunk.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    encoded = BytesIO()
    shrunk.save(encoded, "WEBP", lossless=max(shrunk.size) <= SMALL, quality=QUALITY)
    return "data:image/webp;base64," + b64encode(encoded.getvalue()).decode()


@dataclass(frozen=True)
class StageSeconds:
    """A stage of the run and its duration."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Thumbnail:
    """A training image and its caption, and how well it was learned."""

    image: Image.Image
    caption: str
    name: str = ""
    """Of its file."""
    losses: tuple[float, float] | None = None
    """The base's loss on it and that after training, at the same noise; None where they were not measured."""
    times: float = 0.0
    """How many times the median photo's the last is, where that stands out."""


@dataclass(frozen=True)
class Dataset:
    """The images of the subject, and the findings of the dataset checks."""

    count: int
    thumbnails: tuple[Thumbnail, ...]
    findings: tuple[str, ...] = ()
    learned_from: bool = True
    """Whether what is judged was trained on them; another tool's file is only compared with them."""


@dataclass(frozen=True)
class Trio:
    """A held-out photo, and the renders of one prompt and seed by the base and with the LoRA."""

    prompt: str
    held_out: Image.Image
    base: Image.Image
    lora: Image.Image
    made: str = ""
    """How the render was made, as ImageSpec's JSON."""


@dataclass(frozen=True)
class ComparedPair:
    """Base and LoRA on a prompt without the trigger. change: 0 the same image, 1 another prompt's."""

    prompt: str
    kind: str
    base: Image.Image
    lora: Image.Image
    change: float


@dataclass(frozen=True)
class Compared:
    """One prompt and seed as the base and every candidate draw it: label and image, the base first."""

    prompt: str
    cells: tuple[tuple[str, Image.Image], ...]


@dataclass(frozen=True)
class Ablation:
    """The same seed with the trigger, with the class alone, and with neither: the prompt and the image of each, and how
    much of the subject such images have on average."""

    cells: tuple[tuple[str, Image.Image, float], ...]


@dataclass(frozen=True)
class BesidePhoto:
    """An image beside the training photo that it is most like."""

    prompt: str
    image: Image.Image
    photo: Image.Image
    file: str
    copied: bool


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
    first: str = ""
    """The one to use, where there are several; empty where `name` is one."""
    merged: str = ""
    """How much of its effect is lost when merged into a quantised base, in words."""


@dataclass(frozen=True)
class FileCheck:
    """A check of the exported file, and what was measured."""

    name: str
    seen: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the page shows."""

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
    altered: float = 0.0
    """Likeness of altered copies of the photos."""
    twins: float = 0.0
    """Likeness of the photos with one part in another colour."""
    taken: float = 0.0
    """Share of those that would be taken for the subject."""
    without_training: str = ""
    """What the base reaches that is told what the subject looks like."""
    ablation: Ablation | None = None
    nearest: tuple[BesidePhoto, ...] = ()
    """The images that are most like a training photo."""
    dropped: tuple[tuple[int, float, int], ...] = ()
    """Checkpoints that were only looked at: step, likeness, images."""
    compared: tuple[Compared, ...] = ()
    on_distilled: str = ""
    """What the chosen one reaches on the model that was distilled from the base, in words."""
    compared_on_distilled: tuple[Compared, ...] = ()
    held_out_loss: str = ""
    """What the loss on held-out photos did, in words."""
    limits: ChoiceLimits
    choice: Choice
    curve: Curve
    frames: tuple[Frame, ...] = ()
    frames_prompt: str = ""
    file: ExportedFile | None
    """None where there is nothing to ship."""
    checks: tuple[FileCheck, ...]
    recipe: str
    snippet: str
    comfy: str

    @property
    def chosen(self) -> Score:
        """The score of the checkpoint that was chosen."""
        return score_of(self.choice, self.scores)


def verdict_in_words(choice: Choice, file: ExportedFile | None) -> str:
    """What to use, and at which strength: in the file the chosen one is folded in, so that is 1."""
    if not choice.passes:
        return "Nothing to ship" if choice.verdict is Verdict.nothing else "Not yet"
    if file:
        return f"Use {file.first or file.name} at strength 1"
    return (
        f"Use step {choice.step:,} at strength {choice.strength:g}"
        if choice.step
        else (f"Use it at strength {choice.strength:g}")
    )


def folded_in_words(choice: Choice) -> str:
    """Which checkpoint the file is, and what of its strength is in the weights."""
    what = f"It is step {choice.step:,}" if choice.step else "It is what was judged"
    return f"{what}. " if choice.strength == 1 else f"{what}, with its strength of {choice.strength:g} in the weights. "


def shared_parts(curve: Curve, choice: Choice, file: ExportedFile | None) -> dict[str, object]:
    """What the pages of a subject and of an edit have alike, by the templates' names."""
    steps = [step for step, _ in curve.losses]
    return {
        "drawing": draw_loss(curve.losses) if len(curve.losses) > 1 else None,
        "marks": [(step, along(step, steps)) for step in curve.checkpoints],
        "verdict": verdict_in_words(choice, file),
        "folded": folded_in_words(choice) if file and choice.passes else "",
    }


def write_report(report: Report, file: Path) -> Path:
    """Write the page, whole or not at all."""
    page = (
        page_environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            chosen=report.chosen,
            metrics=[(metric, limit_on(metric)) for metric in METRICS],
            learned={id(score) for score in report.scores if has_learned(score, report.limits)},
            **shared_parts(report.curve, report.choice, report.file),
            strengths=[each / (report.choice.strength if report.file else 1) for each in report.choice.strengths],
            sentence=result_in_words(report.trigger, report.class_word, report.chosen),
            plots=draw_scores(report.scores, report.choice, report.limits),
            tradeoff=draw_tradeoff(report.scores, report.choice),
            scale=scale_in_words(report.altered, report.twins, report.taken),
            small=all(max(trio.lora.size) <= SMALL for trio in report.trios),
        )
    )
    write_text(page, file)
    return file


def page_environment() -> Environment:
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
        percent=percent,
        duration=duration,
        size=bytes_in_words,
        within=within_limits,
        id=id,
    )
    return environment

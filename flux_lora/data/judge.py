"""Say everything that is wrong with a set of samples; refusing to train on it is a second function."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.buckets import bucket_for
from flux_lora.data.decode import open_image
from flux_lora.data.samples import CAPTION_ENDING, Sample
from flux_lora.errors import DataError

FEWEST_WORDS = 3
MOST_ENLARGED = 1.05
"""Pictures may grow this much on the way to their bucket without a word."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one file, and the way out."""

    file: Path
    rule: str
    problem: str
    fix: str
    fatal: bool


def judge(
    samples: Sequence[Sample], trigger: str, *, resolution: int = 0, alpha: AlphaPolicy = AlphaPolicy.composite
) -> Iterator[Finding]:
    """Every finding, sample by sample, then those across samples. Reads every pixel."""
    first_of_caption: dict[str, Path] = {}
    first_of_picture: dict[str, Path] = {}
    for sample in samples:
        yield from _judge_caption(sample, trigger)
        if sample.caption:
            yield from _judge_repeat(sample.image, "caption", first_of_caption.setdefault(sample.caption, sample.image))
        try:
            picture = open_image(sample.image, alpha)
        except DataError as error:
            yield _fatal(sample, "unreadable", error.problem.removeprefix(f"{sample.image} "), error.fix)
            continue
        yield from _judge_size(sample, picture.size, resolution)
        digest = sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()
        yield from _judge_repeat(sample.image, "picture", first_of_picture.setdefault(digest, sample.image))


def refuse(findings: Iterable[Finding]) -> None:
    """Stop if any finding is fatal, naming all of those that are."""
    fatal = [finding for finding in findings if finding.fatal]
    if not fatal:
        return
    things = "1 thing is" if len(fatal) == 1 else f"{len(fatal)} things are"
    lines = [f"  {finding.file} {finding.problem} -> {finding.fix}" for finding in fatal]
    raise DataError(
        "\n".join([f"{things} in the way of training:", *lines]), fix="do what each line says, then run it again"
    )


def _judge_caption(sample: Sample, trigger: str) -> Iterator[Finding]:
    caption_file = sample.image.with_suffix(CAPTION_ENDING).name
    wanted = f"that says {trigger!r}" if trigger else "that says what it shows"
    if not sample.caption:
        yield _fatal(sample, "no-caption", "has no caption", f"write a sentence {wanted} in {caption_file}")
        return
    if trigger and not _found(trigger, sample.caption):
        other_case = _found(trigger, sample.caption, re.IGNORECASE)
        seen = f", only {other_case.group()!r}" if other_case else f": {sample.caption!r}"
        yield _fatal(
            sample, "no-trigger", f"has a caption without {trigger!r}{seen}", f"put {trigger!r} into {caption_file}"
        )
    if len(sample.caption.split()) < FEWEST_WORDS:
        yield _warning(
            sample.image,
            "short-caption",
            f"has a caption of under {FEWEST_WORDS} words: {sample.caption!r}",
            f"say in {caption_file} what else is in the picture, or the adapter learns it as part of the thing",
        )


def _judge_size(sample: Sample, size: tuple[int, int], resolution: int) -> Iterator[Finding]:
    if not resolution:
        return
    bucket = bucket_for(*size, resolution)
    scale = max(bucket.width / size[0], bucket.height / size[1])
    if scale > MOST_ENLARGED:
        yield _warning(
            sample.image,
            "small",
            f"is {size[0]}x{size[1]} and would be enlarged {scale:.1f} times to {bucket.width}x{bucket.height}",
            "use a larger picture, or set a smaller data.resolution",
        )


def _judge_repeat(file: Path, what: str, first: Path) -> Iterator[Finding]:
    if first != file:
        fix = f"leave one of the two out, or give each its own {what}"
        yield _warning(file, f"same-{what}", f"has the same {what} as {first.name}", fix)


def _found(trigger: str, caption: str, flags: re.RegexFlag = re.NOFLAG) -> re.Match[str] | None:
    """As a whole word, and in the same case: T5 reads TOK and tok as two words."""
    return re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", caption, flags)


def _fatal(sample: Sample, rule: str, problem: str, fix: str) -> Finding:
    return Finding(file=sample.image, rule=rule, problem=problem, fix=fix, fatal=True)


def _warning(file: Path, rule: str, problem: str, fix: str) -> Finding:
    return Finding(file=file, rule=rule, problem=problem, fix=fix, fatal=False)

"""Whether every picture has a caption of its own, and one that says something."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from flux_lora.config.choices import Severity, SourceRole
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.rules.words import SubjectWords, caption_name, start_of, subjects
from flux_lora.data.samples import Sample

NO_CAPTION = Rule(
    "no-caption", Severity.error, "A picture without a caption teaches its whole content to no word at all."
)
EMPTY_CAPTION = Rule("empty-caption", Severity.error, "A caption file with nothing in it is no caption.")
SHORT_CAPTION = Rule(
    "short-caption",
    Severity.warning,
    "What a caption does not say is learned as part of the thing: the table, the light, the ground.",
)
SAME_CAPTION = Rule(
    "same-caption",
    Severity.warning,
    "Pictures that differ have one caption: the adapter cannot tell what changed from what stayed.",
)
RULES: tuple[Rule, ...] = (NO_CAPTION, EMPTY_CAPTION, SHORT_CAPTION, SAME_CAPTION)

FEWEST_WORDS = 3
SIDECARS = (".txt", ".caption")


def judge_missing_captions(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Missing, empty and short captions, sample by sample; then each group of pictures with the same one."""
    for sample in samples:
        if not sample.captions:
            yield from _judge_missing(sample, words)
        elif sample.role is SourceRole.subject:
            yield from _judge_length(sample)
    yield from _judge_same(subjects(samples))


def _judge_missing(sample: Sample, words: SubjectWords) -> Iterator[Finding]:
    """A file that is there and cannot be read as text has been spoken of where it was read."""
    teaches = words.trigger and sample.role is SourceRole.subject
    wanted = f"that says {words.trigger!r}" if teaches else "that says what it shows"
    fix = f"write a sentence {wanted} in {caption_name(sample)}"
    file = sample.caption_file
    if file is None or not file.is_file():
        yield NO_CAPTION.at(sample.image, "has no caption", fix)
    elif sample.encoding or not file.read_bytes().strip() or file.suffix not in SIDECARS:
        yield EMPTY_CAPTION.at(sample.image, f"has an empty caption in {file.name}", fix)


def _judge_length(sample: Sample) -> Iterator[Finding]:
    short = next((caption for caption in sample.captions if len(caption.split()) < FEWEST_WORDS), "")
    if short:
        yield SHORT_CAPTION.at(
            sample.image,
            f"has a caption of under {FEWEST_WORDS} words: {short!r}",
            f"say in {caption_name(sample)} what else is in the picture, or the adapter learns it as part of the thing",
        )


def _judge_same(samples: Sequence[Sample]) -> Iterator[Finding]:
    """One picture may be listed twice, with repeats of its own; that is no second picture."""
    groups: dict[tuple[str, ...], dict[str, Sample]] = defaultdict(dict)
    for sample in samples:
        told = tuple(sorted(" ".join(caption.casefold().split()).rstrip(".") for caption in sample.captions))
        if told:
            groups[told].setdefault(str(sample.image), sample)
    for group in groups.values():
        first, *rest = group.values()
        if rest:
            named = rest[0].image.name if len(rest) == 1 else f"{len(rest)} others"
            yield SAME_CAPTION.at(
                first.image,
                f"has the same caption as {named}: {start_of(first.captions[0])!r}",
                "give each its own: say what differs",
                tuple(sample.image for sample in rest),
            )

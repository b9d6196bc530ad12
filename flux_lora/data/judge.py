"""Say everything that is wrong with a set of samples; refusing to train on it is a second function."""

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain

from flux_lora.data.findings import Finding
from flux_lora.data.rules.bound import judge_subject_traits
from flux_lora.data.rules.captions import judge_missing_captions
from flux_lora.data.rules.characters import judge_characters
from flux_lora.data.rules.language import judge_language
from flux_lora.data.rules.letters import judge_watermarks
from flux_lora.data.rules.pictures import judge_image_quality
from flux_lora.data.rules.repeats import judge_repeats
from flux_lora.data.rules.spellings import judge_spellings
from flux_lora.data.rules.tokens import CaptionTokenizers, judge_tokens
from flux_lora.data.rules.trigger import judge_trigger
from flux_lora.data.rules.twins import judge_duplicates
from flux_lora.data.rules.whole import judge_dataset
from flux_lora.data.rules.wording import judge_style
from flux_lora.data.rules.words import SubjectWords
from flux_lora.data.samples import Sample
from flux_lora.data.seen import ScannedImage
from flux_lora.errors import DataError


def judge_captions(
    samples: Sequence[Sample], words: SubjectWords, readers: CaptionTokenizers | None = None
) -> Iterator[Finding]:
    """What is said of the pictures. Without `readers`, the base's tokenizers, tokens are not counted."""
    yield from judge_missing_captions(samples, words)
    yield from judge_trigger(samples, words, readers)
    if readers:
        yield from judge_tokens(samples, readers)
    yield from judge_style(samples, words)
    yield from judge_characters(samples)
    yield from judge_subject_traits(samples, words)
    yield from judge_repeats(samples, words)
    yield from judge_spellings(samples, words)
    yield from judge_language(samples, words)


def judge_images(
    seen: Sequence[ScannedImage], held_out: Sequence[ScannedImage], words: SubjectWords, *, resolution: int = 0
) -> Iterator[Finding]:
    """What is in the pictures, one by one and as a set."""
    yield from chain.from_iterable(one.findings for one in (*seen, *held_out))
    looks = [one.stats for one in seen if one.stats]
    compared = [one.stats for one in held_out if one.stats]
    if not looks:
        return
    yield from judge_image_quality(looks, resolution=resolution)
    vectors = {one.stats.image: one.vector for one in (*seen, *held_out) if one.stats and one.vector is not None}
    yield from judge_duplicates(looks, compared, vectors=vectors or None)
    readings = {one.stats.image: one.lines for one in seen if one.stats and one.lines is not None}
    yield from judge_watermarks([look.image for look in looks], readings or None)
    yield from judge_dataset(looks, [one.sample for one in seen], words)


def without_switched_off(findings: Iterable[Finding], off: Container[str]) -> list[Finding]:
    """The findings of rules that are not switched off."""
    return [finding for finding in findings if finding.rule not in off]


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Stop if any finding is fatal, naming all of those that are."""
    fatal = [finding for finding in findings if finding.fatal]
    if not fatal:
        return
    things = "1 thing is" if len(fatal) == 1 else f"{len(fatal)} things are"
    lines = [f"  {finding.file} {finding.problem} -> {finding.fix}" for finding in fatal]
    raise DataError(
        "\n".join([f"{things} in the way of training:", *lines]), fix="do what each line says, then run it again"
    )

"""Say everything that is wrong with a set of samples; refusing to train on it is a second function."""

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain

from flux_lora.data.findings import Finding
from flux_lora.data.rules.bound import judge_bound
from flux_lora.data.rules.captions import judge_captions
from flux_lora.data.rules.characters import judge_characters
from flux_lora.data.rules.language import judge_language
from flux_lora.data.rules.letters import judge_letters
from flux_lora.data.rules.pictures import judge_pictures
from flux_lora.data.rules.repeats import judge_repeats
from flux_lora.data.rules.spellings import judge_spellings
from flux_lora.data.rules.tokens import Readers, judge_tokens
from flux_lora.data.rules.trigger import judge_trigger
from flux_lora.data.rules.twins import judge_twins
from flux_lora.data.rules.whole import judge_whole
from flux_lora.data.rules.wording import judge_wording
from flux_lora.data.rules.words import Words
from flux_lora.data.samples import Sample
from flux_lora.data.seen import Seen
from flux_lora.errors import DataError


def judge_words(samples: Sequence[Sample], words: Words, readers: Readers | None = None) -> Iterator[Finding]:
    """What is said of the pictures. Without `readers`, the base's tokenizers, tokens are not counted."""
    yield from judge_captions(samples, words)
    yield from judge_trigger(samples, words, readers)
    if readers:
        yield from judge_tokens(samples, readers)
    yield from judge_wording(samples, words)
    yield from judge_characters(samples)
    yield from judge_bound(samples, words)
    yield from judge_repeats(samples, words)
    yield from judge_spellings(samples, words)
    yield from judge_language(samples, words)


def judge_sight(
    seen: Sequence[Seen], held_out: Sequence[Seen], words: Words, *, resolution: int = 0
) -> Iterator[Finding]:
    """What is in the pictures, one by one and as a set."""
    yield from chain.from_iterable(one.findings for one in (*seen, *held_out))
    looks = [one.look for one in seen if one.look]
    compared = [one.look for one in held_out if one.look]
    if not looks:
        return
    yield from judge_pictures(looks, resolution=resolution)
    vectors = {one.look.image: one.vector for one in (*seen, *held_out) if one.look and one.vector is not None}
    yield from judge_twins(looks, compared, vectors=vectors or None)
    readings = {one.look.image: one.lines for one in seen if one.look and one.lines is not None}
    yield from judge_letters([look.image for look in looks], readings or None)
    yield from judge_whole(looks, [one.sample for one in seen], words)


def binding(findings: Iterable[Finding], off: Container[str]) -> list[Finding]:
    """The findings of rules that are not switched off."""
    return [finding for finding in findings if finding.rule not in off]


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

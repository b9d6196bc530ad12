"""One thing, two spellings: grey and gray, Label and label, closeup and close-up, Zurich and Zürich."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.rules.dictionary import LONGEST_WORD, american, is_known
from flux_lora.data.rules.nearness import edit_distance, normalised
from flux_lora.data.rules.words import SMALL_WORDS, WORD, SubjectWords, caption_name, subjects
from flux_lora.data.samples import Sample

TWO_SPELLINGS = Rule(
    "two-spellings",
    Severity.warning,
    "One thing is spelled in two ways: T5 reads two words, and each is learned from fewer pictures.",
)
RULES: tuple[Rule, ...] = (TWO_SPELLINGS,)

SENTENCE_END = re.compile(r"[.!?:\n]")
QUOTED = re.compile(r"\"[^\"]{0,200}\"|“[^“”]{0,200}”|«[^«»]{0,200}»|(?<!\w)['‘][^'’]{1,60}['’](?!\w)")
"""What is printed on a thing is spelled as it is printed."""
POSSESSIVE = re.compile(r"['’]s$")
SHORTEST_NAME = 5
MOST_NAMES = 300
"""Names are compared in pairs."""

Spoken = dict[str, list[int]]
"""A word as it is written -> the samples that write it so, by number."""

Use = tuple[str, list[int]]
"""One spelling, and those samples."""


@dataclass(frozen=True)
class _Seen:
    """One word in one caption."""

    text: str
    sample: int
    start: int
    starts: bool
    """Whether it begins a sentence, where any word has a capital."""
    in_name: bool
    """Whether it has a capital beside another one: the Golden Gate."""


def judge_spellings(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Each rarer spelling, at the first picture whose caption has it. The trigger's own are another rule's."""
    told = subjects(samples)
    seen = [each for number, sample in enumerate(told) for each in _seen(number, sample, words)]
    reported: set[str] = set()
    for rare, usual in (*_by_letters(seen), *_by_case(seen), *_by_name(seen)):
        if rare[0] in reported:
            continue
        reported.add(rare[0])
        numbers = sorted(set(rare[1]))
        files = [told[number].image for number in numbers]
        more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        yield TWO_SPELLINGS.at(
            files[0],
            f"has {rare[0]!r} in its caption where {_others(len(set(usual[1])))} {usual[0]!r}",
            f"write {usual[0]!r} in {caption_name(told[numbers[0]])}{more}",
            tuple(files[1:]),
        )


def _others(count: int) -> str:
    return "another has" if count == 1 else f"{count} others have"


def _seen(number: int, sample: Sample, words: SubjectWords) -> Iterator[_Seen]:
    """The words of a sample's captions, but for the trigger, quoted text and small words."""
    own = normalised(words.trigger)
    for caption in sample.captions:
        text = QUOTED.sub(lambda match: " . " * (len(match.group()) // 3), caption)
        found = [match for match in WORD.finditer(text) if not (own and own in normalised(match.group()))]
        for place, match in enumerate(found):
            word = POSSESSIVE.sub("", match.group())
            if word.lower() in SMALL_WORDS or len(word) < 2 or not any(map(str.isalpha, word)):
                continue
            beside = {found[at].group()[0].isupper() for at in (place - 1, place + 1) if 0 <= at < len(found)}
            before = text[found[place - 1].end() : match.start()] if place else "."
            starts = bool(SENTENCE_END.search(before))
            yield _Seen(word, number, match.start(), starts, word[0].isupper() and True in beside)


def _by_letters(seen: Sequence[_Seen]) -> Iterator[tuple[Use, Use]]:
    """Grey and gray; close-up, closeup and close up where one of them is written solid."""
    forms: dict[str, Spoken] = defaultdict(lambda: defaultdict(list))
    for each in seen:
        small = each.text.lower()
        forms[normalised(american(small))][small].append(each.sample)
    solid = {form for group in forms.values() for form in group}
    for first, second in pairwise(seen):
        joined = f"{first.text}{second.text}".lower()
        apart = f"{first.text} {second.text}".lower()
        if joined in solid and first.sample == second.sample and second.start == first.start + len(first.text) + 1:
            forms[normalised(american(joined))][apart].append(first.sample)
    written = {each.text.lower(): each.text for each in reversed(seen) if not each.starts}
    for group in forms.values():
        yield from _rarer({written.get(small, small): numbers for small, numbers in group.items()})


def _by_case(seen: Sequence[_Seen]) -> Iterator[tuple[Use, Use]]:
    """Label and label, ACME and Acme, where neither is due to its place. OPEN for a word is taken as printed."""
    chosen = [each for each in seen if not each.starts and not (each.text.isupper() and is_known(each.text))]
    alone = (each for each in chosen if not each.in_name)
    names = (each for each in chosen if each.text[0].isupper())
    for group in (*_forms(alone), *_forms(names)):
        yield from _rarer(group)


def _forms(seen: Iterable[_Seen]) -> list[Spoken]:
    forms: dict[str, Spoken] = defaultdict(lambda: defaultdict(list))
    for each in seen:
        forms[each.text.lower()][each.text].append(each.sample)
    return list(forms.values())


def _by_name(seen: Sequence[_Seen]) -> Iterator[tuple[Use, Use]]:
    """Names that are one slip of the pen apart, and neither a word."""
    names: Spoken = defaultdict(list)
    for each in seen:
        if SHORTEST_NAME <= len(each.text) <= LONGEST_WORD and each.text[0].isupper() and each.text.isalpha():
            names[each.text].append(each.sample)
    unknown = [name for name in names if not is_known(name)][:MOST_NAMES]
    for first, second in combinations(sorted(unknown), 2):
        if edit_distance(first, second, most=1) == 1 and not _inflected(first, second):
            yield from _rarer({first: names[first], second: names[second]})


def _inflected(first: str, second: str) -> bool:
    """Whether one is many of the other."""
    short, long = sorted((first.lower(), second.lower()), key=len)
    return long in (f"{short}s", f"{short}n")


def _rarer(group: Spoken) -> Iterable[tuple[Use, Use]]:
    """Each spelling but the commonest, with the commonest."""
    ranked = sorted(group.items(), key=lambda each: (-len(set(each[1])), each[0]))
    return [(each, ranked[0]) for each in ranked[1:]]

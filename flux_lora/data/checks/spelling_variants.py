"""One word in two spellings: grey and gray, Label and label, closeup and close-up, Zurich and Zürich."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from flux_lora.config.choices import Severity
from flux_lora.data.checks.language import LONGEST_WORD, american, edit_distance, is_known, normalised
from flux_lora.data.checks.subject_words import SMALL_WORDS, WORD, SubjectWords, caption_name, subjects
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.samples import Sample

TWO_SPELLINGS = Rule(
    "two-spellings",
    Severity.warning,
    "One thing is spelled in two ways: the model reads two words, and each is learned from fewer images.",
)
SPELLING_RULES: tuple[Rule, ...] = (TWO_SPELLINGS,)

SENTENCE_END = re.compile(r"[.!?:\n]")
QUOTED = re.compile(r"\"[^\"]{0,200}\"|“[^“”]{0,200}”|«[^«»]{0,200}»|(?<!\w)['‘][^'’]{1,60}['’](?!\w)")
"""Quoted text is left out: it is spelled as it is printed on the subject."""
POSSESSIVE = re.compile(r"['’]s$")
SHORTEST_NAME = 5
MOST_NAMES = 300
"""Limits the number of pairs that are compared."""

SamplesBySpelling = dict[str, list[int]]
"""A spelling -> the indices of the samples that use it."""

Use = tuple[str, list[int]]
"""A spelling, and the indices of its samples."""


@dataclass(frozen=True)
class _Occurrence:
    """One word in one caption."""

    text: str
    sample: int
    start: int
    starts_sentence: bool
    """Whether it begins a sentence: its capital then means nothing."""
    in_name: bool
    """Whether it and a neighbour have capitals: the Golden Gate."""


def judge_spellings(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Each rarer spelling, at the first image whose caption has it. The trigger itself is judged in trigger.py."""
    subject_samples = subjects(samples)
    occurrences = [
        word for number, sample in enumerate(subject_samples) for word in _occurrences(number, sample, words)
    ]
    reported: set[str] = set()
    for rare, usual in (*_by_letters(occurrences), *_by_case(occurrences), *_by_name(occurrences)):
        if rare[0] in reported:
            continue
        reported.add(rare[0])
        numbers = sorted(set(rare[1]))
        files = [subject_samples[number].image for number in numbers]
        more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        yield TWO_SPELLINGS.at(
            files[0],
            f"has {rare[0]!r} in its caption where {_others(len(set(usual[1])))} {usual[0]!r}",
            f"write {usual[0]!r} in {caption_name(subject_samples[numbers[0]])}{more}",
            tuple(files[1:]),
        )


def _others(count: int) -> str:
    return "another has" if count == 1 else f"{count} others have"


def _occurrences(number: int, sample: Sample, words: SubjectWords) -> Iterator[_Occurrence]:
    """The words of a sample's captions without the trigger, quoted text and small words."""
    own = normalised(words.trigger)
    for caption in sample.captions:
        text = QUOTED.sub(lambda match: " . " * (len(match.group()) // 3), caption)
        found = [match for match in WORD.finditer(text) if not (own and own in normalised(match.group()))]
        for index, match in enumerate(found):
            word = POSSESSIVE.sub("", match.group())
            if word.lower() in SMALL_WORDS or len(word) < 2 or not any(map(str.isalpha, word)):
                continue
            capitals = {found[near].group()[0].isupper() for near in (index - 1, index + 1) if 0 <= near < len(found)}
            between = text[found[index - 1].end() : match.start()] if index else "."
            starts_sentence = bool(SENTENCE_END.search(between))
            yield _Occurrence(word, number, match.start(), starts_sentence, word[0].isupper() and True in capitals)


def _by_letters(occurrences: Sequence[_Occurrence]) -> Iterator[tuple[Use, Use]]:
    """Grey and gray; close-up, closeup and close up, if one of them is written without a blank."""
    forms: dict[str, SamplesBySpelling] = defaultdict(lambda: defaultdict(list))
    for word in occurrences:
        lower = word.text.lower()
        forms[normalised(american(lower))][lower].append(word.sample)
    solid = {form for group in forms.values() for form in group}
    for first, second in pairwise(occurrences):
        joined = f"{first.text}{second.text}".lower()
        spaced = f"{first.text} {second.text}".lower()
        if joined in solid and first.sample == second.sample and second.start == first.start + len(first.text) + 1:
            forms[normalised(american(joined))][spaced].append(first.sample)
    written = {word.text.lower(): word.text for word in reversed(occurrences) if not word.starts_sentence}
    for group in forms.values():
        yield from _rarer({written.get(lower, lower): numbers for lower, numbers in group.items()})


def _by_case(occurrences: Sequence[_Occurrence]) -> Iterator[tuple[Use, Use]]:
    """Label and label, ACME and Acme, inside sentences. A known word in capitals (OPEN) is taken as printed."""
    inside = (word for word in occurrences if not word.starts_sentence)
    words = [word for word in inside if not (word.text.isupper() and is_known(word.text))]
    alone = (word for word in words if not word.in_name)
    names = (word for word in words if word.text[0].isupper())
    for group in (*_forms(alone), *_forms(names)):
        yield from _rarer(group)


def _forms(occurrences: Iterable[_Occurrence]) -> list[SamplesBySpelling]:
    """Spellings of one word that differ in case, for each word."""
    forms: dict[str, SamplesBySpelling] = defaultdict(lambda: defaultdict(list))
    for word in occurrences:
        forms[word.text.lower()][word.text].append(word.sample)
    return list(forms.values())


def _by_name(occurrences: Sequence[_Occurrence]) -> Iterator[tuple[Use, Use]]:
    """Unknown names at edit distance 1."""
    names: SamplesBySpelling = defaultdict(list)
    for word in occurrences:
        if SHORTEST_NAME <= len(word.text) <= LONGEST_WORD and word.text[0].isupper() and word.text.isalpha():
            names[word.text].append(word.sample)
    unknown = [name for name in names if not is_known(name)][:MOST_NAMES]
    for first, second in combinations(sorted(unknown), 2):
        if edit_distance(first, second, most=1) == 1 and not _is_inflection(first, second):
            yield from _rarer({first: names[first], second: names[second]})


def _is_inflection(first: str, second: str) -> bool:
    """Whether one is the plural of the other."""
    short, long = sorted((first.lower(), second.lower()), key=len)
    return long in (f"{short}s", f"{short}n")


def _rarer(group: SamplesBySpelling) -> Iterable[tuple[Use, Use]]:
    """Each spelling but the commonest, paired with the commonest."""
    ranked = sorted(group.items(), key=lambda use: (-len(set(use[1])), use[0]))
    return [(use, ranked[0]) for use in ranked[1:]]

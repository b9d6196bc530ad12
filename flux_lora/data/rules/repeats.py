"""Text that nearly every caption repeats: what is always said beside the trigger becomes part of it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.rules.words import FRAME_WORDS, SMALL_WORDS, SubjectWords, common_folder, subjects, words_of
from flux_lora.data.samples import Sample

REPEATED_TEXT = Rule(
    "repeated-text",
    Severity.warning,
    "Nearly every caption says the same of the surroundings: the adapter will show them wherever it is used.",
)
RULES: tuple[Rule, ...] = (REPEATED_TEXT,)

FEWEST_CAPTIONS = 6
"""With fewer, everything is said by most."""
NEARLY_ALL = 0.8
LONGEST_PHRASE = 6
MOST_PHRASES = 5
CLAUSE = re.compile(r"[,.;:!?()\n]+")
NEUTRAL = frozenset(
    ("background", "backdrop", "foreground", "ground", "scene", "light", "lighting", "wall", "surface", "left", "right")
)
"""Words that any caption may need; with another before them they say something."""

Phrase = tuple[str, ...]


def judge_repeats(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Each phrase that nearly all captions of the subject share, the commonest first."""
    captions = [_said(caption) for sample in subjects(samples) for caption in sample.captions]
    if len(captions) < FEWEST_CAPTIONS:
        return
    folder = common_folder(samples)
    for phrase, count in _shared(captions, _names(words)):
        yield REPEATED_TEXT.at(
            folder,
            f"says {' '.join(phrase)!r} in {count} of {len(captions)} captions",
            "add pictures where it is otherwise, and say of each what it shows",
        )


def _said(caption: str) -> list[str]:
    """The words of a caption, an empty one after each clause: no phrase goes on behind a comma."""
    return [word for clause in CLAUSE.split(caption.lower()) for word in (*words_of(clause), "")]


def _names(words: SubjectWords) -> frozenset[str]:
    """The trigger and the class are meant to be in every caption."""
    own = words_of(f"{words.trigger} {words.class_word}".lower())
    return frozenset((*own, *(f"{word}s" for word in own), *(f"{word}'s" for word in own)))


def _shared(captions: Sequence[Sequence[str]], names: frozenset[str]) -> list[tuple[Phrase, int]]:
    """Phrases with their counts. A longer one stands for the shorter ones in it that are no commoner."""
    enough = NEARLY_ALL * len(captions)
    counts = Counter(word for each in captions for word in set(each))
    common = {word for word, count in counts.items() if word and count >= enough and word not in names}
    phrases = Counter(phrase for each in captions for phrase in set(_phrases(each, common)))
    kept = [(phrase, count) for phrase, count in phrases.items() if count >= enough and _tells(phrase)]
    chosen: list[tuple[Phrase, int]] = []
    told: set[str] = set()
    for phrase, count in sorted(kept, key=lambda each: (-each[1], -len(each[0]), each[0])):
        if not told & _content(phrase):
            chosen.append((phrase, count))
            told |= _content(phrase)
    return chosen[:MOST_PHRASES]


def _phrases(said: Sequence[str], common: set[str]) -> Iterable[Phrase]:
    """Every run of common words in a caption, up to the longest."""
    for start in range(len(said)):
        for end in range(start, min(len(said), start + LONGEST_PHRASE)):
            if said[end] not in common:
                break
            yield tuple(said[start : end + 1])


def _tells(phrase: Phrase) -> bool:
    """Whether it begins and ends with words that show something, and is more than a frame."""
    edges = {phrase[0], phrase[-1]}
    return not edges & SMALL_WORDS and bool(_content(phrase) - NEUTRAL)


def _content(phrase: Phrase) -> set[str]:
    return set(phrase) - SMALL_WORDS - FRAME_WORDS

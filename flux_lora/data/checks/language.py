"""Captions in another language, misspelled words, and one word in two spellings."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from flux_lora.config.choices import Severity
from flux_lora.data.checks.subject_words import (
    SMALL_WORDS,
    WORD,
    SubjectWords,
    caption_name,
    common_folder,
    common_words,
    word_list,
    words_of,
)
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.samples import Sample

JOINTS = re.compile(r"[-_'’\s]")


def normalised(word: str) -> str:
    """A word without case, accents, hyphens and apostrophes (NFKD): the same for all its spellings."""
    decomposed = unicodedata.normalize("NFKD", JOINTS.sub("", word).casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def edit_distance(first: str, second: str, *, most: int) -> int:
    """Damerau-Levenshtein distance (optimal string alignment): insertions, deletions, substitutions and swaps.

    Anything above `most` is returned as most + 1.
    """
    if abs(len(first) - len(second)) > most:
        return most + 1
    previous: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        before_previous, previous, row = previous, row, [i]
        for j, other in enumerate(second, 1):
            cost = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and other == first[i - 2]:
                cost = min(cost, before_previous[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


COMMON = 400
"""Uses, of 1.6 billion words behind pyspellchecker's dictionary, from which a word is ordinary: tumbler, not Ada."""
KNOWN = 20
"""Uses from which an entry is a word: rarer ones are as often misspellings."""
LONGEST_WORD = 30
"""Letters. Longer strings are no words, and take long to check."""
PHOTOGRAPHY = word_list("photography.txt")
"""Words of captions that the dictionary lacks."""
BRITISH = {
    "colour": "color", "grey": "gray", "centre": "center", "flavour": "flavor", "favourite": "favorite",
    "harbour": "harbor", "neighbour": "neighbor", "armour": "armor", "theatre": "theater", "fibre": "fiber",
    "jewellery": "jewelry", "mould": "mold", "catalogue": "catalog", "travell": "travel", "woollen": "woolen",
    "labell": "label", "aluminium": "aluminum", "moustache": "mustache", "cosy": "cozy", "doughnut": "donut",
    "pyjama": "pajama", "stylis": "styliz", "organis": "organiz", "customis": "customiz", "personalis": "personaliz",
    "enamell": "enamel", "panell": "panel", "tyre": "tire", "savour": "savor", "vapour": "vapor", "glamour": "glamor",
    "honour": "honor", "plough": "plow", "metre": "meter", "litre": "liter",
}  # fmt: skip
"""British spellings of word stems in captions, and their American ones."""


@dataclass(frozen=True)
class Dictionary:
    """English words and how often each is used."""

    counts: Mapping[str, int]
    slips: Callable[[str], set[str] | None]
    """A word -> words of the dictionary at edit distance 1."""

    def uses(self, word: str) -> int:
        """Uses of a word in the dictionary's corpus; 0 for an unknown word."""
        return self.counts.get(word.lower(), 0)

    def nearest(self, word: str) -> str:
        """The commonest ordinary word at edit distance 1 from an unknown one; empty without one."""
        best = max(sorted(self.slips(word.lower()) or ()), key=self.uses, default="")
        return best if self.uses(best) >= COMMON else ""


@cache
def dictionary() -> Dictionary | None:
    """Pyspellchecker's English dictionary, or None where that is not installed. Its only importer."""
    try:
        from spellchecker import SpellChecker
    except ImportError:
        return None
    words = SpellChecker(language="en", distance=1)
    return Dictionary(words.word_frequency.dictionary, cache(words.candidates))


def is_ordinary(word: str) -> bool:
    """Whether a word is common English, which the base model has a meaning for."""
    lower, words = word.lower(), dictionary()
    return lower in common_words() or (words is not None and words.uses(lower) >= COMMON)


def is_known(word: str) -> bool:
    """Whether a word is English: listed, a British spelling, a plural or a compound of two listed words."""
    lower = word.lower().removesuffix("'s").removesuffix("’s")
    if _is_listed(lower):
        return True
    forms = (american(lower), lower.removesuffix("s"), lower.removesuffix("es"))
    return any(_is_listed(form) for form in forms) or _is_compound(lower)


def american(word: str) -> str:
    """A word in American spelling, lower case."""
    lower = word.lower()
    for british, stem in BRITISH.items():
        lower = lower.replace(british, stem)
    return lower


def _is_listed(word: str) -> bool:
    words = dictionary()
    return word in common_words() or word in PHOTOGRAPHY or (words is not None and words.uses(word) >= KNOWN)


def _is_compound(word: str) -> bool:
    cuts = range(3, len(word) - 2) if len(word) <= LONGEST_WORD else ()
    return any(word[:cut] in common_words() and word[cut:] in common_words() for cut in cuts)


OTHER_LANGUAGE = Rule(
    "other-language",
    Severity.warning,
    "FLUX was taught with English captions, and its text encoder has no letters at all for many scripts.",
)
MISSPELLED = Rule(
    "misspelled",
    Severity.note,
    "A word is one slip of the pen away from a known one: what it stands for is learned under a name of its own.",
)
CAPTIONS_UNCHECKED = Rule(
    "captions-unchecked",
    Severity.note,
    "Spelling and language are only looked at with the extra `captions`.",
)
LANGUAGE_RULES: tuple[Rule, ...] = (OTHER_LANGUAGE, MISSPELLED, CAPTIONS_UNCHECKED)

LATIN = 0x24F
"""Last code point of Latin Extended-B."""
MOST_FOREIGN_LETTERS = 0.3
FEWEST_WORDS = 5
"""With fewer, the language cannot be identified."""
SURE = 0.7
"""Least probability."""
ENGLISH_WORDS = 0.4
"""Share of common English words from which a caption is English, whatever the model makes of the names in it."""
SHORTEST_WORD = 5

Identify = Callable[[str], tuple[str, float]]
"""A text -> its language code, and the probability."""


def judge_language(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Other languages and misspelled words, sample by sample; and one note on packages that are not installed."""
    if not any(sample.captions for sample in samples):
        return
    identify, known = identifier(), dictionary()
    missing = [name for name, found in (("pyspellchecker", known), ("py3langid", identify)) if found is None]
    if missing:
        yield CAPTIONS_UNCHECKED.at(
            common_folder(samples),
            f"is not checked for spelling and language in full: {' and '.join(missing)} not installed",
            'run: pip install "flux_lora[captions]"',
        )
    for sample in samples:
        foreign = next((language for caption in sample.captions if (language := _foreign(caption, identify))), "")
        if foreign:
            yield OTHER_LANGUAGE.at(
                sample.image, f"has a caption in {foreign}", f"write {caption_name(sample)} in English"
            )
        elif known:
            yield from _judge_spelling(sample, words, known)


@cache
def identifier() -> Identify | None:
    """Py3langid's language identification, or None where that is not installed. Its only importer."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        return None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify


def _foreign(caption: str, identify: Identify | None) -> str:
    """The language or script of a caption that is not English; empty if it is English or too short."""
    letters = [letter for letter in caption if letter.isalpha()]
    if letters and sum(ord(letter) > LATIN for letter in letters) > MOST_FOREIGN_LETTERS * len(letters):
        return "letters other than Latin"
    words = [word.lower() for word in words_of(caption)]
    if identify is None or len(words) < FEWEST_WORDS:
        return ""
    english = sum(word in SMALL_WORDS or word in common_words() for word in words)
    if english >= ENGLISH_WORDS * len(words):
        return ""
    language, sure = identify(caption)
    return f"another language ({language})" if language != "en" and sure >= SURE else ""


def _judge_spelling(sample: Sample, words: SubjectWords, known: Dictionary) -> Iterator[Finding]:
    slips = {slip: meant for caption in sample.captions for slip, meant in _slips(caption, words, known)}
    if slips:
        listed = ", ".join(f"{slip!r} ({meant}?)" for slip, meant in slips.items())
        yield MISSPELLED.at(
            sample.image,
            f"has {'a word' if len(slips) == 1 else 'words'} in its caption that no dictionary has: {listed}",
            f"write {'it' if len(slips) == 1 else 'them'} right in {caption_name(sample)}",
        )


def _slips(caption: str, words: SubjectWords, known: Dictionary) -> Iterator[tuple[str, str]]:
    """Unknown words in lower-case ASCII, each with the likely correction. Names and brands have capitals, and pass."""
    own = {normalised(word) for word in words_of(f"{words.trigger} {words.class_word}")}
    for match in WORD.finditer(caption):
        word = match.group()
        plain = word.isascii() and word.isalpha() and word.islower() and SHORTEST_WORD <= len(word) <= LONGEST_WORD
        if not plain or is_known(word) or any(part in normalised(word) for part in own):
            continue
        if meant := known.nearest(word):
            yield word, meant

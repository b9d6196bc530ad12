"""Which words are ordinary English: a list in the package, and pyspellchecker's dictionary where it is installed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from flux_lora.data.rules.words import common_words, word_list

COMMON = 400
"""Uses among the 1.6 thousand million words behind pyspellchecker's dictionary: tumbler, not Ada."""
KNOWN = 20
"""Rarer entries of it are slips of the pen as often as words."""
LONGEST_WORD = 30
"""Letters. What is longer is no word, and costs time."""
PHOTOGRAPHY = word_list("photography.txt")
"""Words of captions that dictionaries of speech lack."""
BRITISH = {
    "colour": "color", "grey": "gray", "centre": "center", "flavour": "flavor", "favourite": "favorite",
    "harbour": "harbor", "neighbour": "neighbor", "armour": "armor", "theatre": "theater", "fibre": "fiber",
    "jewellery": "jewelry", "mould": "mold", "catalogue": "catalog", "travell": "travel", "woollen": "woolen",
    "labell": "label", "aluminium": "aluminum", "moustache": "mustache", "cosy": "cozy", "doughnut": "donut",
    "pyjama": "pajama", "stylis": "styliz", "organis": "organiz", "customis": "customiz", "personalis": "personaliz",
    "enamell": "enamel", "panell": "panel", "tyre": "tire", "savour": "savor", "vapour": "vapor", "glamour": "glamor",
    "honour": "honor", "plough": "plow", "metre": "meter", "litre": "liter",
}  # fmt: skip
"""How British English writes the stems of words that captions use, and how American English does."""


@dataclass(frozen=True)
class Dictionary:
    """English words and how often each is used."""

    counts: Mapping[str, int]
    slips: Callable[[str], set[str] | None]
    """A word -> words of the dictionary that are one slip of the pen away."""

    def uses(self, word: str) -> int:
        """How often a word was used in what the dictionary was counted from; 0 for what it does not have."""
        return self.counts.get(word.lower(), 0)

    def nearest(self, word: str) -> str:
        """The commonest word that is one slip away from an unknown one; empty where there is none."""
        best = max(sorted(self.slips(word.lower()) or ()), key=self.uses, default="")
        return best if self.uses(best) >= COMMON else ""


@cache
def dictionary() -> Dictionary | None:
    """Pyspellchecker's, or None where that is not installed. This is its one door."""
    try:
        from spellchecker import SpellChecker
    except ImportError:
        return None
    words = SpellChecker(language="en", distance=1)
    return Dictionary(words.word_frequency.dictionary, cache(words.candidates))


def is_ordinary(word: str) -> bool:
    """Whether a word is one that everybody knows, and so does the base."""
    small, words = word.lower(), dictionary()
    return small in common_words() or (words is not None and words.uses(small) >= COMMON)


def is_known(word: str) -> bool:
    """Whether a word is English: in a list, in British spelling, many of it, or two of them written as one."""
    small = word.lower().removesuffix("'s").removesuffix("’s")
    if _listed(small):
        return True
    forms = (american(small), small.removesuffix("s"), small.removesuffix("es"))
    return any(_listed(form) for form in forms) or _two_in_one(small)


def american(word: str) -> str:
    """A word as American English spells it."""
    small = word.lower()
    for british, stem in BRITISH.items():
        small = small.replace(british, stem)
    return small


def _listed(word: str) -> bool:
    words = dictionary()
    return word in common_words() or word in PHOTOGRAPHY or (words is not None and words.uses(word) >= KNOWN)


def _two_in_one(word: str) -> bool:
    cuts = range(3, len(word) - 2) if len(word) <= LONGEST_WORD else ()
    return any(word[:cut] in common_words() and word[cut:] in common_words() for cut in cuts)

"""Captions in another language than the base was taught in, and words that are in no dictionary."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.rules.dictionary import LONGEST_WORD, Dictionary, dictionary, is_known
from flux_lora.data.rules.nearness import normalised
from flux_lora.data.rules.words import (
    SMALL_WORDS,
    WORD,
    SubjectWords,
    caption_name,
    common_folder,
    common_words,
    words_of,
)
from flux_lora.data.samples import Sample

OTHER_LANGUAGE = Rule(
    "other-language",
    Severity.warning,
    "FLUX was taught with English captions, and T5 has no letters at all for many scripts.",
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
RULES: tuple[Rule, ...] = (OTHER_LANGUAGE, MISSPELLED, CAPTIONS_UNCHECKED)

LATIN = 0x24F
"""The last code point of the Latin letters."""
MOST_FOREIGN_LETTERS = 0.3
FEWEST_WORDS = 5
"""Of fewer, nobody can tell the language."""
SURE = 0.7
ENGLISH_WORDS = 0.4
"""Share of ordinary English words above which a caption is English, whatever a model makes of its names."""
SHORTEST_WORD = 5

Tell = Callable[[str], tuple[str, float]]
"""A text -> its language, and how sure that is."""


def judge_language(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Other languages and slips of the pen, sample by sample; and once what could not be looked at."""
    if not any(sample.captions for sample in samples):
        return
    tell, known = identifier(), dictionary()
    missing = [name for name, found in (("pyspellchecker", known), ("py3langid", tell)) if found is None]
    if missing:
        yield CAPTIONS_UNCHECKED.at(
            common_folder(samples),
            f"is not checked for spelling and language in full: {' and '.join(missing)} not installed",
            'run: pip install "flux_lora[captions]"',
        )
    for sample in samples:
        foreign = next((language for caption in sample.captions if (language := _foreign(caption, tell))), "")
        if foreign:
            yield OTHER_LANGUAGE.at(
                sample.image, f"has a caption in {foreign}", f"write {caption_name(sample)} in English"
            )
        elif known:
            yield from _judge_spelling(sample, words, known)


@cache
def identifier() -> Tell | None:
    """Py3langid's judge of languages, or None where that is not installed. This is its one door."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        return None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify


def _foreign(caption: str, tell: Tell | None) -> str:
    """What a caption that is not English is in; empty where it is English, or too short to say."""
    letters = [letter for letter in caption if letter.isalpha()]
    if letters and sum(ord(letter) > LATIN for letter in letters) > MOST_FOREIGN_LETTERS * len(letters):
        return "letters other than Latin"
    said = [word.lower() for word in words_of(caption)]
    if tell is None or len(said) < FEWEST_WORDS:
        return ""
    english = sum(word in SMALL_WORDS or word in common_words() for word in said)
    if english >= ENGLISH_WORDS * len(said):
        return ""
    language, sure = tell(caption)
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
    """Words of plain small letters that are unknown, with what was meant. Names and brands have a capital."""
    own = {normalised(word) for word in words_of(f"{words.trigger} {words.class_word}")}
    for match in WORD.finditer(caption):
        word = match.group()
        plain = word.isascii() and word.isalpha() and word.islower() and SHORTEST_WORD <= len(word) <= LONGEST_WORD
        if not plain or is_known(word) or any(each in normalised(word) for each in own):
            continue
        if meant := known.nearest(word):
            yield word, meant

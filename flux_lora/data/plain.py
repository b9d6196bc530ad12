"""What a caption says without its trigger: the words for an ordinary thing of the same class."""

import re

SOUND_CLOSED = re.compile(r"uni|us|eu|one", re.IGNORECASE)
"""Words that begin with a vowel and are spoken with a consonant."""


def without_trigger(caption: str, trigger: str, class_word: str) -> str:
    """Take the trigger out; where the class word is not said, it steps in, and "a" may become "an"."""
    if not trigger:
        return caption
    named = re.compile(rf"\b{re.escape(trigger)}\b", re.IGNORECASE)
    said = re.search(rf"\b{re.escape(class_word)}\b", caption, re.IGNORECASE)
    plain = named.sub("" if said else class_word, caption)
    return tidy(re.sub(r"\b(a)n?\s+(?=([a-z]+))", _article, plain, flags=re.IGNORECASE))


def tidy(text: str) -> str:
    """Single blanks, and none before a comma."""
    return re.sub(r" ([,.;:!?])", r"\1", " ".join(text.split()))


def _article(match: re.Match[str]) -> str:
    sounds_open = match[2][0].lower() in "aeiou" and not SOUND_CLOSED.match(match[2])
    return f"{match[1]}{'n' if sounds_open else ''} "

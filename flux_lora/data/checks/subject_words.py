"""The trigger and class word, and how they and other words are found in captions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from os.path import commonpath
from pathlib import Path

from flux_lora.config.choices import SourceRole
from flux_lora.data.samples import CAPTION_ENDING, Sample

WORD = re.compile(r"[^\W_]+(?:['’_-][^\W_]+)*")


@cache
def word_list(name: str) -> frozenset[str]:
    """The words of a file in word_lists/, the same on every machine."""
    lines = files("flux_lora.data.checks").joinpath("word_lists", name).read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


SMALL_WORDS = word_list("small.txt")
"""Function words."""
FRAME_WORDS = word_list("frame.txt")
"""Words for the image itself."""


@dataclass(frozen=True)
class SubjectWords:
    """Trigger and class word of the subject, and the kind of recipe."""

    trigger: str
    """Empty for a recipe without one."""
    class_word: str = ""
    kind: str = ""
    """product, character or style: which traits captions should leave to the trigger. Any other: none is judged."""


def contains_word(word: str, caption: str, *, any_case: bool = False) -> bool:
    """Whether a caption has a word, whole and in the same case: to T5, TOK and tok are different tokens."""
    return bool(word) and bool(re.search(whole_word(word), caption, re.IGNORECASE if any_case else re.NOFLAG))


def as_written(word: str, caption: str) -> str:
    """A word as the caption writes it, in any case; empty where it is not there."""
    found = re.search(whole_word(word), caption, re.IGNORECASE) if word else None
    return found.group() if found else ""


def contains_class_word(class_word: str, caption: str) -> bool:
    """Whether a caption has the class word, in any case, singular or plural; of "coffee mug", mug is enough."""
    last = class_word.split()[-1] if class_word.split() else ""
    return bool(last) and bool(re.search(rf"(?<!\w){re.escape(last)}(?:s|es)?(?!\w)", caption, re.IGNORECASE))


def words_of(text: str) -> list[str]:
    """The words of a text as they are written, hyphens and apostrophes inside them."""
    return WORD.findall(text)


def subjects(samples: Sequence[Sample]) -> list[Sample]:
    """The samples that are no regularisation images."""
    return [sample for sample in samples if sample.role is SourceRole.subject]


def common_folder(samples: Sequence[Sample]) -> Path:
    """The deepest folder that holds all images: `file` of findings on the whole set."""
    folders = {sample.image.parent for sample in samples}
    if len({folder.is_absolute() for folder in folders}) > 1:
        folders = {folder.absolute() for folder in folders}
    return Path(commonpath(folders)) if folders else Path()


def caption_name(sample: Sample) -> str:
    """Name of the file to correct a caption in."""
    return (sample.caption_file or sample.image.with_suffix(CAPTION_ENDING)).name


def start_of(caption: str, longest: int = 60) -> str:
    """The caption, shortened to `longest` characters."""
    return caption if len(caption) <= longest else f"{caption[: longest - 1].rstrip()}…"


def common_words() -> frozenset[str]:
    """Ordinary English words of three letters and more."""
    return word_list("common.txt")


def whole_word(word: str) -> str:
    """A pattern of the word, which may begin or end with a sign, and not of a part of a longer one."""
    return rf"(?<!\w){re.escape(word)}(?!\w)"

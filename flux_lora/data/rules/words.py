"""What a caption is searched for: the trigger, the class word, and whole words at all."""

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
    lines = files("flux_lora.data.rules").joinpath("word_lists", name).read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


SMALL_WORDS = word_list("small.txt")
"""Words that hold a sentence together and show nothing."""
FRAME_WORDS = word_list("frame.txt")
"""Words for the picture itself."""


@dataclass(frozen=True)
class SubjectWords:
    """What the thing is called."""

    trigger: str
    """Empty where nothing is called by one."""
    class_word: str = ""
    kind: str = ""
    """product, character or style: what had better be left to the trigger. Anything else leaves that unjudged."""


def contains_word(word: str, caption: str, *, any_case: bool = False) -> bool:
    """Whether a word is in a caption as a whole word, and in the same case: T5 reads TOK and tok as two words."""
    return bool(word) and bool(re.search(_whole(word), caption, re.IGNORECASE if any_case else re.NOFLAG))


def as_written(word: str, caption: str) -> str:
    """How a caption writes a word, whatever the case; empty where it does not."""
    found = re.search(_whole(word), caption, re.IGNORECASE) if word else None
    return found.group() if found else ""


def contains_class_word(class_word: str, caption: str) -> bool:
    """Whether the class is named: in any case, one or many of it, and by its last word alone ("coffee mug": mug)."""
    last = class_word.split()[-1] if class_word.split() else ""
    return bool(last) and bool(re.search(rf"(?<!\w){re.escape(last)}(?:s|es)?(?!\w)", caption, re.IGNORECASE))


def words_of(text: str) -> list[str]:
    """The words of a text as they are written, hyphens and apostrophes inside them."""
    return WORD.findall(text)


def subjects(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of the new thing."""
    return [sample for sample in samples if sample.role is SourceRole.subject]


def common_folder(samples: Sequence[Sample]) -> Path:
    """Where what is said of the set as a whole is put."""
    folders = {sample.image.parent for sample in samples}
    if len({folder.is_absolute() for folder in folders}) > 1:
        folders = {folder.absolute() for folder in folders}
    return Path(commonpath(folders)) if folders else Path()


def caption_name(sample: Sample) -> str:
    """The file to put a caption right in, as a person would say it."""
    return (sample.caption_file or sample.image.with_suffix(CAPTION_ENDING)).name


def start_of(caption: str, longest: int = 60) -> str:
    """As much of a caption as there is room for."""
    return caption if len(caption) <= longest else f"{caption[: longest - 1].rstrip()}…"


def common_words() -> frozenset[str]:
    """Ordinary English words of three letters and more."""
    return word_list("common.txt")


def _whole(word: str) -> str:
    return rf"(?<!\w){re.escape(word)}(?!\w)"

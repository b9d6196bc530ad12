"""What a model says of a picture -> a caption: no boiler-plate, no half sentence, the trigger and class put in."""

import re
from dataclasses import dataclass

from flux_lora.data.plain import tidy
from flux_lora.data.rules.boilerplate import without_boilerplate
from flux_lora.errors import ConfigError

CAPTION = "{caption}"
PLACEHOLDERS = ("{trigger}", "{class}", CAPTION)
SENTENCE = re.compile(r"(?<=[.!?])\s+")
SENTENCE_END = (".", "!", "?", '."', '!"', '?"')
QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "`": "`"}
MARKS = re.compile(r"<\|?/?[\w /-]+\|?>|[*_`#]{2,}|^\s*[-*#>]+\s")
"""Tokens of the model that were left over, and Markdown."""
A_PHOTO_OF = re.compile(r"an? (?:[\w-]+ ){0,2}?(?:photo|photograph|picture|image) of (?=\w)", re.IGNORECASE)
SMALL = re.compile(
    r"(a|an|the|this|that|these|those|there|here|it|its|his|her|their|someone|somebody|one|two|three|four|five|six|"
    r"several|many|some|in|on|at|under|over|behind|beside|near|with|next|close|from|above|below|inside|outside)\b",
    re.IGNORECASE,
)
"""Words that are small inside a sentence. Others keep their capital: they may be names."""


@dataclass(frozen=True)
class CaptionTemplate:
    """How a description becomes a caption."""

    template: str
    """With {caption}, and {trigger} and {class} where they belong."""
    trigger: str = ""
    class_word: str = ""

    def __post_init__(self) -> None:
        unknown = [each for each in re.findall(r"\{[^{}]*\}", self.template) if each not in PLACEHOLDERS]
        if unknown:
            raise ConfigError(
                f"captioner.template has {unknown[0]}, which nothing is put in for",
                fix="use {trigger}, {class} and {caption}",
            )
        if CAPTION not in self.template:
            raise ConfigError(
                f"captioner.template has no {CAPTION}: {self.template!r}",
                fix='set captioner.template="a photo of a {trigger} {class}, {caption}"',
            )

    def around(self, description: str) -> str:
        """The caption: the description alone where there is nothing to call by name, empty where it says nothing."""
        said = without_chatter(description)
        if not said:
            return ""
        if not self.trigger and not self.class_word:
            return said
        before = self.template.partition(CAPTION)[0].rstrip()
        if A_PHOTO_OF.match(before):
            said = A_PHOTO_OF.sub("", said, count=1) if A_PHOTO_OF.match(said) else said
        if before and not before.endswith(SENTENCE_END):
            said = _small(said)
        filled = self.template.replace("{trigger}", self.trigger).replace("{class}", self.class_word)
        return tidy(filled.replace(CAPTION, said))


def without_chatter(description: str) -> str:
    """What is left of a description without boiler-plate, chatter and a last sentence that was cut off."""
    text = without_boilerplate(_unquoted(tidy(MARKS.sub(" ", description))))
    sentences = SENTENCE.split(_unquoted(text))
    if len(sentences) > 1 and not sentences[-1].endswith(SENTENCE_END):
        sentences.pop()
    said = " ".join(sentences)
    return said if said.strip(" .,;:!?") else ""


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    wrapped = len(text) > 1 and QUOTES.get(text[0]) == text[-1] and text[-1] not in inner
    return inner.strip() if wrapped else text


def _small(text: str) -> str:
    return text[0].lower() + text[1:] if SMALL.match(text) else text

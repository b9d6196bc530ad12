"""What a caption should not say of an image: addresses, data, praise, watermarks, what is not there, emoji."""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence

from flux_lora.config.choices import Severity
from flux_lora.data.checks.subject_words import caption_name, start_of
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.samples import Sample

WEB_ADDRESS = Rule(
    "web-address", Severity.warning, "An address shows in no image: its letters are tokens that teach nothing."
)
DATA_CAPTION = Rule(
    "data-caption",
    Severity.warning,
    "JSON is read letter by letter, brackets and names of fields too; the caption is only a part of it.",
)
PRAISE = Rule(
    "praise",
    Severity.warning,
    "Masterpiece, best quality, 8k: words that older models were prompted with. Here they become part of the subject.",
)
CAPTIONED_WATERMARK = Rule(
    "captioned-watermark",
    Severity.warning,
    "A watermark that captions speak of is learned under its name, and drawn: cut it off or paint it over.",
)
NEGATION = Rule(
    "negation",
    Severity.note,
    "A model hears the word and not the no before it: 'no people' is likelier to bring people than to keep them away.",
)
EMOJI = Rule("emoji", Severity.note, "An emoji is one or more tokens of no plain meaning; prompts rarely have one.")
CONTENT_RULES: tuple[Rule, ...] = (WEB_ADDRESS, DATA_CAPTION, PRAISE, CAPTIONED_WATERMARK, NEGATION, EMOJI)

ADDRESS = re.compile(r"\bhttps?://\S+|\bwww\.[\w-]+\.\w+\S*|\b[\w.+-]+@[\w-]+\.\w{2,}\b")
FIELD = re.compile(r'[{,]\s*"[\w -]{1,40}"\s*:')
PRAISING = re.compile(
    r"\b(?:masterpiece|(?:best|high(?:est)?|top|amazing) quality|(?:ultra|highly|extremely|insanely)[ -]?detailed|"
    r"award[ -]winning|trending on \w+|(?:4|8|16)k(?: (?:uhd|hdr|resolution|wallpaper))?|absurdres|"
    r"score_\d\w*|hyper-?realistic|unreal engine)\b",
    re.IGNORECASE,
)
MARKED = re.compile(
    r"\b(?:watermarks?|watermarked|stock photo|shutterstock|getty images|istock|alamy|dreamstime|adobe stock)\b|©",
    re.IGNORECASE,
)
NEGATED = re.compile(
    r"\b(?:no (?!(?:longer|one|more than|entry|parking|smoking)\b)[a-z]+|without [a-z]+(?: [a-z]+)?|"
    r"(?:is|are|does|do|was|were)(?:n't|n’t| not) \w+)",
    re.IGNORECASE,
)
PICTURE_LETTERS = ((0x2600, 0x27BF), (0x1F300, 0x1FAFF), (0x1F1E6, 0x1F1FF))
"""Code points of emoji and dingbats, first and last."""


def judge_content(samples: Sequence[Sample]) -> Iterator[Finding]:
    """At most one finding of each rule for a sample."""
    for sample in samples:
        for caption in sample.captions:
            found = list(_judge_caption(sample, caption))
            if found:
                yield from found
                break


def _judge_caption(sample: Sample, caption: str) -> Iterator[Finding]:
    file = caption_name(sample)
    if address := ADDRESS.search(caption):
        said = f"has an address in its caption: {start_of(address.group())!r}"
        yield WEB_ADDRESS.at(sample.image, said, f"take it out of {file}")
    if _is_data(caption):
        yield DATA_CAPTION.at(
            sample.image,
            f"has data for a caption: {start_of(caption)!r}",
            f"leave in {file} only the sentence that describes the image, or keep the set as metadata.jsonl",
        )
    if praise := PRAISING.search(caption):
        said = f"praises the image in its caption: {praise.group()!r}"
        yield PRAISE.at(sample.image, said, f"take it out of {file}, and say what is seen")
    if mark := MARKED.search(caption):
        said = f"speaks of a mark in its caption: {mark.group()!r}"
        yield CAPTIONED_WATERMARK.at(sample.image, said, f"remove the mark from the image, and the word from {file}")
    if negated := NEGATED.search(caption):
        said = f"says in its caption what is not there: {negated.group()!r}"
        yield NEGATION.at(sample.image, said, f"say in {file} what is there in its place")
    if emoji := next((letter for letter in caption if _is_emoji(letter)), ""):
        name = unicodedata.name(emoji, f"U+{ord(emoji):04X}").lower()
        yield EMOJI.at(sample.image, f"has an emoji in its caption ({name})", f"say in {file} what it means, in words")


def _is_data(caption: str) -> bool:
    """Whether a caption is JSON, whole or torn."""
    if not caption.lstrip().startswith(("{", "[")):
        return False
    if FIELD.search(caption):
        return True
    try:
        return isinstance(json.loads(caption), dict | list)
    except (ValueError, RecursionError):
        return False


def _is_emoji(letter: str) -> bool:
    return any(first <= ord(letter) <= last for first, last in PICTURE_LETTERS)

"""Captions for images that have none: cleaned, put into a template, proposed, and written one at a time.

Nothing is written without a call of `write`: a proposal can be shown as a diff before.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from PIL import Image

from flux_lora.atomic import HALF_WRITTEN, replacing
from flux_lora.config.choices import AlphaPolicy, SourceRole
from flux_lora.data.checks.caption_style import without_boilerplate
from flux_lora.data.checks.subject_words import contains_word, whole_word
from flux_lora.data.images.decode import open_image
from flux_lora.data.samples import CAPTION_ENDING, Sample
from flux_lora.errors import ConfigError, DataError

SOUND_CLOSED = re.compile(r"uni|us|eu|one", re.IGNORECASE)
"""Starts of words that are written with a vowel and spoken with a consonant: a uniform, not an uniform."""


def without_trigger(caption: str, trigger: str, class_word: str) -> str:
    """The caption without the trigger, which the class word replaces if it is missing. "a" and "an" are adapted."""
    if not trigger:
        return caption
    instead = "" if contains_word(class_word, caption, any_case=True) else class_word
    return with_articles(re.sub(whole_word(trigger), lambda _: instead, caption, flags=re.IGNORECASE))


def with_articles(text: str) -> str:
    """Every "a" and "an" as the word behind it wants it; tidy."""
    return tidy(re.sub(r"\b(a)n?\s+(?=([a-z]+))", _matching_article, text, flags=re.IGNORECASE))


def tidy(text: str) -> str:
    """Single blanks, and none before punctuation."""
    return re.sub(r" ([,.;:!?])", r"\1", " ".join(text.split()))


def _matching_article(match: re.Match[str]) -> str:
    vowel = match[2][0].lower() in "aeiou" and not SOUND_CLOSED.match(match[2])
    return f"{match[1]}{'n' if vowel else ''} "


CAPTION = "{caption}"
PLACEHOLDERS = ("{trigger}", "{class}", CAPTION)
SENTENCE = re.compile(r"(?<=[.!?])\s+")
SENTENCE_END = (".", "!", "?", '."', '!"', '?"')
QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "`": "`"}
MARKS = re.compile(r"<\|?/?[\w /-]+\|?>|[*_`#]{2,}|^\s*[-*#>]+\s")
"""Special tokens of the model, and Markdown."""
A_PHOTO_OF = re.compile(r"an? (?:[\w-]+ ){0,2}?(?:photo|photograph|picture|image) of (?=\w)", re.IGNORECASE)
LOWER_CASE_STARTS = re.compile(
    r"(a|an|the|this|that|these|those|there|here|it|its|his|her|their|someone|somebody|one|two|three|four|five|six|"
    r"several|many|some|in|on|at|under|over|behind|beside|near|with|next|close|from|above|below|inside|outside)\b",
    re.IGNORECASE,
)
"""First words that lose their capital inside a sentence. Others keep it: they may be names."""


@dataclass(frozen=True)
class CaptionTemplate:
    """How a description becomes a caption. Raises ConfigError without {caption}, or with an unknown placeholder."""

    template: str
    """With {caption}, and {trigger} and {class} where they belong."""
    trigger: str = ""
    class_word: str = ""

    def __post_init__(self) -> None:
        unknown = [
            placeholder for placeholder in re.findall(r"\{[^{}]*\}", self.template) if placeholder not in PLACEHOLDERS
        ]
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
        """The caption; the description alone without trigger and class word, empty if the description is."""
        text = without_chatter(description)
        if not text:
            return ""
        if not self.trigger and not self.class_word:
            return text
        before = self.template.partition(CAPTION)[0].rstrip()
        if A_PHOTO_OF.match(before):
            text = A_PHOTO_OF.sub("", text, count=1) if A_PHOTO_OF.match(text) else text
        if before and not before.endswith(SENTENCE_END):
            text = _decapitalised(text)
        filled = self.template.replace("{trigger}", self.trigger).replace("{class}", self.class_word)
        return tidy(filled.replace(CAPTION, text))


def without_chatter(description: str) -> str:
    """A description without quotes, boilerplate and a last sentence that was truncated; empty if no words are left."""
    text = without_boilerplate(_unquoted(tidy(MARKS.sub(" ", description))))
    sentences = SENTENCE.split(_unquoted(text))
    if len(sentences) > 1 and not sentences[-1].endswith(SENTENCE_END):
        sentences.pop()
    text = " ".join(sentences)
    return text if text.strip(" .,;:!?") else ""


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    wrapped = len(text) > 1 and QUOTES.get(text[0]) == text[-1] and text[-1] not in inner
    return inner.strip() if wrapped else text


def _decapitalised(text: str) -> str:
    return text[0].lower() + text[1:] if LOWER_CASE_STARTS.match(text) else text


SIDECARS = (CAPTION_ENDING, ".caption")
LONGEST_SIDE = 1024
"""Pixels. Images are shrunk to this for the model: more needs memory and adds nothing to one sentence."""

Describe = Callable[[Image.Image], str]
"""An image -> the model's description of it, as generated."""


@dataclass(frozen=True)
class Proposal:
    """A proposed caption, or the reason why there is none."""

    image: Path
    file: Path
    """The caption file."""
    before: str
    after: str
    """Empty where nothing can be proposed."""
    why_not: str = ""


def propose(
    samples: Sequence[Sample], describe: Describe, template: CaptionTemplate, *, overwrite: bool = False
) -> Iterator[Proposal]:
    """A proposal for each sample without a caption; with `overwrite`, for every sample. Lazy: models are slow."""
    proposed: set[Path] = set()
    for sample in samples:
        file = caption_file_of(sample)
        if file in proposed or not (overwrite or lacks_caption(sample)):
            continue
        proposed.add(file)
        why_not = _unwritable(sample, file, overwrite=overwrite)
        if why_not:
            yield Proposal(sample.image, file, sample.caption, "", why_not)
        else:
            yield _proposal(sample, file, describe, template)


def propose_longer(samples: Sequence[Sample], describe: Describe, *, least_words: int) -> Iterator[Proposal]:
    """For each caption of fewer words: the same file with a description in a line of its own behind it. Lazy.

    What stands there stays as it is. FLUX.2 and FLUX.3 were trained on captions that describe a scene in sentences.
    """
    seen: set[Path] = set()
    for sample in samples:
        file = caption_file_of(sample)
        if file in seen or not is_shorter(sample, least_words):
            continue
        seen.add(file)
        kept, why_not = _kept_text(sample, file)
        if why_not:
            yield Proposal(sample.image, file, kept, "", why_not)
        else:
            alone = _proposal(sample, file, describe, CaptionTemplate(CAPTION))
            longer = f"{kept}\n{alone.after}" if alone.after else ""
            yield Proposal(sample.image, file, kept, longer, alone.why_not)


def _kept_text(sample: Sample, file: Path) -> tuple[str, str]:
    """What a caption file holds, and why nothing can be written behind it; the latter is empty if it can."""
    if why_not := _unwritable(sample, file, overwrite=True):
        return sample.caption, why_not
    try:
        return file.read_bytes().decode("utf-8-sig").rstrip(), ""
    except UnicodeDecodeError:
        return sample.caption, f"has a {file.name} that is not in UTF-8; save it in UTF-8 first"


def lacks_caption(sample: Sample) -> bool:
    """Whether a sample has no caption, variants included."""
    return not sample.captions


def is_shorter(sample: Sample, words: int) -> bool:
    """Whether a sample has a caption of fewer words, variants included."""
    return bool(sample.captions) and len(" ".join(sample.captions).split()) < words


def caption_file_of(sample: Sample) -> Path:
    """The sample's caption file, whether or not it exists."""
    return sample.caption_file or sample.image.with_suffix(CAPTION_ENDING)


def as_diff(proposal: Proposal) -> str:
    """The proposal as a unified diff of its caption file."""
    before, after = ([f"{line}\n" for line in text.splitlines()] for text in (proposal.before, proposal.after))
    old = str(proposal.file) if before else "/dev/null"
    return "".join(unified_diff(before, after, fromfile=old, tofile=str(proposal.file))).rstrip()


def write(proposal: Proposal, *, overwrite: bool = False) -> None:
    """Write the caption atomically, through a hidden half-written file that no source reads.

    Raises DataError where it cannot be written, and unless `overwrite` is set for a file that holds something else
    than it did.
    """
    if not proposal.after:
        return
    if not overwrite and not _keeps_what_is_there(proposal):
        raise DataError(
            f"{proposal.file} has another caption by now",
            fix="run it again, or set captioner.overwrite=true to replace it",
        )
    half_written = proposal.file.with_name(f".{proposal.file.name}{HALF_WRITTEN}")
    try:
        proposal.file.parent.stat()  # a folder that was moved away is not made again
        with replacing(proposal.file, half_written=half_written) as opened:
            opened.write(f"{proposal.after}\n".encode())
    except OSError as error:
        half_written.unlink(missing_ok=True)
        raise DataError(
            f"{proposal.file} cannot be written: {error.strerror}", fix="make its folder writable, or copy the set"
        ) from error


def _keeps_what_is_there(proposal: Proposal) -> bool:
    held = proposal.file.read_bytes() if proposal.file.exists() else b""
    as_it_was = held.decode("utf-8-sig", errors="replace").strip() == proposal.before.strip()
    return as_it_was and proposal.after.startswith(proposal.before)


def is_blank(file: Path) -> bool:
    """Whether a file is missing or holds nothing but blanks and a byte order mark."""
    return not file.exists() or not file.read_bytes().removeprefix(b"\xef\xbb\xbf").strip()


def _unwritable(sample: Sample, file: Path, *, overwrite: bool) -> str:
    """Why a caption cannot be written there; empty if it can."""
    if sample.caption_file is None:
        return "came out of a shard or a dataset, and has no place beside it for a caption"
    if file.suffix.lower() not in SIDECARS:
        return f"has its caption in {file.name}, a table that is not written to"
    if not overwrite and not is_blank(file):
        return f"has a {file.name} that cannot be read as a caption; captioner.overwrite=true replaces it"
    return ""


def _proposal(sample: Sample, file: Path, describe: Describe, template: CaptionTemplate) -> Proposal:
    try:
        image = open_image(sample.image, AlphaPolicy.composite)
    except DataError as error:
        return Proposal(sample.image, file, sample.caption, "", error.problem.removeprefix(f"{sample.image} "))
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    caption = template.around(describe(image))
    if sample.role is SourceRole.regularisation:
        caption = without_trigger(caption, template.trigger, template.class_word)
    return Proposal(sample.image, file, sample.caption, caption, "" if caption else "got no words from the model")

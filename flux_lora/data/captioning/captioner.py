"""Captions for pictures that have none: what a vision-language model says, put into words that a LoRA learns from.

Nothing here decides on its own to write: captions are proposed, shown as a diff, and written one by one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from PIL import Image

from flux_lora.config.choices import AlphaPolicy, SourceRole
from flux_lora.data.captioning.phrase import CaptionTemplate
from flux_lora.data.pictures.decode import open_image
from flux_lora.data.plain import without_trigger
from flux_lora.data.samples import CAPTION_ENDING, Sample
from flux_lora.errors import DataError

SIDECARS = (CAPTION_ENDING, ".caption")
LONGEST_SIDE = 1024
"""Pixels of the picture that the model sees. More costs it memory and adds nothing to one sentence."""

Describe = Callable[[Image.Image], str]
"""A picture -> what is on it, in the model's own words."""


@dataclass(frozen=True)
class Proposal:
    """A caption that could be written, or the reason why there is none."""

    image: Path
    file: Path
    """The caption file."""
    before: str
    after: str
    """Empty where nothing can be proposed."""
    why_not: str = ""


def propose(
    samples: Sequence[Sample], describe: Describe, phrase: CaptionTemplate, *, overwrite: bool = False
) -> Iterator[Proposal]:
    """A caption for each sample that lacks one; with `overwrite`, for every sample. One at a time: models are slow."""
    taken: set[Path] = set()
    for sample in samples:
        file = caption_file_of(sample)
        if file in taken or not (overwrite or lacks_caption(sample)):
            continue
        taken.add(file)
        why_not = _unwritable(sample, file, overwrite=overwrite)
        if why_not:
            yield Proposal(sample.image, file, sample.caption, "", why_not)
        else:
            yield _proposal(sample, file, describe, phrase)


def lacks_caption(sample: Sample) -> bool:
    """Whether nothing at all is said of the picture."""
    return not sample.captions


def caption_file_of(sample: Sample) -> Path:
    """Where the sample's caption is, or would have to be written."""
    return sample.caption_file or sample.image.with_suffix(CAPTION_ENDING)


def as_diff(proposal: Proposal) -> str:
    """What writing the proposal would change, as a patch."""
    before, after = ([f"{text}\n"] if text else [] for text in (proposal.before, proposal.after))
    was = str(proposal.file) if before else "/dev/null"
    return "".join(unified_diff(before, after, fromfile=was, tofile=str(proposal.file))).rstrip()


def write(proposal: Proposal, *, overwrite: bool = False) -> None:
    """Write the caption whole or not at all. A file with anything in it is left alone unless `overwrite` is set."""
    if not proposal.after:
        return
    if not overwrite and not is_blank(proposal.file):
        raise DataError(
            f"{proposal.file} has a caption by now", fix="run it again, or set captioner.overwrite=true to replace it"
        )
    half_written = proposal.file.with_name(f".{proposal.file.name}.partial")
    try:
        half_written.write_text(f"{proposal.after}\n", encoding="utf-8", newline="\n")
        half_written.replace(proposal.file)
    except OSError as error:
        half_written.unlink(missing_ok=True)
        raise DataError(
            f"{proposal.file} cannot be written: {error.strerror}", fix="make its folder writable, or copy the set"
        ) from error


def is_blank(file: Path) -> bool:
    """Whether there is no such file, or nothing in it that could be lost."""
    return not file.exists() or not file.read_bytes().removeprefix(b"\xef\xbb\xbf").strip()


def _unwritable(sample: Sample, file: Path, *, overwrite: bool) -> str:
    if sample.caption_file is None:
        return "came out of a shard or a dataset, and has no place beside it for a caption"
    if file.suffix.lower() not in SIDECARS:
        return f"has its caption in {file.name}, a table that is not written to"
    if not overwrite and not is_blank(file):
        return f"has a {file.name} that cannot be read as a caption; captioner.overwrite=true replaces it"
    return ""


def _proposal(sample: Sample, file: Path, describe: Describe, phrase: CaptionTemplate) -> Proposal:
    try:
        picture = open_image(sample.image, AlphaPolicy.composite)
    except DataError as error:
        return Proposal(sample.image, file, sample.caption, "", error.problem.removeprefix(f"{sample.image} "))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    caption = phrase.around(describe(picture))
    if sample.role is SourceRole.regularisation:
        caption = without_trigger(caption, phrase.trigger, phrase.class_word)
    return Proposal(sample.image, file, sample.caption, caption, "" if caption else "got no words from the model")

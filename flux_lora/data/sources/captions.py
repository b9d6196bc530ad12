"""Which captions a picture has, where several places may say one."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path

from flux_lora.config.choices import CaptionLines
from flux_lora.config.material import SourceConfig
from flux_lora.data.box import Box
from flux_lora.data.findings import Finding
from flux_lora.data.samples import CAPTION_ENDING, Sample
from flux_lora.data.sources.placed import SiblingFiles, stem_place
from flux_lora.data.sources.rows import Row
from flux_lora.data.sources.rules import (
    CAPTION_ENCODING,
    ROW_WITHOUT_PICTURE,
    SHARED_CAPTION,
    TWO_CAPTIONS,
    UNDECODABLE_CAPTION,
    UNREADABLE_ROW,
)
from flux_lora.data.sources.texts import captions_of, read_text_file

SIDECAR_ENDINGS = (CAPTION_ENDING, ".caption")
"""The first that has words wins."""
PLAIN = ("", "utf-8")
MOST_NAMED = 5
LONGEST_NAMED = 80


@dataclass(frozen=True, slots=True)
class CaptionSource:
    """What one place says of a picture."""

    file: Path
    captions: tuple[str, ...]
    encoding: str = "utf-8"
    why: str = ""
    """Why it cannot be read, if it cannot."""
    box: Box | None = None
    """What must stay inside a crop of the picture."""


def sidecar_caption(file: str, lines: CaptionLines) -> CaptionSource:
    """What a caption file says."""
    told = read_text_file(Path(file))
    return CaptionSource(Path(file), captions_of(told.text, lines), told.encoding, told.why)


def table_captions(
    table: Path, rows: Iterator[Row], pictures: Collection[str], lines: CaptionLines
) -> tuple[dict[str, CaptionSource], list[Finding]]:
    """What a table says of each picture that it names, and what is wrong with the rest of it."""
    said: dict[str, CaptionSource] = {}
    lost: list[str] = []
    unreadable: list[tuple[str, str]] = []
    for row in rows:
        picture = str(table.parent / normpath(row.name.replace("\\", "/")))
        if row.problem:
            unreadable.append((row.where, row.problem))
        elif picture not in pictures:
            lost.append(f"{row.where} ({row.name[:LONGEST_NAMED]!r})")
        else:
            before = said.get(picture, CaptionSource(table, ()))
            new = (each for text in row.texts for each in captions_of(text, lines))
            captions = dict.fromkeys((*before.captions, *new))
            said[picture] = CaptionSource(table, tuple(captions), row.encoding, box=row.box or before.box)
    findings = list(judge_rows(table, unreadable))
    if lost:
        fix = "correct the names or take the rows out; held_out, masks and hidden folders are never read"
        findings.append(ROW_WITHOUT_PICTURE.at(table, f"names what is not among the pictures: {named(lost)}", fix))
    return said, findings


def first_with_words(said: Sequence[CaptionSource]) -> CaptionSource | None:
    """The first place that has words; without any, the first place."""
    return next((each for each in said if each.captions), said[0] if said else None)


def sample_of(
    picture: str, said: Sequence[CaptionSource], source: SourceConfig, *, repeats: int, mask: str | None
) -> Sample:
    """A picture with its captions, each between prefix and suffix; no caption stays none."""
    used = first_with_words(said)
    captions = [source.prefix + each + source.suffix for each in used.captions] if used else []
    sidecar = next((each.file for each in said if each.file.suffix.lower() in SIDECAR_ENDINGS), None)
    file = used.file if used and captions else sidecar or Path(stem_place(picture) + CAPTION_ENDING)
    return Sample(
        image=Path(picture),
        caption=captions[0] if captions else "",
        variants=tuple(captions[1:]),
        mask=Path(mask) if mask else None,
        role=source.role,
        repeats=source.repeats * repeats,
        caption_file=file,
        encoding=used.encoding if used and used.file == file else "",
        source=source.path,
        box=next((each.box for each in said if each.box), None),
    )


def judge_caption_sources(picture: str, said: Sequence[CaptionSource]) -> Iterator[Finding]:
    """Places that cannot be read, and places that disagree."""
    for each in said:
        if each.why:
            fix = f"save {each.file.name} as UTF-8 text"
            yield UNDECODABLE_CAPTION.at(Path(picture), f"has a caption file that {each.why}: {each.file.name}", fix)
    speaking = [each for each in said if each.captions]
    if len({each.captions for each in speaking}) > 1:
        names = " and ".join(each.file.name for each in speaking)
        problem = f"has different captions in {names}; {speaking[0].file.name} is used"
        yield TWO_CAPTIONS.at(Path(picture), problem, "keep the right one, or let them say the same")


def judge_shared(pictures: SiblingFiles) -> Iterator[Finding]:
    """Pictures of one name in one folder. In two folders they are two names."""
    for file in sorted(pictures.files):
        alike = pictures.at(stem_place(file))
        if len(alike) > 1 and alike[0] == file:
            first, *more = map(Path, alike)
            problem = f"has the name of {first.name}, and {first.stem}{CAPTION_ENDING} speaks for both"
            fix = "rename one of them and its caption, or take out the copy"
            yield SHARED_CAPTION.at(more[0], problem, fix, others=(first, *more[1:]))


def judge_encodings(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Captions that are not utf-8, one finding for each encoding."""
    by_encoding: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.encoding not in PLAIN:
            by_encoding[sample.encoding].append(sample)
    for encoding, (first, *more) in sorted(by_encoding.items()):
        where = first.caption_file.name if first.caption_file else "its source"
        rest = f", like {len(more)} more" if more else ""
        fix = "nothing to do; saved as UTF-8, every program reads it alike"
        others = tuple(sample.image for sample in more)
        yield CAPTION_ENCODING.at(first.image, f"has a caption in {encoding} ({where}){rest}", fix, others)


def judge_rows(file: Path, unreadable: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """Rows with a problem, as (where, problem): one finding for each problem."""
    by_problem: dict[str, list[str]] = defaultdict(list)
    for where, problem in unreadable:
        by_problem[problem].append(where)
    for problem, places in by_problem.items():
        listed = named(places) + (":" if len(places) > 1 else "")
        yield UNREADABLE_ROW.at(file, f"{listed} {problem}".strip(), "correct it in the file, or make the file again")


def named(things: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = len(things) - MOST_NAMED
    return ", ".join(things[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")

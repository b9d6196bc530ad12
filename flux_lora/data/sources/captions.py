"""The captions of an image from sidecar files and tables, and which of them is used."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path

from flux_lora.config.choices import CaptionLines
from flux_lora.config.data import SourceConfig
from flux_lora.data.findings import Finding
from flux_lora.data.samples import CAPTION_ENDING, Box, Sample
from flux_lora.data.sources.listing import SiblingFiles, stem_place
from flux_lora.data.sources.rows import Row
from flux_lora.data.sources.source import (
    CAPTION_ENCODING,
    ROW_WITHOUT_IMAGE,
    SHARED_CAPTION,
    TWO_CAPTIONS,
    UNDECODABLE_CAPTION,
    UNREADABLE_ROW,
)
from flux_lora.data.sources.text_files import captions_of, read_text_file

SIDECAR_ENDINGS = (CAPTION_ENDING, ".caption")
"""The first that holds a caption is used."""
PLAIN_ENCODINGS = ("", "utf-8")
MOST_NAMED = 5
LONGEST_NAMED = 80


@dataclass(frozen=True, slots=True)
class CaptionSource:
    """The captions of one image in one sidecar file, table, shard or dataset."""

    file: Path
    captions: tuple[str, ...]
    encoding: str = "utf-8"
    problem: str = ""
    """Why the file cannot be decoded; empty where it can."""
    box: Box | None = None
    """What must stay inside a crop of the image."""
    references: tuple[Path, ...] = ()
    """What the image was made from."""


def sidecar_caption(file: str, lines: CaptionLines) -> CaptionSource:
    """The captions in a sidecar file."""
    decoded = read_text_file(Path(file))
    return CaptionSource(Path(file), captions_of(decoded.text, lines), decoded.encoding, decoded.problem)


def table_captions(
    table: Path, rows: Iterator[Row], images: Collection[str], lines: CaptionLines
) -> tuple[dict[str, CaptionSource], list[Finding]]:
    """Captions by image, for the images a table names; and findings on the rows that cannot be used."""
    by_image: dict[str, CaptionSource] = {}
    missing: list[str] = []
    unreadable: list[tuple[str, str]] = []
    for row in rows:
        image = str(table.parent / normpath(row.name.replace("\\", "/")))
        if row.problem:
            unreadable.append((row.where, row.problem))
        elif image not in images:
            missing.append(f"{row.where} ({row.name[:LONGEST_NAMED]!r})")
        else:
            earlier = by_image.get(image, CaptionSource(table, ()))
            new = (caption for text in row.texts for caption in captions_of(text, lines))
            captions = dict.fromkeys((*earlier.captions, *new))
            references = tuple(Path(normpath(table.parent / name.replace("\\", "/"))) for name in row.references)
            by_image[image] = CaptionSource(
                table,
                tuple(captions),
                row.encoding,
                box=row.box or earlier.box,
                references=references or earlier.references,
            )
    findings = list(judge_rows(table, unreadable))
    if missing:
        fix = "correct the names or take the rows out; held_out, masks and hidden folders are never read"
        findings.append(ROW_WITHOUT_IMAGE.at(table, f"names what is not among the images: {named(missing)}", fix))
    return by_image, findings


def first_with_captions(origins: Sequence[CaptionSource]) -> CaptionSource | None:
    """The first source that holds a caption; without any, the first source."""
    return next((origin for origin in origins if origin.captions), origins[0] if origins else None)


def sample_of(
    image: str, origins: Sequence[CaptionSource], source: SourceConfig, *, repeats: int, mask: str | None
) -> Sample:
    """An image with its captions, each between prefix and suffix; no caption stays none."""
    first = first_with_captions(origins)
    captions = [source.prefix + caption + source.suffix for caption in first.captions] if first else []
    sidecar = next((origin.file for origin in origins if origin.file.suffix.lower() in SIDECAR_ENDINGS), None)
    file = first.file if first and captions else sidecar or Path(stem_place(image) + CAPTION_ENDING)
    return Sample(
        image=Path(image),
        caption=captions[0] if captions else "",
        variants=tuple(captions[1:]),
        mask=Path(mask) if mask else None,
        role=source.role,
        repeats=source.repeats * repeats,
        caption_file=file,
        encoding=first.encoding if first and first.file == file else "",
        source=source.path,
        box=next((origin.box for origin in origins if origin.box), None),
        references=next((origin.references for origin in origins if origin.references), ()),
    )


def judge_caption_sources(image: str, origins: Sequence[CaptionSource]) -> Iterator[Finding]:
    """Sidecar files that cannot be decoded, and sources whose captions differ."""
    for origin in origins:
        if origin.problem:
            fix = f"save {origin.file.name} as UTF-8 text"
            problem = f"has a caption file that {origin.problem}: {origin.file.name}"
            yield UNDECODABLE_CAPTION.at(Path(image), problem, fix)
    captioned = [origin for origin in origins if origin.captions]
    if len({origin.captions for origin in captioned}) > 1:
        names = " and ".join(origin.file.name for origin in captioned)
        problem = f"has different captions in {names}; {captioned[0].file.name} is used"
        yield TWO_CAPTIONS.at(Path(image), problem, "keep the right one, or let them say the same")


def judge_shared(images: SiblingFiles) -> Iterator[Finding]:
    """Images in one folder that differ only in their endings, and so share a sidecar file."""
    for file in sorted(images.files):
        same_stem = images.at(stem_place(file))
        if len(same_stem) > 1 and same_stem[0] == file:
            first, *more = map(Path, same_stem)
            problem = f"has the name of {first.name}, and {first.stem}{CAPTION_ENDING} speaks for both"
            fix = "rename one of them and its caption, or take out the copy"
            yield SHARED_CAPTION.at(more[0], problem, fix, others=(first, *more[1:]))


def judge_encodings(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Captions that are not utf-8, one finding for each encoding."""
    by_encoding: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.encoding not in PLAIN_ENCODINGS:
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
    for problem, rows in by_problem.items():
        listed = named(rows) + (":" if len(rows) > 1 else "")
        yield UNREADABLE_ROW.at(file, f"{listed} {problem}".strip(), "correct it in the file, or make the file again")


def named(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")

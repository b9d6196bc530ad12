"""Images in rows of shards, tables and datasets -> files named by content; and an index of what was unpacked.

A shard or table is taken as unchanged if its path, size, mtime and ctime are the same. Its index is used if every
unpacked image is still there with its size; otherwise it is unpacked again.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from hashlib import sha256
from os import getpid
from pathlib import Path
from typing import Any

from flux_lora.atomic import HALF_WRITTEN, replacing
from flux_lora.config.choices import MaskMode
from flux_lora.config.data import SourceConfig
from flux_lora.data.findings import Finding
from flux_lora.data.samples import CAPTION_ENDING, IMAGE_ENDINGS, Box, Sample
from flux_lora.data.sources.captions import CaptionSource, judge_rows, sample_of, sidecar_caption
from flux_lora.data.sources.listing import stem_place
from flux_lora.data.sources.rows import Row
from flux_lora.data.sources.source import IGNORED_FILE, Columns, Found, SourceOptions
from flux_lora.data.sources.text_files import captions_of
from flux_lora.errors import DataError

LONGEST_NAME = 80
BEGINNINGS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}


@dataclass(frozen=True, slots=True)
class UnpackedFile:
    """An image or a mask that was written to a file."""

    path: str
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class UnpackedRow:
    """A row whose image was written to a file; or the reason why not."""

    where: str
    problem: str = ""
    texts: tuple[str, ...] = ()
    encoding: str = ""
    unread: tuple[str, ...] = ()
    """Endings of the parts of a shard's sample that are not read."""
    image: UnpackedFile | None = None
    """None where there is a problem."""
    mask: UnpackedFile | None = None
    box: Box | None = None


def unpack_row(row: Row, folder: Path) -> UnpackedRow:
    """Write the row's image and mask below the folder."""
    if row.problem or row.image is None:
        return UnpackedRow(row.where, row.problem or "carries no image", unread=row.unread)
    mask = unpack_image(row.mask, f"{Path(row.name).stem}_mask", folder) if row.mask else None
    image = unpack_image(row.image, row.name, folder)
    return UnpackedRow(row.where, "", row.texts, row.encoding, row.unread, image, mask, row.box)


def unpack_image(content: bytes, name: str, folder: Path) -> UnpackedFile:
    """Write an image once, as <folder>/<digest>/<name>. Folders in the name are dropped, so it cannot lead out.

    Raises DataError where it cannot be written.
    """
    file = folder / sha256(content).hexdigest()[:24] / _safe_name(name, content)
    unpacked = UnpackedFile(str(file), len(content))
    if file.is_file() and file.stat().st_size == unpacked.size:
        return unpacked
    try:
        with replacing(file, half_written=_half_written(file), sync=False) as opened:
            opened.write(content)
    except OSError as error:
        raise DataError(
            f"{file} cannot be written: {error.strerror}", fix="make room there, or set XDG_CACHE_HOME to another disk"
        ) from error
    return unpacked


def _half_written(file: Path) -> Path:
    """One for each process: several ranks may unpack the same file."""
    return file.with_name(f"{file.name}.{getpid()}{HALF_WRITTEN}")


UNNAMED = "picture"
"""The name of an image that came without one. Captions lie beside it under this name, so it stays what it was."""


def _safe_name(name: str, content: bytes) -> str:
    last = re.split(r"[/\\]", name)[-1]
    stem, ending = Path(last).stem, Path(last).suffix.lower()
    if ending not in IMAGE_ENDINGS:
        ending = next((known for start, known in BEGINNINGS.items() if content.startswith(start)), ".picture")
    return (re.sub(r"[^\w-]+", "_", stem).strip("_")[:LONGEST_NAME] or UNNAMED) + ending


RowReader = Callable[[Path, Columns], Iterator[Row]]

INDEX = "read"
"""The sub-folder of the indices, one for each shard or table."""
READER_VERSION = "2"
"""Part of the fingerprint: raise it when rows are read differently, so that old indices are not used."""
SETTLED_NS = 2_000_000_000
"""Nanoseconds. A file changed less than this long ago has no index: it may change again without a change of mtime."""


def unpack_file(file: Path, read_rows: RowReader, columns: Columns, folder: Path) -> list[UnpackedRow]:
    """The rows of a shard or table with their images in the folder: from the index, or else read and unpacked."""
    fingerprint = _fingerprint(file, columns)
    index = folder / INDEX / f"{fingerprint}.json"
    known = _read_index(index)
    if known is not None:
        return known
    rows = [unpack_row(row, folder) for row in read_rows(file, columns)]
    read_to_its_end = all(row.where for row in rows)
    if fingerprint and read_to_its_end and fingerprint == _fingerprint(file, columns):
        _write_index(index, rows)
    return rows


def _fingerprint(file: Path, columns: Columns) -> str:
    """Digest of a file's path, size, times and the columns read; empty where the times are too recent to rely on."""
    try:
        status = file.stat()
    except OSError:
        return ""
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < SETTLED_NS:
        return ""
    key = (
        READER_VERSION,
        str(file.resolve()),
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        astuple(columns),
    )
    return sha256(repr(key).encode()).hexdigest()[:32]


def _write_index(index: Path, rows: Sequence[UnpackedRow]) -> None:
    """An index that cannot be written is left out: the next run unpacks again."""
    half_written = _half_written(index)
    try:
        with replacing(index, half_written=half_written) as opened:
            opened.write(json.dumps([astuple(row) for row in rows]).encode("utf-8"))
    except OSError:
        half_written.unlink(missing_ok=True)


def _read_index(index: Path) -> list[UnpackedRow] | None:
    """The rows of an index; None without one, or where an unpacked image is gone or of another size."""
    try:
        rows = [_parse_row(entry) for entry in json.loads(index.read_bytes())]
        files = [file for row in rows for file in (row.image, row.mask) if file]
        complete = all(Path(file.path).stat().st_size == file.size for file in files)
    except (OSError, ValueError, TypeError):
        return None
    return rows if complete else None


def _parse_row(entry: Sequence[Any]) -> UnpackedRow:
    """The inverse of `astuple`, from JSON."""
    where, problem, texts, encoding, unread, image, mask, box = entry
    return UnpackedRow(
        where,
        problem,
        tuple(texts),
        encoding,
        tuple(unread),
        image=UnpackedFile(*image) if image else None,
        mask=UnpackedFile(*mask) if mask else None,
        box=Box(*box) if box else None,
    )


def samples_of_rows(
    rows: Iterable[UnpackedRow], container: Path, source: SourceConfig, options: SourceOptions
) -> Found:
    """One sample a row. `container` is the shard, table or dataset that findings name."""
    samples: list[Sample] = []
    unreadable: list[UnpackedRow] = []
    unread: Counter[str] = Counter()
    for row in rows:
        unread.update(row.unread)
        if row.image:
            samples.append(_sample(row, row.image, container, source, options))
        else:
            unreadable.append(row)
    findings: list[Finding] = list(judge_rows(container, [(row.where, row.problem) for row in unreadable]))
    if unread:
        parts = ", ".join(f".{ending} ({count})" for ending, count in sorted(unread.items()))
        fix = "nothing to do, unless one of them is a caption: those end in .txt, .caption or .json"
        findings.append(IGNORED_FILE.at(container, f"holds parts that are left alone: {parts}", fix))
    return Found(tuple(samples), tuple(findings), (f"{container}: {len(samples)} images, kept in {options.unpacked}",))


def _sample(
    row: UnpackedRow, image: UnpackedFile, container: Path, source: SourceConfig, options: SourceOptions
) -> Sample:
    """A row without captions has those of a sidecar file beside the unpacked image, if one was written."""
    lines = options.caption_lines
    captions = tuple(caption for text in row.texts for caption in captions_of(text, lines))
    sidecar = stem_place(image.path) + CAPTION_ENDING
    written = [sidecar_caption(sidecar, lines)] if not captions and Path(sidecar).is_file() else []
    row_source = CaptionSource(container, captions, row.encoding, box=row.box)
    mask = row.mask.path if row.mask and options.masks is MaskMode.auto else None
    return sample_of(image.path, [*written, row_source], source, repeats=1, mask=mask)

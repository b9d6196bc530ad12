"""Rows of WebDataset tars, by the standard library. No path that a tar names is written to."""

import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath

from flux_lora.data.samples import IMAGE_ENDINGS
from flux_lora.data.sources.rows import MOST_IMAGE_BYTES, Row, UnreadableError, texts_of
from flux_lora.data.sources.source import Columns
from flux_lora.data.sources.text_files import MOST_CAPTION_BYTES, DecodedText, decode_text

SHARD_ENDING = ".tar"
TEXT_ENDINGS = ("txt", "caption", "json")
"""Parts that may hold a caption, in order of precedence."""
MASK = "mask"

BROKEN = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, MemoryError, RecursionError)
"""What tarfile raises for truncated and malicious tars."""

Parts = dict[str, bytes]


def read_shard(file: Path, columns: Columns) -> Iterator[Row]:
    """One row for each sample: neighbours whose paths are the same up to the first dot. Links are not followed."""
    last = ""
    try:
        with tarfile.open(file, "r:") as shard:
            for key, members in groupby(_plain_files(shard), key=lambda member: _key_and_ending(member)[0]):
                yield _row(shard, key, list(members), columns)
                last = f" after {key}"
    except BROKEN as error:
        yield Row("", problem=f"cannot be read{last} ({error or type(error).__name__})")


def _plain_files(shard: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Regular files. Hidden ones are left out: ._mug.jpg holds macOS metadata, and no image."""
    return (member for member in shard if member.isreg() and not PurePosixPath(member.name).name.startswith("."))


def _key_and_ending(member: tarfile.TarInfo) -> tuple[str, str]:
    path = PurePosixPath(member.name)
    stem, _, ending = path.name.partition(".")
    return str(path.parent / stem), ending.lower()


def _row(shard: tarfile.TarFile, key: str, members: list[tarfile.TarInfo], columns: Columns) -> Row:
    where = f"sample {ascii(key)[1:-1]}"
    unread: list[str] = []
    parts: Parts = {}
    names: dict[str, str] = {}
    for member in members:
        ending = _key_and_ending(member)[1]
        role = _role(ending)
        if not role or role in parts:
            unread.append(ending)
            continue
        limit = MOST_CAPTION_BYTES if role in TEXT_ENDINGS else MOST_IMAGE_BYTES
        if member.size > limit:
            return Row(where, problem=f"has a {ending} of more than {limit // 2**20} MiB")
        parts[role], names[role] = _content(shard, member), f"{PurePosixPath(key).name}.{ending}"
    if "image" not in parts:
        return Row(where, problem=f"has no image among its parts ({', '.join([*parts, *unread])})")
    try:
        texts, encoding = _texts(parts, columns)
    except UnreadableError as reason:
        return Row(where, problem=str(reason))
    return Row(where, names["image"], texts, parts["image"], parts.get(MASK), encoding, unread=tuple(unread))


def _role(ending: str) -> str:
    """Role of a part: `image`, `mask`, or the ending of a text; empty for any other."""
    if f".{ending}" in IMAGE_ENDINGS:
        return "image"
    first, _, rest = ending.partition(".")
    if first == MASK and f".{rest}" in IMAGE_ENDINGS:
        return MASK
    return ending if ending in TEXT_ENDINGS else ""


def _content(shard: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = shard.extractfile(member)
    assert opened is not None, "a regular file has content"
    with opened:
        return opened.read()


def _texts(parts: Parts, columns: Columns) -> tuple[tuple[str, ...], str]:
    """The captions of the first part that holds any, and their encoding."""
    for ending in [ending for ending in TEXT_ENDINGS if ending in parts]:
        decoded = decode_text(parts[ending])
        if decoded.undecodable:
            raise UnreadableError(f"has a {ending} that {decoded.problem}")
        texts = _from_json(decoded, columns) if ending == "json" else (decoded.text,)
        if any(text.strip() for text in texts):
            return texts, decoded.encoding
    return (), ""


def _from_json(decoded: DecodedText, columns: Columns) -> tuple[str, ...]:
    try:
        values = json.loads(decoded.text)
    except (ValueError, RecursionError):
        raise UnreadableError("has a json that is not JSON") from None
    return texts_of(values, columns) if isinstance(values, dict) else ()

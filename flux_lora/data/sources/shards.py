"""WebDataset tars -> rows, by the standard library. Nothing is unpacked to a path that a tar names."""

import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath

from flux_lora.data.samples import IMAGE_ENDINGS
from flux_lora.data.sources.rows import MOST_PICTURE_BYTES, Row, UnreadableError, texts_of
from flux_lora.data.sources.source import Columns
from flux_lora.data.sources.texts import MOST_CAPTION_BYTES, DecodedText, decode_text

SHARD_ENDING = ".tar"
TEXT_ENDINGS = ("txt", "caption", "json")
"""Where a caption may be, the first that has one first."""
MASK = "mask"

BROKEN = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, MemoryError, RecursionError)
"""What tarfile raises for tars that are cut short or made to harm."""

Parts = dict[str, bytes]


def read_shard(file: Path, columns: Columns) -> Iterator[Row]:
    """Its samples in order: neighbours whose names are alike up to the first dot. Links are not followed."""
    last = ""
    try:
        with tarfile.open(file, "r:") as shard:
            for key, members in groupby(_plain_files(shard), key=lambda member: _key_and_ending(member)[0]):
                yield _row(shard, key, list(members), columns)
                last = f" after {key}"
    except BROKEN as error:
        yield Row("", problem=f"cannot be read{last} ({error or type(error).__name__})")


def _plain_files(shard: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Files with a name and an ending; ._mug.jpg is no picture but what macOS notes about one."""
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
        most = MOST_CAPTION_BYTES if role in TEXT_ENDINGS else MOST_PICTURE_BYTES
        if member.size > most:
            return Row(where, problem=f"has a {ending} of more than {most // 2**20} MiB")
        parts[role], names[role] = _content(shard, member), f"{PurePosixPath(key).name}.{ending}"
    if "picture" not in parts:
        return Row(where, problem=f"has no picture among its parts ({', '.join([*parts, *unread])})")
    try:
        texts, encoding = _texts(parts, columns)
    except UnreadableError as reason:
        return Row(where, problem=str(reason))
    return Row(where, names["picture"], texts, parts["picture"], parts.get(MASK), encoding, unread=tuple(unread))


def _role(ending: str) -> str:
    """What a part is for: picture, mask, or the ending of a text; empty where it is none of them."""
    if f".{ending}" in IMAGE_ENDINGS:
        return "picture"
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
    """The captions, and how they were decoded."""
    for ending in (each for each in TEXT_ENDINGS if each in parts):
        told = decode_text(parts[ending])
        if told.undecodable:
            raise UnreadableError(f"has a {ending} that {told.why}")
        texts = _from_json(told, columns) if ending == "json" else (told.text,)
        if any(text.strip() for text in texts):
            return texts, told.encoding
    return (), ""


def _from_json(decoded: DecodedText, columns: Columns) -> tuple[str, ...]:
    try:
        values = json.loads(decoded.text)
    except (ValueError, RecursionError):
        raise UnreadableError("has a json that is not JSON") from None
    return texts_of(values, columns) if isinstance(values, dict) else ()

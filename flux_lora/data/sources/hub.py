"""Rows of a `datasets` dataset, by hub id or by the folder it was saved to. The only importer of that library."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flux_lora.data.sources.rows import BOX_COLUMN, SIDE_COLUMNS, Row, column_of_captions, row_of
from flux_lora.data.sources.source import FILE_COLUMN, Columns
from flux_lora.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

PREFIX = "hub:"
TRAIN = "train"


@dataclass(frozen=True)
class Address:
    """A dataset, as in hub:owner/name@revision#split; a folder may stand in place of owner/name."""

    name: str
    revision: str = ""
    split: str = TRAIN


def is_dataset(path: str) -> bool:
    """Whether a source's path begins with hub:, or is a folder that `datasets` saved."""
    return path.startswith(PREFIX) or _is_saved(Path(path).expanduser())


def address_of(path: str) -> Address:
    """Parse a source's path."""
    if not path.startswith(PREFIX):
        return Address(path)
    name, _, split = path.removeprefix(PREFIX).partition("#")
    name, _, revision = name.partition("@")
    return Address(name, revision, split or TRAIN)


def read_hub_dataset(path: str, columns: Columns) -> Iterator[Row]:
    """The rows in order, images as the bytes they were saved as.

    Raises DataError without the package `datasets`, where the dataset cannot be opened, or where a column is missing.
    """
    address = address_of(path)
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"{path} is a dataset, and the package datasets is not installed",
            fix="run: pip install 'flux_lora[datasets]'",
        ) from None
    table = _opened(address)
    features = table.features
    image = next((name for name in (columns.image, FILE_COLUMN) if name in features), "")
    caption = column_of_captions(list(features), columns)
    if not image or not caption:
        raise DataError(
            f"{path} has no column {columns.caption if image else columns.image!r}: it has {', '.join(features)}",
            fix="set data.image_column and data.caption_column (or the source's own) to those of images and texts",
        )
    if isinstance(features[image], datasets.Image):
        table = table.cast_column(image, datasets.Image(decode=False))
    boxes = [name for name in (BOX_COLUMN, *SIDE_COLUMNS) if name in features]
    for number, values in enumerate(table.select_columns([image, caption, *boxes]), start=1):
        assert isinstance(values, Mapping), "a dataset yields a row at a time"
        yield row_of(f"row {number}", {**values, image: _with_bytes(values[image])}, Columns(image, caption))


def _is_saved(folder: Path) -> bool:
    single = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return single or (folder / "dataset_dict.json").is_file()


def _opened(address: Address) -> "Dataset":
    from datasets import DatasetDict, load_dataset, load_from_disk
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError

    folder = Path(address.name).expanduser()
    try:
        if _is_saved(folder):
            saved = load_from_disk(str(folder))
            return saved[address.split] if isinstance(saved, DatasetDict) else saved
        return load_dataset(address.name, split=address.split, revision=address.revision or None)
    except (DatasetsError, HTTPError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"the dataset {address.name} (split {address.split}) cannot be opened: {reason}",
            fix="check its id, split and your network; a private one needs: hf auth login",
        ) from error


def _with_bytes(image: object) -> object:
    """The value of an image column with its bytes: a path without bytes is read from disk."""
    if not isinstance(image, dict) or image.get("bytes") is not None or not image.get("path"):
        return image
    file = Path(image["path"])
    return {"path": file.name, "bytes": file.read_bytes()} if file.is_file() else image

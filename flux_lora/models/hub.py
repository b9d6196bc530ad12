"""Fetch files of a model from the Hugging Face hub, with its refusals explained, and name a folder of weights by its
contents.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from flux_lora.errors import ModelError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
"""owner/name, the whole text."""


def fetched(name: str, patterns: Sequence[str], revision: str = "") -> Path:
    """The folder on this disk that holds the files of `name` that match; what is already here is not fetched again."""
    with _hub_errors_explained(name):
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(patterns)))


@contextmanager
def _hub_errors_explained(name: str) -> Iterator[None]:
    try:
        yield
    except GatedRepoError as error:
        raise ModelError(
            f"{name} needs an accepted licence",
            fix=f"accept it on https://huggingface.co/{name}, then run: hf auth login",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"the hub has no model {name} that you can see",
            fix="check the spelling of model.path, or run: hf auth login",
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{name} is not on this disk, and the hub cannot be reached",
            fix="go online once, or set model.path to a folder that holds the model",
        ) from error
    except (HfHubHTTPError, HTTPError) as error:
        raise ModelError(
            f"the hub did not give {name}: {str(error).strip().partition(chr(10))[0]}",
            fix="check model.revision and the network, then run it again",
        ) from error


WHOLE_BYTES = 64 * 2**20
"""Files up to this size are read whole; of larger ones, evenly spread windows."""
WINDOWS = 16
WINDOW_BYTES = 2**20


def fingerprint(place: Path) -> str:
    """A digest of every file of a folder: names, sizes, contents (sampled where large). One file may be renamed."""
    digest = sha256()
    named = [(place, "")]
    if not place.is_file():
        files = sorted(path for path in place.rglob("*") if path.is_file())
        named = [(file, file.relative_to(place).as_posix()) for file in files]
    for file, name in named:
        size = file.stat().st_size
        digest.update(f"{name}|{size}|".encode())
        digest.update(_seen(file, size))
    return digest.hexdigest()


def _seen(file: Path, size: int) -> bytes:
    if size <= WHOLE_BYTES:
        return file.read_bytes()
    with file.open("rb") as opened:
        windows = []
        for number in range(WINDOWS):
            opened.seek((size - WINDOW_BYTES) * number // (WINDOWS - 1))
            windows.append(opened.read(WINDOW_BYTES))
    return b"".join(windows)

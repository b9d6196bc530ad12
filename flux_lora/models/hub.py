"""Fetch files of a model from the Hugging Face hub, with its refusals explained. The only door to the hub."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

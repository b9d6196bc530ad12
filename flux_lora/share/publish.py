"""One .zip of everything shared, and an upload to the Hugging Face hub."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from flux_lora.atomic import replacing
from flux_lora.errors import RunError

LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a .zip can store."""
UNIX = 3
READABLE = 0o644 << 16
"""Unix mode rw-r--r-- in external_attr."""
COMPRESSED = {".safetensors", ".png", ".jpg", ".webp"}


def bundle(folder: Path, files: Sequence[Path], to: Path) -> Path:
    """Write the files of a folder into one .zip, under its own stem; the same files give the same bytes."""
    with replacing(to) as opened, ZipFile(opened, "w", allowZip64=True) as archive:
        for file in sorted(files):
            entry = ZipInfo(f"{to.stem}/{file.relative_to(folder).as_posix()}", LONG_AGO)
            entry.create_system, entry.external_attr = UNIX, READABLE
            entry.compress_type = ZIP_STORED if file.suffix in COMPRESSED else ZIP_DEFLATED
            entry.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    return to


REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MESSAGE = "Upload with flux_lora"
LOGIN = "run: hf auth login"


@dataclass(frozen=True)
class Upload:
    """The page of the repository, and the paths of the files in it."""

    url: str
    files: tuple[str, ...]


def push(folder: Path, files: Sequence[Path], repo: str, *, private: bool = True, dry_run: bool = False) -> Upload:
    """Upload exactly these files of the folder to the repository org/name, in one commit.

    A missing repository is created, private by default. What the hub already has is not sent again, so an
    upload that broke off is continued by calling it once more. Raises RunError with the way out.
    """
    _refuse_no_name(repo)
    by_name = {file.relative_to(folder).as_posix(): file for file in sorted(files)}
    upload = Upload(f"{constants.ENDPOINT}/{repo}", tuple(by_name))
    if dry_run:
        return upload
    hub = HfApi()
    with _errors_explained(repo):
        hub.create_repo(repo, private=private, exist_ok=True)
        if private:
            _refuse_seen_by_all(hub, repo)
        additions = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in by_name.items()]
        hub.create_commit(repo, additions, commit_message=MESSAGE)
    return upload


def refuse_unpublishable(repo: str, *, private: bool = True, dry_run: bool = False) -> None:
    """Raises RunError where `push` would, as far as that is known before there is a file: by the name, by whether the
    hub knows who asks, and by whether everyone would see it."""
    _refuse_no_name(repo)
    if dry_run:
        return
    hub = HfApi()
    with _errors_explained(repo):
        hub.whoami()
        if private and hub.repo_exists(repo):
            _refuse_seen_by_all(hub, repo)


def _refuse_seen_by_all(hub: HfApi, repo: str) -> None:
    if not hub.model_info(repo).private:
        raise RunError(
            f"{repo} is there already, and everyone can see it",
            fix="set export.public=true if that is meant, or make it private on its page, or take another name",
        )


def _refuse_no_name(repo: str) -> None:
    if not REPO.fullmatch(repo):
        raise RunError(f"export.push_to_hub is {repo!r}, not a name on the hub", fix="set export.push_to_hub=org/name")


@contextmanager
def _errors_explained(repo: str) -> Iterator[None]:
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise RunError(f"{repo} cannot be reached: HF_HUB_OFFLINE is set", fix="unset HF_HUB_OFFLINE") from error
    except LocalTokenNotFoundError as error:
        raise RunError(f"nobody is logged in to the hub, and {repo} is to go there", fix=LOGIN) from error
    except HfHubHTTPError as error:
        raise _refusal(repo, error) from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise RunError(
            f"the upload to {repo} broke off: {_first_line(error)}",
            fix="run it again; what the hub already has is not sent again",
        ) from error


def _refusal(repo: str, error: HfHubHTTPError) -> RunError:
    code = error.response.status_code if error.response is not None else 0
    match code:
        case 401:
            return RunError(f"the hub does not know who asks for {repo}", fix=LOGIN)
        case 403:
            return RunError(
                f"your token may not write to {repo}",
                fix="make a token with write access on https://huggingface.co/settings/tokens, then: hf auth login",
            )
        case 404:
            return RunError(f"the hub has no place for {repo}", fix=f"check the name {repo.partition('/')[0]}")
        case _:
            return RunError(
                f"the hub refused {repo}: {_first_line(error)}",
                fix="run it again later; what the hub already has is not sent again",
            )


def _first_line(error: BaseException) -> str:
    """The first line of a message; of a RuntimeError its cause's, too, in brackets."""
    line = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return f"{line} ({_first_line(error.__cause__)})" if isinstance(error, RuntimeError) and error.__cause__ else line

"""One file for each latent, text and mask: named by what it was made of, written beside and renamed.

A file under its own name is therefore whole, whoever was killed while writing, and two who write the same entry
at once write the same thing.
"""

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux_lora.errors import RunError

LATENT, TEXT, MASK = "latent", "text", "mask"
ENDING = ".safetensors"
HALF_WRITTEN = ".partial"
DIGEST = "digest"
MEANING = "2"
"""Raise it when the same name would have to stand for other tensors."""


def entry_name(kind: str, *made_of: str) -> str:
    """The entry's name: its kind, and a digest of all that it is made of."""
    return f"{kind}-{sha256(chr(0).join((MEANING, *made_of)).encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def entry_file(folder: Path, name: str) -> Path:
    """Where the entry rests."""
    return folder / f"{name}{ENDING}"


def has_entry(folder: Path, name: str) -> bool:
    """Whether the entry is there and as long as its header says. Its numbers are not read."""
    try:
        with safe_open(entry_file(folder, name), "np"):
            return True
    except (OSError, SafetensorError):
        return False


def write_entry(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Write beside, then rename."""
    plain = {part: tensor.detach().cpu().contiguous() for part, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    half_written = folder / f"{name}.{os.getpid()}-{token_hex(4)}{HALF_WRITTEN}"
    try:
        save_file(plain, half_written, metadata={DIGEST: digest_of(plain)})
        half_written.replace(entry_file(folder, name))
    except (OSError, SafetensorError) as error:
        half_written.unlink(missing_ok=True)
        raise RunError(
            f"{entry_file(folder, name)} cannot be written: {_reason(error)}",
            fix="free some space and run it again (what is done is kept), or set run.dir to a folder on another disk",
        ) from error


def read_entry(folder: Path, name: str) -> Mapping[str, Tensor]:
    """The entry's tensors. They are pages of the file: the machine may drop and read them again as it needs memory."""
    file = entry_file(folder, name)
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{file} cannot be read: {_reason(error)}", fix="run flux-lora prepare again; it makes what is missing"
        ) from error


def problem_of(file: Path) -> str:
    """What is wrong with an entry's file, every number looked at; empty where nothing is."""
    try:
        with safe_open(file, "pt") as opened:
            written = (opened.metadata() or {}).get(DIGEST)
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        return f"cannot be read: {_reason(error)}"
    if written is None:
        return "was written by an older version, and is not read any more"
    if written != digest_of(tensors):
        return "does not hold the numbers that were written"
    return "" if all_finite(tensors) else "holds numbers that are not finite"


def all_finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether no number is infinite or not a number."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A digest of names, shapes, number formats and every byte."""
    digest = sha256()
    for part, tensor in sorted(tensors.items()):
        digest.update(f"{part}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

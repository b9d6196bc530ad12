"""Cache entries: one file for each latent, prompt embedding and mask; encoded samples read from them.

An entry is named by a digest of everything its tensors depend on, so processes that write the same one at once write
the same tensors, and a file under its own name is complete.

Shape letters: C latent channels, H W latent height and width.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import overload

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from flux_lora.atomic import HALF_WRITTEN, replacing
from flux_lora.config.choices import SourceRole
from flux_lora.errors import RunError
from flux_lora.models.family import PromptEmbeds

LATENT, TEXT, MASK, ANSWER = "latent", "text", "mask", "answer"
ENDING = ".safetensors"
DIGEST = "digest"
"""Metadata key of an entry's digest_of."""
FORMAT_VERSION = "2"
"""Part of every name. Raise it when the same name would have to stand for other tensors."""


def entry_name(kind: str, *made_of: str) -> str:
    """The entry's name: its kind, and a digest of all that its tensors depend on."""
    return f"{kind}-{sha256(chr(0).join((FORMAT_VERSION, *made_of)).encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def entry_file(folder: Path, name: str) -> Path:
    """The entry's file."""
    return folder / f"{name}{ENDING}"


def has_entry(folder: Path, name: str) -> bool:
    """Whether the entry is there and as long as its header says. Its tensors are not read."""
    try:
        with safe_open(entry_file(folder, name), "np"):
            return True
    except (OSError, SafetensorError):
        return False


def write_entry(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Write an entry whole or not at all; tensors may be on any device. RunError where the disk takes no more.

    Each process writes beside it under a name of its own, as others may write the same entry.
    """
    plain = {part: tensor.detach().cpu().contiguous() for part, tensor in tensors.items()}
    file = entry_file(folder, name)
    half_written = folder / f"{name}.{os.getpid()}-{token_hex(4)}{HALF_WRITTEN}"
    try:
        with replacing(file, half_written=half_written, sync=False) as opened:
            opened.write(save(plain, metadata={DIGEST: digest_of(plain)}))
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            half_written.unlink(missing_ok=True)
        raise RunError(
            f"{file} cannot be written: {_reason(error)}",
            fix="free some space and run it again (what is done is kept), or set run.dir to a folder on another disk",
        ) from error


def read_entry(folder: Path, name: str) -> Mapping[str, Tensor]:
    """The entry's tensors, memory-mapped: the system may drop their pages and read them again. RunError if damaged."""
    file = entry_file(folder, name)
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{file} cannot be read: {_reason(error)}", fix="run flux-lora prepare again; it makes what is missing"
        ) from error


def problem_of(file: Path) -> str:
    """What is wrong with an entry's file, after reading all of it; empty where nothing is."""
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
    """Whether no value is infinite or NaN."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of the names, shapes, dtypes and bytes of tensors on the CPU."""
    digest = sha256()
    for part, tensor in sorted(tensors.items()):
        digest.update(f"{part}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


OPEN_SAMPLES = 256
"""Samples that a dataset keeps open. They are memory-mapped, so the system may drop their pages."""


@dataclass(frozen=True)
class EncodedSample:
    """A sample after the VAE and the text encoders."""

    latent: Tensor  # CHW, the mean of the VAE's latent distribution
    std: Tensor  # CHW, its standard deviation
    prompt_embeds: tuple[PromptEmbeds, ...]  # one for each caption, each a batch of one
    class_prompt_embeds: tuple[PromptEmbeds, ...]  # the same captions without the trigger
    mask: Tensor | None = None  # 1HW in [0, 1], the weights of the loss; None where all are 1
    role: SourceRole = SourceRole.subject
    references: tuple[Tensor, ...] = ()  # each CHW, of any size: the mean latents of the images that it is made from


@dataclass(frozen=True, slots=True)
class EntryNames:
    """The names of a sample's entries in the cache. A run's manifest holds them, and prune spares what they name."""

    latent: str
    texts: tuple[str, ...]
    """Prompt embeds, one for each caption."""
    plains: tuple[str, ...]
    """Prompt embeds of the same captions without the trigger."""
    mask: str = ""
    """Empty where all weights are 1."""
    role: SourceRole = SourceRole.subject
    references: tuple[str, ...] = ()
    """Latents of the images that it is made from."""


class EncodedDataset(Sequence[EncodedSample]):
    """Encoded samples as a sequence, read lazily."""

    def __init__(self, folder: Path, keys: Sequence[EntryNames]) -> None:
        """Samples with these entries in the cache of `folder`."""
        self.keys = tuple(keys)
        self.folder = folder
        self._opened = lru_cache(maxsize=OPEN_SAMPLES)(self._open)

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, number: int) -> EncodedSample: ...
    @overload
    def __getitem__(self, number: slice) -> "EncodedDataset": ...
    def __getitem__(self, number: int | slice) -> "EncodedSample | EncodedDataset":
        if isinstance(number, slice):
            return EncodedDataset(self.folder, self.keys[number])
        return self._opened(self.keys[number])

    def windows(self) -> tuple[tuple[int, ...], ...]:
        """Tokens of each sample's prompt embeds, caption by caption, padding among them. No latent is opened."""
        names = {name for keys in self.keys for name in keys.texts}
        known = {name: read_prompt_embeds(self.folder, name).window for name in names}
        return tuple(tuple(known[name] for name in keys.texts) for keys in self.keys)

    def traits(self) -> tuple[tuple[int, ...], ...]:
        """What two samples must have in common to share a batch, beside a bucket; see traits_of."""
        sizes = {name: self._size(name) for keys in self.keys for name in keys.references}
        references = [[sizes[name] for name in keys.references] for keys in self.keys]
        return tuple(traits_of(*each) for each in zip(self.windows(), references, strict=True))

    def _size(self, latent: str) -> tuple[int, ...]:
        return tuple(read_entry(self.folder, latent)["latent"].shape[-2:])

    def _open(self, keys: EntryNames) -> EncodedSample:
        image = read_entry(self.folder, keys.latent)
        return EncodedSample(
            latent=image["latent"],
            std=image["spread"],
            prompt_embeds=tuple(read_prompt_embeds(self.folder, name) for name in keys.texts),
            class_prompt_embeds=tuple(read_prompt_embeds(self.folder, name) for name in keys.plains),
            mask=read_entry(self.folder, keys.mask)["mask"] if keys.mask else None,
            role=keys.role,
            references=tuple(read_entry(self.folder, name)["latent"] for name in keys.references),
        )


def traits_of(windows: Sequence[int], references: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The windows of a sample's captions in tokens; behind a 0 the heights and widths of its references, if any."""
    sides = [side for each in references for side in each]
    return (*windows, 0, *sides) if sides else tuple(windows)


def read_prompt_embeds(folder: Path, name: str) -> PromptEmbeds:
    """Prompt embeds of one caption, a batch of one."""
    return PromptEmbeds(read_entry(folder, name))

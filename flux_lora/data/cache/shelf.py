"""Encoded samples in order, read from the cache when they are asked for, so that memory does not grow with the set.

Shape letters: C latent channels, H W latent height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import overload

from torch import Tensor

from flux_lora.config.choices import SourceRole
from flux_lora.data.cache.entries import read_entry
from flux_lora.models.family import PromptEmbeds

AT_HAND = 256
"""Samples that are kept open. Their pages are the file's own, which the machine may drop."""


@dataclass(frozen=True)
class EncodedSample:
    """A sample after the VAE and the text encoders."""

    latent: Tensor  # CHW, the mean of what the VAE takes the picture for
    std: Tensor  # CHW, how far around the mean it may lie; 0 is as good as certain
    prompt_embeds: tuple[PromptEmbeds, ...]  # one for each caption, each a batch of one
    class_prompt_embeds: tuple[PromptEmbeds, ...]  # the same captions without the trigger
    mask: Tensor | None = None  # 1HW in [0, 1]: how much each place counts; None where all of it does
    role: SourceRole = SourceRole.subject


@dataclass(frozen=True, slots=True)
class EntryNames:
    """The names of a sample's entries in the cache. A run's manifest holds them, and prune spares what they name."""

    latent: str
    texts: tuple[str, ...]
    plains: tuple[str, ...]
    mask: str = ""
    role: SourceRole = SourceRole.subject


class EncodedDataset(Sequence[EncodedSample]):
    """Encoded samples as a sequence. Nothing is read before it is asked for."""

    def __init__(self, folder: Path, keys: Sequence[EntryNames]) -> None:
        """Of the cache in `folder`."""
        self.keys = tuple(keys)
        self._folder = folder
        self._at_hand = lru_cache(maxsize=AT_HAND)(self._opened)

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, number: int) -> EncodedSample: ...
    @overload
    def __getitem__(self, number: slice) -> "EncodedDataset": ...
    def __getitem__(self, number: int | slice) -> "EncodedSample | EncodedDataset":
        if isinstance(number, slice):
            return EncodedDataset(self._folder, self.keys[number])
        return self._at_hand(self.keys[number])

    def _opened(self, keys: EntryNames) -> EncodedSample:
        picture = read_entry(self._folder, keys.latent)
        return EncodedSample(
            latent=picture["latent"],
            std=picture["spread"],
            prompt_embeds=tuple(read_prompt_embeds(self._folder, name) for name in keys.texts),
            class_prompt_embeds=tuple(read_prompt_embeds(self._folder, name) for name in keys.plains),
            mask=read_entry(self._folder, keys.mask)["mask"] if keys.mask else None,
            role=keys.role,
        )


def read_prompt_embeds(folder: Path, name: str) -> PromptEmbeds:
    """One caption's text, a batch of one."""
    found = read_entry(folder, name)
    return PromptEmbeds(t5=found["t5"], pooled=found["pooled"])

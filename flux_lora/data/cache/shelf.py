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
from flux_lora.models.family import Text

AT_HAND = 256
"""Samples that are kept open. Their pages are the file's own, which the machine may drop."""


@dataclass(frozen=True)
class Encoded:
    """A sample after the VAE and the text encoders."""

    latent: Tensor  # CHW, the mean of what the VAE takes the picture for
    spread: Tensor  # CHW, how far around the mean it may lie; 0 is as good as certain
    texts: tuple[Text, ...]  # one for each caption, each a batch of one
    plains: tuple[Text, ...]  # the same captions without the trigger
    mask: Tensor | None = None  # 1HW in [0, 1]: how much each place counts; None where all of it does
    role: SourceRole = SourceRole.subject


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of a sample's entries in the cache. A run's manifest holds them, and prune spares what they name."""

    latent: str
    texts: tuple[str, ...]
    plains: tuple[str, ...]
    mask: str = ""
    role: SourceRole = SourceRole.subject


class Shelf(Sequence[Encoded]):
    """Encoded samples as a sequence. Nothing is read before it is asked for."""

    def __init__(self, folder: Path, keys: Sequence[Keys]) -> None:
        """Of the cache in `folder`."""
        self.keys = tuple(keys)
        self._folder = folder
        self._at_hand = lru_cache(maxsize=AT_HAND)(self._opened)

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, number: int) -> Encoded: ...
    @overload
    def __getitem__(self, number: slice) -> "Shelf": ...
    def __getitem__(self, number: int | slice) -> "Encoded | Shelf":
        if isinstance(number, slice):
            return Shelf(self._folder, self.keys[number])
        return self._at_hand(self.keys[number])

    def _opened(self, keys: Keys) -> Encoded:
        picture = read_entry(self._folder, keys.latent)
        return Encoded(
            latent=picture["latent"],
            spread=picture["spread"],
            texts=tuple(read_text(self._folder, name) for name in keys.texts),
            plains=tuple(read_text(self._folder, name) for name in keys.plains),
            mask=read_entry(self._folder, keys.mask)["mask"] if keys.mask else None,
            role=keys.role,
        )


def read_text(folder: Path, name: str) -> Text:
    """One caption's text, a batch of one."""
    found = read_entry(folder, name)
    return Text(t5=found["t5"], pooled=found["pooled"])

"""Make what the cache lacks: captions first, then pictures, so that never more than one kind of encoder is in memory.

Each entry is written as soon as it is made: whoever stops this loses at most one, and the next run goes on from there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from flux_lora.config.choices import AlphaPolicy, MaskMode
from flux_lora.data.cache.entries import LATENT, MASK, TEXT, all_finite, entry_name, has_entry, write_entry
from flux_lora.data.cache.glances import IndexEntry, add_index_entry, read_index, signature
from flux_lora.data.cache.shelf import EncodedDataset, EntryNames, read_prompt_embeds
from flux_lora.data.cache.sight import preprocess
from flux_lora.data.cache.stages import StageProfile, profiled
from flux_lora.data.pictures.pixels import to_pixels
from flux_lora.data.planning.plan import Prepared
from flux_lora.data.told import Progress, no_progress
from flux_lora.errors import DataError
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.posterior import LatentDistribution

Item = TypeVar("Item")
EncodeImage = Callable[[Tensor], LatentDistribution]
"""pixels BCHW in [-1, 1] -> latents BCHW"""


@dataclass(frozen=True)
class Encoders:
    """Who turns pictures and captions into tensors. Each is opened only if the cache lacks something."""

    image_fingerprint: str
    """Fingerprint: changes whenever the same pixels would become other latents."""
    open_image_encoder: Callable[[], EncodeImage]
    caption_fingerprint: str
    """Fingerprint: changes whenever the same caption would become another text; its length in tokens is part of it."""
    open_caption_encoder: Callable[[], Callable[[str], PromptEmbeds]]
    """() -> (caption -> text, a batch of one)"""


@dataclass(frozen=True)
class EncodeOptions:
    """What is made of a sample, and what else should be at hand."""

    alpha: AlphaPolicy = AlphaPolicy.composite
    masks: MaskMode = MaskMode.auto
    plain: Callable[[str], str] = str
    """Takes the trigger out of a caption; without it the plain captions are the captions."""
    words: tuple[str, ...] = ()
    """More to read while the text encoders are open: the empty caption, prompts."""


@dataclass(frozen=True)
class ProcessShare:
    """One process's part of the work. Nobody waits: the parts are told apart by number alone."""

    rank: int
    world_size: int

    def of(self, work: Sequence[Item]) -> Sequence[Item]:
        """Every world-th piece, from number rank on."""
        return work[self.rank :: self.world_size]


@dataclass(frozen=True)
class EncodeResult:
    """Every sample encoded, in order, and what that took."""

    encoded: EncodedDataset
    stages: tuple[StageProfile, ...]
    words: tuple[str, ...]
    """Names of the entries of the extra words. A manifest that does not hold them lets prune take them away."""


def encode_all(
    prepared: Sequence[Prepared],
    encoders: Encoders,
    folder: Path,
    *,
    wanted: EncodeOptions | None = None,
    progress: Progress = no_progress,
) -> EncodeResult:
    """Make what is missing, and open the rest. The encoders are gone from memory when this returns."""
    asked = wanted or EncodeOptions()
    glances, stages = _both(prepared, _texts_of(prepared, asked), encoders, folder, asked, progress)
    keys = [_keys(*each, encoders, asked) for each in zip(prepared, glances, strict=True)]
    words = tuple(entry_name(TEXT, encoders.caption_fingerprint, word) for word in asked.words)
    return EncodeResult(EncodedDataset(folder, keys), stages, words)


def encode_share(
    prepared: Sequence[Prepared],
    encoders: Encoders,
    folder: Path,
    share: ProcessShare,
    *,
    wanted: EncodeOptions | None = None,
    progress: Progress = no_progress,
) -> tuple[StageProfile, ...]:
    """Make this process's part of what is missing. When all have done theirs, encode_all finds everything there."""
    asked = wanted or EncodeOptions()
    return _both(share.of(prepared), share.of(_texts_of(prepared, asked)), encoders, folder, asked, progress)[1]


def encode_captions(
    captions: Sequence[str], encoders: Encoders, folder: Path, *, progress: Progress = no_progress
) -> list[PromptEmbeds]:
    """The text of each caption, in order. Prompts and the empty caption go the same way."""
    _make_texts(captions, encoders, folder, progress)
    return [read_prompt_embeds(folder, entry_name(TEXT, encoders.caption_fingerprint, caption)) for caption in captions]


def _both(
    prepared: Sequence[Prepared],
    captions: Sequence[str],
    encoders: Encoders,
    folder: Path,
    wanted: EncodeOptions,
    progress: Progress,
) -> tuple[list[IndexEntry], tuple[StageProfile, ...]]:
    _, reading = profiled("captions", lambda: _make_texts(captions, encoders, folder, progress))
    glances, seeing = profiled("pictures", lambda: _make_latents(prepared, encoders, folder, wanted, progress))
    return glances, (reading, seeing)


def _make_texts(captions: Sequence[str], encoders: Encoders, folder: Path, progress: Progress) -> None:
    """Each missing caption is read once, however often it is asked for."""
    names = {caption: entry_name(TEXT, encoders.caption_fingerprint, caption) for caption in captions}
    missing = [caption for caption, name in names.items() if not has_entry(folder, name)]
    opened = cache(encoders.open_caption_encoder)
    for done, caption in enumerate(missing, start=1):
        text = opened()(caption)
        tensors = {"t5": text.t5, "pooled": text.pooled}
        if not all_finite(tensors):
            raise DataError(
                f"the text encoders answer {caption!r} with numbers that are not finite",
                fix="set hardware.dtype=fp32; if that does not help, fetch the model again",
            )
        write_entry(folder, names[caption], tensors)
        progress(done, len(missing), caption)
    opened.cache_clear()


def _make_latents(
    prepared: Sequence[Prepared], encoders: Encoders, folder: Path, wanted: EncodeOptions, progress: Progress
) -> list[IndexEntry]:
    """What each picture came to. Only those that have changed since they were last looked at are decoded."""
    known = read_index(folder)
    signatures = [_signature(one, encoders, wanted) for one in prepared]
    glances = [known.get(each) for each in signatures]
    missing = [number for number, glance in enumerate(glances) if glance is None or not _at_hand(folder, glance)]
    opened = cache(encoders.open_image_encoder)
    for done, number in enumerate(missing, start=1):
        glances[number] = glance = _looked_at(prepared[number], encoders.image_fingerprint, opened, folder, wanted)
        if signatures[number]:
            add_index_entry(folder, signatures[number], glance)
        progress(done, len(missing), prepared[number].sample.image.name)
    opened.cache_clear()
    return [glance for glance in glances if glance is not None]


def _looked_at(
    one: Prepared, fingerprint: str, opened: Callable[[], EncodeImage], folder: Path, wanted: EncodeOptions
) -> IndexEntry:
    """Decode a picture; encode it if nothing with the same pixels is there."""
    sight = preprocess(one, wanted.alpha, wanted.masks)
    latent = entry_name(LATENT, fingerprint, sight.pixels_digest)
    if not has_entry(folder, latent):
        posterior = opened()(to_pixels(sight.picture)[None])
        tensors = {"latent": posterior.mean[0], "spread": posterior.std[0]}
        if not all_finite(tensors):
            raise DataError(
                f"{one.sample.image} becomes numbers that are not finite in the VAE",
                fix="save the picture again; if others do the same, fetch the model again: its vae is damaged",
            )
        write_entry(folder, latent, tensors)
    if sight.weights is None:
        return IndexEntry(latent)
    mask = entry_name(MASK, sight.weights_digest)
    if not has_entry(folder, mask):
        write_entry(folder, mask, {"mask": torch.from_numpy(sight.weights)[None]})
    return IndexEntry(latent, mask)


def _signature(one: Prepared, encoders: Encoders, wanted: EncodeOptions) -> str:
    mask = one.sample.mask if wanted.masks is MaskMode.auto else None
    files = [one.sample.image, *([mask] if mask else [])]
    return signature(files, one.box, one.bucket, wanted.alpha.value, wanted.masks.value, encoders.image_fingerprint)


def _at_hand(folder: Path, glance: IndexEntry) -> bool:
    return has_entry(folder, glance.latent) and (not glance.mask or has_entry(folder, glance.mask))


def _texts_of(prepared: Sequence[Prepared], wanted: EncodeOptions) -> list[str]:
    """Every text that the samples need, each once: extra words, captions, plain captions."""
    captions = [caption for one in prepared for caption in _captions(one)]
    return list(dict.fromkeys((*wanted.words, *captions, *map(wanted.plain, captions))))


def _captions(one: Prepared) -> tuple[str, ...]:
    """A picture without a caption is shown with the empty one."""
    return one.sample.captions or ("",)


def _keys(one: Prepared, glance: IndexEntry, encoders: Encoders, wanted: EncodeOptions) -> EntryNames:
    captions = _captions(one)
    return EntryNames(
        latent=glance.latent,
        texts=tuple(entry_name(TEXT, encoders.caption_fingerprint, caption) for caption in captions),
        plains=tuple(entry_name(TEXT, encoders.caption_fingerprint, wanted.plain(caption)) for caption in captions),
        mask=glance.mask,
        role=one.sample.role,
    )

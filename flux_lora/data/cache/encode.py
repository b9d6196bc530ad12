"""Encode what the cache lacks: captions first, then images, so that never more than one kind of encoder is in memory.

Each entry is written as soon as it is made: whoever stops this loses at most one, and the next run goes on from there.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image

from flux_lora.config.choices import AlphaPolicy, MaskMode
from flux_lora.data.bucketing.plan import Prepared
from flux_lora.data.cache.entries import (
    LATENT,
    MASK,
    TEXT,
    EncodedDataset,
    EntryNames,
    all_finite,
    entry_name,
    has_entry,
    read_prompt_embeds,
    write_entry,
)
from flux_lora.data.cache.index import IndexEntry, add_index_entry, read_index, signature
from flux_lora.data.cache.preprocess import digest_of_pixels, preprocess, preprocess_references, to_pixels
from flux_lora.data.progress import Progress, no_progress
from flux_lora.distributed.processes import ProcessShare
from flux_lora.errors import DataError
from flux_lora.models.family import EncodeImage, Encoders, PromptEmbeds

Result = TypeVar("Result")
OWN_STATUS = Path("/proc/self/status")
FORGET_PEAK = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class StageProfile:
    """What one stage took."""

    name: str
    seconds: float
    peak_bytes: int
    """Of this process, pages of read files among it. On other systems than Linux: since the process began."""
    gpu_bytes: int = 0
    """Peak of what torch held on the GPU."""


def profiled(name: str, work: Callable[[], Result]) -> tuple[Result, StageProfile]:
    """Do the work, and say what it took."""
    _forget_peak()
    began = time.perf_counter()
    result = work()
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return result, StageProfile(name, time.perf_counter() - began, peak_bytes(), gpu)


def peak_bytes() -> int:
    """The most memory that this process held since the peak was last forgotten; 0 where the machine does not say."""
    if OWN_STATUS.is_file():
        found = [line.split()[1] for line in OWN_STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(found[0]) * 1024 if found else 0
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        FORGET_PEAK.write_text("5")
    except OSError:
        return


@dataclass(frozen=True)
class EncodeOptions:
    """How images and captions are preprocessed, and which prompts are encoded beside them."""

    alpha: AlphaPolicy = AlphaPolicy.composite
    masks: MaskMode = MaskMode.auto
    plain: Callable[[str], str] = str
    """Takes the trigger out of a caption; by default nothing is taken out."""
    words: tuple[str, ...] = ()
    """More to encode while the text encoders are open: the empty caption, prompts."""
    pixels_per_token: int = 16
    """Pixels per side of one image token: references of a shape of their own are whole tokens."""


@dataclass(frozen=True)
class EncodeResult:
    """Every sample encoded, in order, and what that took."""

    encoded: EncodedDataset
    stages: tuple[StageProfile, ...]
    words: tuple[str, ...]
    """Names of the entries of the extra words. A manifest that does not hold them lets prune take them away."""

    def split(self, count: int) -> "tuple[EncodeResult, EncodedDataset]":
        """The first samples, and the others, whose entries are then among the extra names."""
        first, others = self.encoded[:count], self.encoded[count:]
        images = [name for keys in others.keys for name in (keys.latent, keys.mask, *keys.references) if name]
        texts = [name for keys in others.keys for name in (*keys.texts, *keys.plains)]
        return replace(self, encoded=first, words=(*self.words, *images, *texts)), others


def encode_all(
    prepared: Sequence[Prepared],
    encoders: Encoders,
    folder: Path,
    *,
    wanted: EncodeOptions | None = None,
    progress: Progress = no_progress,
) -> EncodeResult:
    """Make what is missing, and open the rest. The encoders are gone from memory when this returns."""
    options = wanted or EncodeOptions()
    entries, stages = _encode(prepared, _texts_of(prepared, options), encoders, folder, options, progress)
    keys = [_keys(*each, encoders, options) for each in zip(prepared, entries, strict=True)]
    words = tuple(entry_name(TEXT, encoders.caption_fingerprint, word) for word in options.words)
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
    options = wanted or EncodeOptions()
    return _encode(share.of(prepared), share.of(_texts_of(prepared, options)), encoders, folder, options, progress)[1]


def encode_captions(
    captions: Sequence[str], encoders: Encoders, folder: Path, *, progress: Progress = no_progress
) -> list[PromptEmbeds]:
    """The text of each caption, in order. Prompts and the empty caption go the same way."""
    _make_texts(captions, encoders, folder, progress)
    return [read_prompt_embeds(folder, entry_name(TEXT, encoders.caption_fingerprint, caption)) for caption in captions]


def _encode(
    prepared: Sequence[Prepared],
    captions: Sequence[str],
    encoders: Encoders,
    folder: Path,
    wanted: EncodeOptions,
    progress: Progress,
) -> tuple[list[IndexEntry], tuple[StageProfile, ...]]:
    _, captions_profile = profiled("captions", lambda: _make_texts(captions, encoders, folder, progress))
    entries, images_profile = profiled("pictures", lambda: _make_latents(prepared, encoders, folder, wanted, progress))
    return entries, (captions_profile, images_profile)


def _make_texts(captions: Sequence[str], encoders: Encoders, folder: Path, progress: Progress) -> None:
    """Each missing caption is read once, however often it is asked for."""
    names = {caption: entry_name(TEXT, encoders.caption_fingerprint, caption) for caption in captions}
    missing = [caption for caption, name in names.items() if not has_entry(folder, name)]
    open_once = cache(encoders.open_caption_encoder)
    for done, caption in enumerate(missing, start=1):
        tensors = open_once()(caption).tensors
        if not all_finite(tensors):
            raise DataError(
                f"the text encoders answer {caption!r} with numbers that are not finite",
                fix="set hardware.dtype=fp32; if that does not help, fetch the model again",
            )
        write_entry(folder, names[caption], tensors)
        progress(done, len(missing), caption)
    open_once.cache_clear()


def _make_latents(
    prepared: Sequence[Prepared], encoders: Encoders, folder: Path, wanted: EncodeOptions, progress: Progress
) -> list[IndexEntry]:
    """The cache entries of each image. Only images that changed since they were last decoded are decoded again."""
    known = read_index(folder)
    signatures = [_signature(one, encoders, wanted) for one in prepared]
    entries = [known.get(each) for each in signatures]
    missing = [number for number, entry in enumerate(entries) if entry is None or not _at_hand(folder, entry)]
    open_once = cache(encoders.open_image_encoder)
    for done, number in enumerate(missing, start=1):
        entries[number] = entry = _encode_image(prepared[number], encoders, open_once, folder, wanted)
        if signatures[number]:
            add_index_entry(folder, signatures[number], entry)
        progress(done, len(missing), prepared[number].sample.image.name)
    open_once.cache_clear()
    return [entry for entry in entries if entry is not None]


def _encode_image(
    one: Prepared, encoders: Encoders, open_once: Callable[[], EncodeImage], folder: Path, wanted: EncodeOptions
) -> IndexEntry:
    """Decode an image; encode it if nothing with the same pixels is there."""
    preprocessed = preprocess(one, wanted.alpha, wanted.masks, encoders.pixels_per_latent)
    references = preprocess_references(one, wanted.alpha, wanted.pixels_per_token)
    latent, *before = [
        _latent_entry(image, file, encoders, open_once, folder)
        for image, file in zip(
            (preprocessed.image, *references), (one.sample.image, *one.sample.references), strict=True
        )
    ]
    if preprocessed.weights is None:
        return IndexEntry(latent, references=tuple(before))
    mask = entry_name(MASK, preprocessed.weights_digest)
    if not has_entry(folder, mask):
        write_entry(folder, mask, {"mask": torch.from_numpy(preprocessed.weights)[None]})
    return IndexEntry(latent, mask, tuple(before))


def _latent_entry(
    image: Image.Image, file: Path, encoders: Encoders, open_once: Callable[[], EncodeImage], folder: Path
) -> str:
    """The name of the image's latents, which are made if nothing with the same pixels is there."""
    name = entry_name(LATENT, encoders.image_fingerprint, digest_of_pixels(image))
    if has_entry(folder, name):
        return name
    distribution = open_once()(to_pixels(image)[None])
    tensors = {"latent": distribution.mean[0], "spread": distribution.std[0]}
    if not all_finite(tensors):
        raise DataError(
            f"{file} becomes numbers that are not finite in the VAE",
            fix="save the image again; if others do the same, fetch the model again: its vae is damaged",
        )
    write_entry(folder, name, tensors)
    return name


def _signature(one: Prepared, encoders: Encoders, wanted: EncodeOptions) -> str:
    mask = one.sample.mask if wanted.masks is MaskMode.auto else None
    files = [one.sample.image, *([mask] if mask else []), *one.sample.references]
    return signature(files, one.box, one.bucket, wanted.alpha.value, wanted.masks.value, encoders.image_fingerprint)


def _at_hand(folder: Path, entry: IndexEntry) -> bool:
    return all(has_entry(folder, name) for name in entry.names)


def _texts_of(prepared: Sequence[Prepared], wanted: EncodeOptions) -> list[str]:
    """Every text that the samples need, each once: extra words, captions, plain captions."""
    captions = [caption for one in prepared for caption in _captions(one)]
    return list(dict.fromkeys((*wanted.words, *captions, *map(wanted.plain, captions))))


def _captions(one: Prepared) -> tuple[str, ...]:
    """An image without a caption is trained with the empty one."""
    return one.sample.captions or ("",)


def _keys(one: Prepared, entry: IndexEntry, encoders: Encoders, wanted: EncodeOptions) -> EntryNames:
    captions = _captions(one)
    return EntryNames(
        latent=entry.latent,
        texts=tuple(entry_name(TEXT, encoders.caption_fingerprint, caption) for caption in captions),
        plains=tuple(entry_name(TEXT, encoders.caption_fingerprint, wanted.plain(caption)) for caption in captions),
        mask=entry.mask,
        role=one.sample.role,
        references=entry.references,
    )

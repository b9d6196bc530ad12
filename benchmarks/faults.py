"""The detectors of artefacts and of copies on real photographs: hits and false alarms.

    python -m benchmarks.faults

A photograph stands for what the base drew, and a changed one for what the LoRA drew of the same prompt and seed. What a
harmless change does (another exposure, another crop, JPEG) is a false alarm; what a spoiled adapter does is a hit. The
photographs are scikit-image's, as in benchmarks/photographs.py: few and small. The bounds were not set on them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.photographs import ALL, Change, cropped, exposed, jpeg, photograph
from flux_lora.evaluate.artefacts import NAMES, artefacts, measure_artefacts
from flux_lora.evaluate.features import centred_on, colour_tokens
from flux_lora.evaluate.identity import layout_similarity
from flux_lora.evaluate.scores import COPY

SIDE, TOKEN = 512, 16
"""Pixels of the pictures, and of an image token of FLUX."""


def main() -> None:
    """Print both tables."""
    photographs = [_square(photograph(name)) for name in ALL]
    print("| done to a photograph | called an artefact | as |")
    print("| --- | ---: | --- |")
    before = measure_artefacts(photographs, TOKEN)
    for kind, changes in (("harmless", HARMLESS), ("fault", FAULTS)):
        for name, change in changes.items():
            found = artefacts(measure_artefacts([_square(change(each)) for each in photographs], TOKEN), before)
            kinds = ", ".join(
                f"{label} {count}" for label, count in zip(NAMES, found.sum(axis=0), strict=True) if count
            )
            print(f"| {kind}: {name} | {found.any(axis=1).sum()} / {len(photographs)} | {kinds} |")
    print()
    _copies(photographs)


def _copies(photographs: Sequence[Image.Image]) -> None:
    features = centred_on(photographs, (colour_tokens,))
    known = features(photographs).tokens
    among = layout_similarity(known, known)
    level = float(among[~np.eye(len(known), dtype=bool)].max())
    bound = level + COPY * (1 - level)
    print(f"Most that two different photographs are alike: {level:.2f}; called a copy from {bound:.2f}.\n")
    print("| done to a photograph | called a copy |")
    print("| --- | ---: |")
    for kind, changes in (("a copy", COPIES), ("no copy", OTHERS)):
        for name, change in changes.items():
            changed = features([_square(change(each)) for each in photographs]).tokens
            found = layout_similarity(changed, known).amax(dim=1) > bound
            print(f"| {kind}: {name} | {int(found.sum())} / {len(found)} |")


def _square(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _with_grid(image: Image.Image) -> Image.Image:
    """Every image token brighter at its edge, as overdriven adapters draw."""
    pixels = np.asarray(_square(image), np.float32)
    edge = np.arange(SIDE) % TOKEN < 2
    return _image(pixels + 24 * (edge[:, None] | edge[None, :])[..., None])


def _noisy(image: Image.Image) -> Image.Image:
    pixels = np.asarray(_square(image), np.float32)
    return _image(pixels + np.random.default_rng(0).normal(0, 40, pixels.shape))


def _blown(image: Image.Image) -> Image.Image:
    pixels = np.asarray(_square(image), np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    return _image(grey + 5 * (pixels - grey) + np.array([60, -40, 30]))


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


HARMLESS: Mapping[str, Change] = {
    "JPEG 85": jpeg(85),
    "half a stop more light": exposed(2**0.5),
    "half a stop less": exposed(0.5**0.5),
    "a tenth cut away at two sides": cropped(0.1, 0.1, 0, 0),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}
FAULTS: Mapping[str, Change] = {
    "grid of the token's period": _with_grid,
    "noise, sigma 40": _noisy,
    "blur, 6 px": lambda image: _square(image).filter(ImageFilter.GaussianBlur(6)),
    "blown colours": _blown,
    "nothing but grey": lambda image: Image.new("RGB", image.size, (120, 118, 116)),
}
COPIES: Mapping[str, Change] = {
    "as it is": _square,
    "JPEG 40": jpeg(40),
    "a little softer": lambda image: _square(image).filter(ImageFilter.GaussianBlur(2)),
    "a fifth of a stop more light": exposed(2**0.2),
    "2 % cut away": cropped(0.02, 0, 0, 0.02),
}
OTHERS: Mapping[str, Change] = {
    "mirrored": HARMLESS["mirrored"],
    "upside down": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "the middle half": cropped(0.25, 0.25, 0.25, 0.25),
    "in other colours": lambda image: Image.merge("RGB", image.convert("RGB").split()[::-1]),
}


if __name__ == "__main__":
    main()

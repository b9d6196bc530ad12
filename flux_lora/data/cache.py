"""Encode each picture and caption once. A cache file is named by everything that changes its contents,
so there is no "clear cache" knob and no stale read.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.decode import fit, open_image, to_pixels
from flux_lora.data.plan import Prepared
from flux_lora.models.family import Text

Told = Callable[[str], None]
"""Hears the name of a picture, or a caption, each time one is encoded rather than read from the cache."""


def _nobody(_: str) -> None:
    """Hears and does nothing."""


@dataclass(frozen=True)
class Encoded:
    """A sample after the VAE and the text encoders."""

    latent: Tensor  # CHW
    text: Text  # a batch of one
    plain: Text  # the caption without its trigger, a batch of one


@dataclass(frozen=True)
class Encoders:
    """Who turns pictures and captions into tensors. Each is opened only if the cache lacks something."""

    pictures: str
    """Fingerprint: changes whenever the same pixels would become other latents."""
    open_pictures: Callable[[], Callable[[Tensor], Tensor]]
    """() -> (pixels BCHW in [-1, 1] -> latents BCHW)"""
    captions: str
    """Fingerprint: changes whenever the same caption would become another text."""
    open_captions: Callable[[], Callable[[str], Text]]
    """() -> (caption -> text, a batch of one)"""


def encode_all(
    prepared: Sequence[Prepared],
    encoders: Encoders,
    folder: Path,
    *,
    plain: Callable[[str], str] = str,
    alpha: AlphaPolicy = AlphaPolicy.composite,
    told: Told = _nobody,
) -> list[Encoded]:
    """Every sample encoded, in order. The encoders are gone from memory when this returns.

    `plain` takes the trigger out of a caption; without it the plain captions are the captions.
    """
    captions = [one.sample.caption for one in prepared]
    texts = encode_captions([*captions, *map(plain, captions)], encoders, folder, told=told)
    latents = encode_pictures(prepared, encoders, folder, alpha=alpha, told=told)
    said, unsaid = texts[: len(captions)], texts[len(captions) :]
    return [Encoded(latent, text, without) for latent, text, without in zip(latents, said, unsaid, strict=True)]


def encode_pictures(
    prepared: Sequence[Prepared],
    encoders: Encoders,
    folder: Path,
    *,
    alpha: AlphaPolicy = AlphaPolicy.composite,
    told: Told = _nobody,
) -> list[Tensor]:
    """The latent of each sample, CHW, in order."""
    opened = cache(encoders.open_pictures)

    def latent(one: Prepared) -> Tensor:
        picture = fit(open_image(one.sample.image, alpha), one.bucket)
        seen = f"{encoders.pictures}|{picture.width}x{picture.height}|".encode() + picture.tobytes()

        def make() -> Mapping[str, Tensor]:
            told(one.sample.image.name)
            return {"latent": opened()(to_pixels(picture)[None])[0]}

        return _kept(_file(folder, "latent", seen), make)["latent"]

    latents = [latent(one) for one in prepared]
    opened.cache_clear()
    return latents


def encode_captions(captions: Sequence[str], encoders: Encoders, folder: Path, *, told: Told = _nobody) -> list[Text]:
    """The text of each caption, in order. Prompts and the empty caption go the same way."""
    opened = cache(encoders.open_captions)

    def text(caption: str) -> Text:
        def make() -> Mapping[str, Tensor]:
            told(caption)
            made = opened()(caption)
            return {"t5": made.t5, "pooled": made.pooled}

        found = _kept(_file(folder, "text", f"{encoders.captions}|{caption}".encode()), make)
        return Text(t5=found["t5"], pooled=found["pooled"])

    texts = [text(caption) for caption in captions]
    opened.cache_clear()
    return texts


def _file(folder: Path, kind: str, seen: bytes) -> Path:
    return folder / f"{kind}-{sha256(seen).hexdigest()[:32]}.safetensors"


def _kept(file: Path, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """What the file holds, made and written first if it is not there or a dying disk has damaged it."""
    if file.is_file():
        try:
            return load_file(file)
        except SafetensorError:
            file.unlink()
    made = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    half_written = file.with_suffix(".partial")
    save_file(made, half_written)
    half_written.rename(file)
    return made

"""FLUX.1's own VAE and text encoders, as the cache wants them."""

from collections.abc import Callable
from hashlib import sha256

import torch

from flux_lora.data.cache import Encoders, See
from flux_lora.models.family import Text
from flux_lora.models.fingerprint import fingerprint
from flux_lora.models.flux1.latents import posterior_of
from flux_lora.models.flux1.load import TEXT_PARTS, load_text_encoders, load_vae
from flux_lora.models.flux1.places import part_folder
from flux_lora.models.flux1.text import encode_text


def flux1_encoders(
    path: str, *, tokens: int, device: torch.device, text_dtype: torch.dtype, revision: str = ""
) -> Encoders:
    """Encoders of the pipeline at `path`; nothing is loaded yet. The VAE always works in float32."""

    def open_pictures() -> See:
        vae = load_vae(path, device=device, revision=revision)
        return lambda pixels: posterior_of(vae, pixels)

    def open_captions() -> Callable[[str], Text]:
        readers = load_text_encoders(path, text_dtype, device=device, revision=revision)
        return lambda caption: encode_text(readers, [caption], tokens)

    weights = "".join(fingerprint(part_folder(path, part, revision)) for part in TEXT_PARTS)
    return Encoders(
        pictures=fingerprint(part_folder(path, "vae", revision)),
        open_pictures=open_pictures,
        captions=sha256(f"{weights}|{tokens}|{text_dtype}".encode()).hexdigest(),
        open_captions=open_captions,
    )

"""FLUX.1's own VAE and text encoders, as the cache wants them."""

from collections.abc import Callable
from hashlib import sha256

import torch

from flux_lora.data.cache import EncodeImage, Encoders
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.fingerprint import fingerprint
from flux_lora.models.flux1.latents import latent_distribution
from flux_lora.models.flux1.load import TEXT_PARTS, load_text_encoders, load_vae
from flux_lora.models.flux1.places import part_folder
from flux_lora.models.flux1.text import encode_text


def flux1_encoders(
    path: str, *, tokens: int, device: torch.device, text_dtype: torch.dtype, revision: str = ""
) -> Encoders:
    """Encoders of the pipeline at `path`; nothing is loaded yet. The VAE always works in float32."""

    def open_pictures() -> EncodeImage:
        vae = load_vae(path, device=device, revision=revision)
        return lambda pixels: latent_distribution(vae, pixels)

    def open_captions() -> Callable[[str], PromptEmbeds]:
        readers = load_text_encoders(path, text_dtype, device=device, revision=revision)
        return lambda caption: encode_text(readers, [caption], tokens)

    weights = "".join(fingerprint(part_folder(path, part, revision)) for part in TEXT_PARTS)
    return Encoders(
        image_fingerprint=fingerprint(part_folder(path, "vae", revision)),
        open_image_encoder=open_pictures,
        caption_fingerprint=sha256(f"{weights}|{tokens}|{text_dtype}".encode()).hexdigest(),
        open_caption_encoder=open_captions,
    )

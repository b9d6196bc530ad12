"""The cache with FLUX.1's own encoders."""

import gc

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel, T5EncoderModel

from flux_lora.data.cache import encode_all
from flux_lora.models.family import Encoders, ModelSource
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.latents import encode_pixels
from flux_lora.models.flux1.load import load_text_encoders, load_vae
from flux_lora.models.flux1.text import encode_text
from tests.data.colours import planned, three_photos
from tests.tiny import write_tiny_flux

CPU = torch.device("cpu")


def encoders_of(path: str, tokens: int, dtype: torch.dtype = torch.float32) -> Encoders:
    return Flux1().encoders(ModelSource(path, max_sequence_length=tokens), device=CPU, text_device=CPU, dtype=dtype)


def loaded_models() -> set[int]:
    return {id(thing) for thing in gc.get_objects() if type(thing) in {AutoencoderKL, CLIPTextModel, T5EncoderModel}}


def test_flux1_encodes_as_its_own_parts_do_and_lets_go_of_them(tiny_flux, tmp_path):
    path = str(tiny_flux)
    prepared = planned(three_photos(tmp_path / "photos"))
    encoders = encoders_of(path, 12)
    before = loaded_models()
    alive: list[int] = []

    def look(done: int, total: int, _name: str) -> None:
        if done == total:
            alive.append(len(loaded_models() - before))

    made = encode_all(prepared, encoders, tmp_path / "cache", progress=look)
    assert loaded_models() <= before
    assert alive == [2, 1], "two text encoders, and after them the VAE alone"

    text = encode_text(load_text_encoders(path), ["a TOK mug 1"], 12)
    torch.testing.assert_close(made.encoded[1].prompt_embeds[0]["t5"], text["t5"])
    torch.testing.assert_close(made.encoded[1].prompt_embeds[0]["pooled"], text["pooled"])
    bucket = prepared[2].bucket
    assert made.encoded[2].latent.shape == (16, bucket.height // 8, bucket.width // 8)
    assert encoders.pixels_per_latent == 8, "as wide for masks as in the model"
    assert bucket.width != bucket.height
    assert load_vae(path).dtype == made.encoded[2].latent.dtype == torch.float32
    assert bool((made.encoded[2].std > 0).all())
    pixels = torch.zeros(1, 3, bucket.height, bucket.width)
    assert encode_pixels(load_vae(path), pixels)[0].shape == made.encoded[2].latent.shape


def test_fingerprints_tell_models_token_counts_and_dtypes_apart(tiny_flux, tmp_path):
    other = write_tiny_flux(tmp_path / "other", seed=1)
    plain, again = (encoders_of(str(tiny_flux), 12) for _ in range(2))
    longer = encoders_of(str(tiny_flux), 32)
    coarser = encoders_of(str(tiny_flux), 12, torch.bfloat16)
    foreign = encoders_of(str(other), 12)
    assert (plain.image_fingerprint, plain.caption_fingerprint) == (again.image_fingerprint, again.caption_fingerprint)
    assert len({one.caption_fingerprint for one in (plain, longer, coarser, foreign)}) == 4
    assert plain.image_fingerprint == longer.image_fingerprint != foreign.image_fingerprint

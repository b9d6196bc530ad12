"""FLUX.1 Kontext: our path and diffusers' own pipeline give equal numbers, with a reference image and without."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxKontextPipeline
from PIL import Image

from flux_lora.models.family import ModelSource, Placement, PromptEmbeds, SampleRequest
from flux_lora.models.flux1.family import FLUX1
from flux_lora.models.flux1.latents import encode_pixels
from flux_lora.models.flux1.load import load_text_encoders, load_transformer, load_vae
from flux_lora.models.flux1.text import encode_text
from flux_lora.models.flux1.velocity import pack, positions, velocity_of
from flux_lora.models.registry import family_of
from flux_lora.render.spec import RenderSpec
from flux_lora.share.base_models import base_model
from flux_lora.share.snippets import diffusers_snippet
from tests.klein_base import captured

PLACE = Placement(torch.device("cpu"), torch.float32)
CAPTIONS = ("a photo of zorb mug", "rain")
TOKENS = 32
KONTEXT = FLUX1[1]


def as_kontext(flux: Path, folder: Path) -> Path:
    """A copy of a FLUX.1 as the released Kontext is: its index names another pipeline."""
    shutil.copytree(flux, folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxKontextPipeline"}))
    return folder


@pytest.fixture(scope="module")
def base(tiny_flux: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_kontext(tiny_flux, tmp_path_factory.mktemp("kontext") / "base")


@pytest.fixture(scope="module")
def theirs(base: Path) -> Any:
    pipeline = FluxKontextPipeline.from_pretrained(base)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def embeds(base: Path) -> PromptEmbeds:
    return encode_text(load_text_encoders(str(base)), CAPTIONS, TOKENS)


def test_kontext_is_known_by_its_index_its_hub_id_and_its_finetunes(base: Path, tiny_flux: Path):
    assert family_of(ModelSource(str(base))) is KONTEXT
    assert family_of(ModelSource("black-forest-labs/FLUX.1-Kontext-dev")) is KONTEXT
    assert family_of(ModelSource("someone/flux.1-kontext-dev-relight")) is KONTEXT
    assert family_of(ModelSource(str(tiny_flux))) is FLUX1[0]
    assert family_of(ModelSource("black-forest-labs/FLUX.1-dev")) is FLUX1[0]


@pytest.mark.parametrize("size", [(96, 64), (32, 96)])
def test_images_from_text_equal_the_pipeline_s_to_the_last_bit(
    base: Path, theirs: Any, embeds: PromptEmbeds, size: tuple[int, int]
):
    source = ModelSource(str(base), max_sequence_length=TOKENS)
    pipeline = KONTEXT.load_pipeline(source, PLACE)
    latents = KONTEXT.sample(pipeline, SampleRequest(embeds, (7, 8)), size=size, steps=3, guidance=2.5)
    ours = KONTEXT.decode(pipeline.vae, latents)
    expected = theirs(
        prompt=list(CAPTIONS),
        width=size[0],
        height=size[1],
        max_area=size[0] * size[1],
        num_inference_steps=3,
        guidance_scale=2.5,
        max_sequence_length=TOKENS,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in (7, 8)],
    ).images
    assert [image.size for image in ours] == [size, size]
    assert [image.tobytes() for image in ours] == [image.tobytes() for image in expected]


def test_images_made_from_an_image_equal_the_pipeline_s_to_the_last_bit(base: Path, theirs: Any, embeds: PromptEmbeds):
    """Wide from tall. The pipeline encodes the image itself."""
    pipeline = KONTEXT.load_pipeline(ModelSource(str(base), max_sequence_length=TOKENS), PLACE)
    pixels = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(2))
    reference = encode_pixels(theirs.vae, 2 * pixels - 1)
    asked = SampleRequest(embeds, (7, 8), (reference,))
    ours = KONTEXT.decode(pipeline.vae, KONTEXT.sample(pipeline, asked, size=(96, 64), steps=3, guidance=2.5))
    expected = theirs(
        image=pixels,
        prompt=list(CAPTIONS),
        width=96,
        height=64,
        max_area=96 * 64,
        _auto_resize=False,
        num_inference_steps=3,
        guidance_scale=2.5,
        max_sequence_length=TOKENS,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in (7, 8)],
    ).images
    assert [image.tobytes() for image in ours] == [image.tobytes() for image in expected]
    without = KONTEXT.sample(pipeline, SampleRequest(embeds, (7, 8)), size=(96, 64), steps=3, guidance=2.5)
    assert [image.tobytes() for image in KONTEXT.decode(pipeline.vae, without)] != [each.tobytes() for each in ours]


@pytest.mark.parametrize(("height", "width"), [(4, 12), (12, 4)])
@pytest.mark.parametrize("guidance", [1.0, 2.5])
@torch.no_grad()
def test_with_a_reference_the_transformer_is_given_what_the_pipeline_gives_it(
    base: Path, theirs: Any, embeds: PromptEmbeds, height: int, width: int, guidance: float
):
    """The reference is a wide image; the pipeline encodes it itself, by the VAE's mode."""
    noise = torch.randn(2, 16, height, width, generator=torch.Generator().manual_seed(1))
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    calls = captured(
        theirs.transformer,
        lambda: theirs(
            image=pixels,
            prompt_embeds=embeds["t5"],
            pooled_prompt_embeds=embeds["pooled"],
            latents=pack(noise),
            height=height * 8,
            width=width * 8,
            max_area=height * width * 64,
            num_inference_steps=1,
            guidance_scale=guidance,
            output_type="latent",
            _auto_resize=False,
        ),
    )
    transformer = load_transformer(str(base), torch.float32)
    reference = encode_pixels(load_vae(str(base)), pixels * 2 - 1)
    predict = velocity_of(transformer, guidance=guidance, most_references=1)
    (ours,) = captured(transformer, lambda: predict(noise, calls[0]["timestep"], embeds, references=[reference[0]]))
    for name in ("hidden_states", "timestep", "guidance", "encoder_hidden_states", "pooled_projections"):
        assert torch.equal(ours[name], calls[0][name]), name
    assert torch.equal(ours["img_ids"], calls[0]["img_ids"]) and torch.equal(ours["txt_ids"], calls[0]["txt_ids"])
    assert ours["img_ids"][:, 0].tolist() == [0] * (height * width // 4) + [1] * 24


@torch.no_grad()
def test_only_the_image_s_tokens_are_answered_and_where_the_reference_sits_matters(base: Path, embeds: PromptEmbeds):
    transformer, generator = load_transformer(str(base), torch.float32), torch.Generator().manual_seed(3)
    noise, sigma = torch.randn(2, 16, 4, 6, generator=generator), torch.tensor([0.3, 0.8])
    reference = torch.randn(16, 4, 6, generator=generator)
    predict = velocity_of(transformer, guidance=1.0, most_references=1)
    answered = predict(noise, sigma, embeds, references=[reference])
    assert answered.shape == noise.shape
    assert not torch.allclose(answered, predict(noise, sigma, embeds))
    at_one, at_zero = (
        transformer(
            hidden_states=torch.cat([pack(noise), pack(reference.expand(2, -1, -1, -1))], dim=1),
            encoder_hidden_states=embeds["t5"],
            pooled_projections=embeds["pooled"],
            timestep=sigma,
            guidance=torch.ones(2),
            img_ids=torch.cat([positions(4, 6, noise.device), positions(4, 6, noise.device, image)]),
            txt_ids=torch.zeros(TOKENS, 3),
            return_dict=False,
        )[0][:, :6]
        for image in (1, 0)
    )
    assert torch.equal(pack(answered), at_one)
    assert not torch.allclose(at_one, at_zero)


@torch.no_grad()
def test_flux_1_dev_takes_a_reference_as_kontext_does_and_one_at_most(base: Path, embeds: PromptEmbeds):
    transformer = load_transformer(str(base), torch.float32)
    dev, kontext = (each.velocity(transformer, guidance=1.0) for each in FLUX1)
    noisy, reference = torch.randn(2, 16, 4, 4), torch.randn(1, 16, 6, 4)
    asked = noisy, torch.full((2,), 0.5), embeds
    assert torch.equal(dev(*asked, references=[reference]), kontext(*asked, references=[reference]))
    with pytest.raises(AssertionError, match="at most 1 reference images"):
        dev(*asked, references=[reference, reference])


@torch.no_grad()
def test_the_program_beside_a_file_draws_the_size_that_it_says(base: Path, tmp_path: Path):
    """Left alone, Kontext's pipeline draws as many pixels as 1024 x 1024 has. The image there is is drawn small."""
    spec = RenderSpec(prompts=("p",), seeds=(1,), width=48, height=32, text_tokens=TOKENS, steps=1, guidance=2.5)
    program = diffusers_snippet(base_model("Kontext", str(base), "", KONTEXT), "x.safetensors", "rain", spec)
    without_lora = "\n".join(line for line in program.splitlines() if "lora" not in line and "adapters" not in line)
    drawn = tmp_path / "picture.png"
    exec(without_lora.replace('"picture.png"', repr(str(drawn))), {"__file__": str(tmp_path / "program.py")})  # noqa: S102
    with Image.open(drawn) as image:
        assert image.size == (48, 32)

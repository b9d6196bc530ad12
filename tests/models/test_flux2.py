"""FLUX.2 klein: our path and diffusers' own pipeline give equal numbers, and each fact is seen to matter."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2KleinPipeline, Flux2Transformer2DModel
from PIL import Image
from torch import Tensor

from flux_lora.adapter.attach import attach, linear_layers, trainable_layers
from flux_lora.adapter.trainable import matching_layers
from flux_lora.config.choices import Quantization
from flux_lora.data.cache.preprocess import to_pixels
from flux_lora.models.counting import counted as counted_on_meta
from flux_lora.models.family import ModelSource, Placement, PromptEmbeds, SampleRequest
from flux_lora.models.flux2.caption_tokenizer import as_message
from flux_lora.models.flux2.family import KLEIN
from flux_lora.models.flux2.latents import decode_latents, latent_distribution, patchify, unpatchify
from flux_lora.models.flux2.layers import KLEIN_4B, KLEIN_9B, LAYER_GROUPS, MODULATION, Size, flux2_shapes
from flux_lora.models.flux2.load import load_text_encoder, load_transformer, load_vae
from flux_lora.models.flux2.programs import BASE_9B, DISTILLED_4B
from flux_lora.models.flux2.sampling import sampling_shift, training_shift
from flux_lora.models.flux2.text import encode_text
from flux_lora.models.flux2.text_models import QWEN3, Qwen3, tokens_around
from flux_lora.models.flux2.velocity import pack, positions, unpack, velocity_of
from flux_lora.models.flux2.weightless import weightless_base, weightless_transformer
from flux_lora.models.frozen_linear import FrozenLinear
from flux_lora.models.registry import family_of
from tests.klein_base import TEXT_LAYERS, TEXT_WIDTH, captured, write_klein
from tests.models.compared_images import farthest, noise_image

CAPTIONS = ("a photo of zorb mug on grass", "")
TOKENS = 48
PLACE = Placement(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_klein(tmp_path_factory.mktemp("klein") / "base")


@pytest.fixture(scope="module")
def source(base: Path) -> ModelSource:
    return ModelSource(str(base), max_sequence_length=TOKENS)


@pytest.fixture(scope="module")
def theirs(base: Path) -> Flux2KleinPipeline:
    pipeline = Flux2KleinPipeline.from_pretrained(base)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def their_embeds(theirs: Flux2KleinPipeline) -> Tensor:
    return theirs.encode_prompt(list(CAPTIONS), max_sequence_length=TOKENS)[0]


def our_embeds(source: ModelSource) -> PromptEmbeds:
    return encode_text(load_text_encoder(QWEN3, source, torch.float32), CAPTIONS, TOKENS)


def test_prompt_embeds_equal_the_pipeline_s(source: ModelSource, theirs: Flux2KleinPipeline):
    assert torch.equal(our_embeds(source)["qwen"], their_embeds(theirs))


def test_layers_above_the_last_one_used_are_not_loaded(source: ModelSource):
    model = load_text_encoder(QWEN3, source, torch.float32).model
    assert len(model.layers) == 27 < TEXT_LAYERS


def test_other_layers_or_the_last_norm_would_give_other_prompt_embeds(
    source: ModelSource, theirs: Flux2KleinPipeline, monkeypatch: pytest.MonkeyPatch
):
    expected = their_embeds(theirs)
    encoder = load_text_encoder(QWEN3, source, torch.float32)
    neighbour = replace(encoder, text=Qwen3(layers=(9, 18, 26)))
    assert not torch.allclose(encode_text(neighbour, CAPTIONS, TOKENS)["qwen"], expected)
    monkeypatch.setattr("flux_lora.models.flux2.load.without_last_norm", lambda model: model)
    assert not torch.allclose(our_embeds(source)["qwen"], expected)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 32)])
def test_latents_equal_the_pipeline_s_of_a_reference(source: ModelSource, theirs: Any, height: int, width: int):
    pixels = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = latent_distribution(load_vae(source), pixels)
    with torch.no_grad():
        expected = theirs._encode_vae_image(pixels, generator=None)
    assert torch.equal(found.mean, expected)
    assert not found.std.any()
    assert found.mean.shape == (2, 16, height // 16, width // 16)


def test_patches_are_made_before_channels_are_normalised(source: ModelSource, theirs: Any):
    latents = torch.randn(1, 4, 8, 6, generator=torch.Generator().manual_seed(2))
    assert torch.equal(patchify(latents), theirs._patchify_latents(latents))
    assert torch.equal(unpatchify(patchify(latents)), latents)
    assert torch.equal(pack(patchify(latents)), theirs._pack_latents(patchify(latents)))


def test_positions_equal_the_pipeline_s_for_the_image_and_references(theirs: Any):
    like = torch.zeros(1, 16, 3, 5)
    device = torch.device("cpu")
    assert torch.equal(positions(3, 5, 0, device), theirs._prepare_latent_ids(like)[0])
    both = torch.cat([positions(3, 5, 10, device), positions(2, 4, 20, device)])
    assert torch.equal(both, theirs._prepare_image_ids([like, torch.zeros(1, 16, 2, 4)])[0])


@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 32)])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
@torch.no_grad()
def test_the_transformer_is_given_what_the_pipeline_gives_it(
    source: ModelSource, theirs: Any, height: int, width: int, guidance: float
):
    embeds = our_embeds(source)
    noise = torch.randn(2, 16, height // 16, width // 16, generator=torch.Generator().manual_seed(3))
    run = {"height": height, "width": width, "num_inference_steps": 2, "guidance_scale": guidance}
    calls = captured(
        theirs.transformer,
        lambda: theirs(
            prompt_embeds=embeds["qwen"],
            negative_prompt_embeds=embeds["qwen"][[1, 1]],
            latents=noise,
            output_type="latent",
            **run,
        ),
    )
    assert len(calls) == (4 if guidance > 1 else 2)
    transformer = load_transformer(source, PLACE)
    sigma = calls[0]["timestep"]
    (ours,) = captured(transformer, lambda: velocity_of(transformer, guidance=guidance)(noise, sigma, embeds))
    for name in ("hidden_states", "timestep", "encoder_hidden_states"):
        assert torch.equal(ours[name], calls[0][name]), name
    assert ours["guidance"] is calls[0]["guidance"] is None
    assert torch.equal(ours["img_ids"], calls[0]["img_ids"][0])
    assert torch.equal(ours["txt_ids"], calls[0]["txt_ids"][0])


@torch.no_grad()
def test_references_are_further_tokens_and_only_the_image_s_are_answered(source: ModelSource, theirs: Any):
    """As Flux2KleinPipeline joins them: behind the image, at places of their own."""
    embeds, transformer = our_embeds(source), load_transformer(source, PLACE)
    generator = torch.Generator().manual_seed(4)
    noise, other, third = (torch.randn(2, 16, *side, generator=generator) for side in ((4, 6), (2, 2), (4, 2)))
    predict, sigma = velocity_of(transformer, guidance=1.0), torch.full((2,), 0.6)
    shown = [other[:1], third[:1]]
    answered = predict(noise, sigma, embeds, references=[each[0] for each in shown])
    packed = torch.cat([pack(noise), *(pack(each).expand(2, -1, -1) for each in shown)], dim=1)
    expected = theirs.transformer(
        hidden_states=packed,
        timestep=sigma,
        guidance=None,
        encoder_hidden_states=embeds["qwen"],
        txt_ids=theirs._prepare_text_ids(embeds["qwen"]),
        img_ids=torch.cat([theirs._prepare_latent_ids(noise[:1]), theirs._prepare_image_ids(shown)], dim=1),
        return_dict=False,
    )[0]
    assert torch.equal(answered, unpack(expected[:, :24], height=4, width=6))
    assert not torch.allclose(answered, predict(noise, sigma, embeds))


@pytest.mark.parametrize(("size", "steps", "guidance"), [((96, 64), 3, 4.0), ((32, 96), 2, 1.0), ((64, 64), 4, 2.5)])
def test_images_equal_the_pipeline_s_to_the_last_bit(
    source: ModelSource, theirs: Any, size: tuple[int, int], steps: int, guidance: float
):
    family = family_of(source)
    pipeline = family.load_pipeline(source, PLACE)
    embeds = our_embeds(source)
    opened = type(pipeline)(family, pipeline.transformer, pipeline.vae, pipeline.scheduler, embeds.rows([1]))
    latents = family.sample(
        opened, SampleRequest(embeds.rows([0, 0]), (7, 8)), size=size, steps=steps, guidance=guidance
    )
    ours = family.decode(pipeline.vae, latents)
    expected = theirs(
        prompt=[CAPTIONS[0]] * 2,
        width=size[0],
        height=size[1],
        num_inference_steps=steps,
        guidance_scale=guidance,
        max_sequence_length=TOKENS,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in (7, 8)],
    ).images
    assert [_bytes(image) for image in ours] == [_bytes(image) for image in expected]


def test_images_made_from_two_images_are_the_pipeline_s(source: ModelSource, theirs: Any):
    """The pipeline encodes the images itself; a level of 255 is what rounding of pixels may make."""
    family, embeds, shown = family_of(source), our_embeds(source), [noise_image(64, 96, 1), noise_image(128, 64, 2)]
    pipeline = replace(family.load_pipeline(source, PLACE), negative=embeds.rows([1]))
    references = tuple(latent_distribution(load_vae(source), to_pixels(image)[None]).mean for image in shown)
    asked = SampleRequest(embeds.rows([0, 0]), (7, 8), references)
    ours = family.decode(pipeline.vae, family.sample(pipeline, asked, size=(96, 64), steps=3, guidance=4.0))
    expected = theirs(
        image=shown,
        prompt=[CAPTIONS[0]] * 2,
        width=96,
        height=64,
        num_inference_steps=3,
        guidance_scale=4.0,
        max_sequence_length=TOKENS,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in (7, 8)],
    ).images
    assert farthest(ours, expected) <= 1
    plain = family.sample(pipeline, replace(asked, references=()), size=(96, 64), steps=3, guidance=4.0)
    assert farthest(ours, family.decode(pipeline.vae, plain)) > 1


def _bytes(image: Image.Image) -> bytes:
    return image.tobytes()


def test_a_distilled_base_draws_without_guidance(tmp_path: Path, source: ModelSource):
    distilled = ModelSource(str(write_klein(tmp_path / "distilled", distilled=True)), max_sequence_length=TOKENS)
    family = family_of(distilled)
    assert (family.name, family.uses_cfg, family.trained_instead) == ("FLUX.2 klein 4B", False, "flux2_klein_4b")
    pipeline, embeds = family.load_pipeline(distilled, PLACE), our_embeds(source)
    drawn = [
        family.sample(pipeline, SampleRequest(embeds.rows([0]), (1,)), size=(32, 32), steps=2, guidance=guidance)
        for guidance in (1.0, 4.0)
    ]
    assert torch.equal(*drawn)


def test_pixels_come_back_through_the_decoder_as_the_pipeline_decodes_them(source: ModelSource, theirs: Any):
    latents = torch.randn(1, 16, 2, 3, generator=torch.Generator().manual_seed(5))
    vae = load_vae(source)
    mean = theirs.vae.bn.running_mean.view(1, -1, 1, 1)
    std = torch.sqrt(theirs.vae.bn.running_var.view(1, -1, 1, 1) + 1e-4)
    with torch.no_grad():
        expected = theirs.vae.decode(theirs._unpatchify_latents(latents * std + mean), return_dict=False)[0]
    assert torch.equal(decode_latents(vae, latents), expected)


def test_training_takes_flux_1_s_line_and_never_that_of_a_schedule_of_few_steps():
    """exp(mu) of 512 x 512 and 1024 x 1024, by musubi-tuner's flux2_shift; and the sampler's of 50 and 4 steps."""
    assert training_shift(512, 512) == pytest.approx(math.exp(0.63), rel=1e-2)
    assert training_shift(1024, 1024) == pytest.approx(math.exp(1.15), rel=1e-2)
    assert sampling_shift(1024, 1024, 50) == pytest.approx(7.56, rel=1e-2)
    assert sampling_shift(512, 512, 50) == pytest.approx(5.48, rel=1e-2)
    assert sampling_shift(1024, 1024, 4) == pytest.approx(9.89, rel=1e-2)


@pytest.mark.parametrize(
    ("size", "parameters", "layers"), [(KLEIN_4B, 3_876_000_000, 100), (KLEIN_9B, 9_079_000_000, 144)]
)
def test_the_released_sizes_have_the_layers_and_parameters_of_the_real_ones(size: Size, parameters: int, layers: int):
    transformer = weightless_transformer(size)
    linear = {
        name: (module.out_features, module.in_features)
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert linear == flux2_shapes(size)
    counted = sum(parameter.numel() for parameter in transformer.parameters())
    assert counted == pytest.approx(parameters, rel=1e-3)
    assert sum(bool(re.fullmatch(LAYER_GROUPS["attention_mlp"], name)) for name in linear) == layers
    assert sum(bool(re.fullmatch(MODULATION, name)) for name in linear) == 3


def test_a_base_without_files_is_counted_as_the_released_one():
    counted = weightless_base(KLEIN_4B, QWEN3, ModelSource("black-forest-labs/FLUX.2-klein-base-4B"))
    assert counted.latent_channels == 128
    assert counted.prompt_embeds["qwen"].shape == (1, 512, 7680)
    assert counted_on_meta(counted.encode_caption).peak > 0
    (text,) = counted.text_encoders
    assert sum(parameter.numel() for parameter in text.parameters()) == pytest.approx(3.1e9, rel=0.03)


def test_each_release_is_known_by_its_hub_id_and_each_folder_by_its_contents(base: Path, tmp_path: Path):
    for family in KLEIN:
        assert family_of(ModelSource(family.release.hub)) is family
    assert family_of(ModelSource(str(base))).name == "FLUX.2 klein base 4B"
    finetunes = {"someone/flux.2-klein-base-9b-photo": BASE_9B, "me/FLUX.2-klein-4B-anime": DISTILLED_4B}
    for name, release in finetunes.items():
        assert family_of(ModelSource(name)).programs.releases == (release,)
    assert family_of(ModelSource("someone/anything")).name == "FLUX.1"
    large = tmp_path / "large"
    (large / "transformer").mkdir(parents=True)
    (large / "model_index.json").write_text(json.dumps({"_class_name": "Flux2KleinPipeline", "is_distilled": True}))
    (large / "transformer" / "config.json").write_text(json.dumps({"joint_attention_dim": 12288}))
    assert family_of(ModelSource(str(large))).name == "FLUX.2 klein 9B"


def test_the_words_around_a_caption_are_taken_off_the_window(source: ModelSource):
    (counted,) = family_of(source).load_tokenizers(source)
    assert counted.limit == TOKENS - tokens_around(QWEN3, counted.tokenizer)
    assert counted.decisive


def test_prompt_embeds_are_three_layers_wide(source: ModelSource):
    assert our_embeds(source)["qwen"].shape == (2, TOKENS, 3 * TEXT_WIDTH)


def test_before_klein_is_fetched_tokens_are_counted_by_qwen_s_own_tokenizer(monkeypatch: pytest.MonkeyPatch):
    """Numbers by tiktoken from Alibaba's qwen.tiktoken, and Qwen3's for the marks of a message."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (counted,) = family_of(ModelSource("black-forest-labs/FLUX.2-klein-base-4B")).load_tokenizers(
        ModelSource("black-forest-labs/FLUX.2-klein-base-4B")
    )
    tokenizer = counted.tokenizer
    spoken = tokenizer("a photo of zorb mug, naïve 東京 – 3.5 cm").input_ids
    assert spoken == [64, 6548, 315, 1147, 29886, 51489, 11, 94880, 586, 60596, 109, 46553, 1365, 220, 18, 13, 20, 9961]
    message = tokenizer(as_message(tokenizer, "a mug")).input_ids
    assert message == [151644, 872, 198, 64, 51489, 151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271]
    assert counted.limit == 512 - 12


@pytest.fixture(scope="module")
def asked(source: ModelSource) -> tuple[Tensor, Tensor, PromptEmbeds]:
    """A question that is always the same: noisy latents, sigmas, prompt embeds."""
    noise = torch.randn(2, 16, 4, 6, generator=torch.Generator().manual_seed(6))
    return noise, torch.tensor([0.3, 0.8]), our_embeds(source)


@torch.no_grad()
def test_modulation_that_waits_in_host_memory_gives_the_same_bits(source: ModelSource, asked: Any):
    whole = load_transformer(source, PLACE)
    away = load_transformer(source, replace(PLACE, offload_modulation=True))
    assert torch.equal(velocity_of(whole, guidance=1.0)(*asked), velocity_of(away, guidance=1.0)(*asked))


@pytest.mark.parametrize(("how", "near"), [(Quantization.int8, 0.02), (Quantization.nf4, 0.3)])
@torch.no_grad()
def test_blocks_in_8_or_4_bits_answer_nearly_the_same(source: ModelSource, asked: Any, how: Quantization, near: float):
    whole, coarse = load_transformer(source, PLACE), load_transformer(source, replace(PLACE, quantize=how))
    kept = [name for name, each in coarse.named_modules() if isinstance(each, FrozenLinear)]
    assert {name for name in flux2_names(coarse) if re.fullmatch(LAYER_GROUPS["blocks_all"], name)} == set(kept)
    exact, other = (velocity_of(each, guidance=1.0)(*asked) for each in (whole, coarse))
    assert 0 < (exact - other).norm() / exact.norm() < near


def flux2_names(transformer: Flux2Transformer2DModel) -> list[str]:
    return [name for name, each in transformer.named_modules() if isinstance(each, torch.nn.Linear)]


def test_gradients_are_the_same_with_activations_computed_twice(source: ModelSource, asked: Any):
    gradients = []
    for checkpointed in (False, True):
        transformer = load_transformer(source, PLACE)
        layers = matching_layers(linear_layers(transformer), "attention_mlp", LAYER_GROUPS)
        attach(transformer, layers, rank=2, alpha=2.0, generator=torch.Generator().manual_seed(0))
        if checkpointed:
            family_of(source).checkpoint_activations(transformer)
        transformer.train()
        velocity_of(transformer, guidance=1.0)(*asked).square().mean().backward()
        trained = [layer.held.up.grad for layer in trainable_layers(transformer).values()]
        assert all(each is not None and each.any() for each in trained), "every layer takes part"
        gradients.append(torch.cat([each.flatten() for each in trained if each is not None]))
    torch.testing.assert_close(*gradients)

"""FLUX.2 dev: our path and diffusers' own pipeline give equal numbers, and each fact is seen to matter."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2Pipeline
from diffusers.pipelines.flux2 import system_messages
from torch import Tensor
from transformers import AutoProcessor

from flux_lora.models.counting import counted as counted_on_meta
from flux_lora.models.family import ModelSource, Placement, PromptEmbeds, SampleRequest
from flux_lora.models.flux2 import mistral_tokenizer
from flux_lora.models.flux2.decoders import computed_on
from flux_lora.models.flux2.family import FLUX2_DEV
from flux_lora.models.flux2.latents import latent_distribution
from flux_lora.models.flux2.layers import DEV, LAYER_GROUPS, MODULATION, flux2_shapes
from flux_lora.models.flux2.load import load_text_encoder, load_transformer, load_vae
from flux_lora.models.flux2.text import TextEncoder, encode_text
from flux_lora.models.flux2.text_models import MISTRAL3, Mistral3, tokens_around
from flux_lora.models.flux2.velocity import pack, unpack, velocity_of
from flux_lora.models.flux2.weightless import weightless_base, weightless_transformer
from flux_lora.models.offload import OffloadedLinear
from flux_lora.models.registry import family_of
from tests.dev_base import TEXT_LAYERS, TEXT_WIDTH, official_pipeline, write_dev
from tests.klein_base import captured

CAPTIONS = ("a photo of [IMG] zorb mug on grass, eBay's", "")
TOKENS = 256
PLACE = Placement(torch.device("cpu"), torch.float32)
SPOKEN = [1097, 16649, 1307, 1554, 9955, 50088, 1044, 98355, 48798, 1775, 1032, 1051, 1046, 1053, 6872, 1044, 1324]
SPOKEN += [58677, 1681, 6978, 16724, 1267, 51200, 1053]
MESSAGE = [1, 17, 4568, 1584, 1420, 26554, 1455, 12738, 2314, 3937, 38340, 1046, 3213, 5628, 37253, 11688, 30557, 1408]
MESSAGE += [3481, 14608, 1044, 3481, 1010, 2452, 5604, 1321, 10636, 3816, 67813, 1046, 18, 3, 1097, 16649, 1307, 1554]
MESSAGE += [9955, 50088, 4]
WORDS = (
    "a photo of zorb mug on wet grass at golden hour, 85mm f/1.8 don't it's O'Neill eBay NaOH pH iPhone McDonald "
    "3,141.59 1024x1024 naïve café Ærø straße 東京タワー 猫 한국어 사진 Привет мир العربية "
    "हिन्दी ไทย עברית 😀 👩\u200d👩\u200d👧 – — … “quoted” "
    "'single' #ff00aa @home http://x.y/z?q=1 (round) {a|b} ÅÅ e\u0301 \t tab  double USB-C A4 [square] SUPER supER"
)
NUMBERS_OF_DRAWN = "c47a7876809b6bb276ebdc94a7b1a5a02c31578631b58b4655e3b747098f19c2"
"""SHA-256 of the numbers of 4,000 drawn texts, as JSON."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dev(tmp_path_factory.mktemp("dev") / "base")


@pytest.fixture(scope="module")
def source(base: Path) -> ModelSource:
    return ModelSource(str(base), max_sequence_length=TOKENS)


@pytest.fixture(scope="module")
def theirs(base: Path) -> Flux2Pipeline:
    return official_pipeline(base)


@pytest.fixture(scope="module")
def encoder(source: ModelSource) -> TextEncoder:
    return load_text_encoder(MISTRAL3, source, torch.float32)


@pytest.fixture(scope="module")
def embeds(encoder: TextEncoder) -> PromptEmbeds:
    return encode_text(encoder, CAPTIONS, TOKENS)


@pytest.fixture(scope="module")
def their_embeds(theirs: Flux2Pipeline) -> Tensor:
    return theirs.encode_prompt(list(CAPTIONS), max_sequence_length=TOKENS)[0]


def test_prompt_embeds_equal_the_pipeline_s(embeds: PromptEmbeds, their_embeds: Tensor):
    assert torch.equal(embeds["mistral"], their_embeds)
    assert embeds["mistral"].shape == (2, TOKENS, 3 * TEXT_WIDTH)


def test_a_caption_that_is_too_long_is_cut_where_the_pipeline_cuts_it(encoder: TextEncoder, theirs: Flux2Pipeline):
    long = ["mug " * 99]
    expected = theirs.encode_prompt(long, max_sequence_length=TOKENS)[0]
    assert torch.equal(encode_text(encoder, long, TOKENS)["mistral"], expected)


def test_a_tokenizer_reads_a_message_as_the_released_processor_does(base: Path):
    try:
        processor: Any = AutoProcessor.from_pretrained(base / "tokenizer")
    except ImportError:
        pytest.skip("PixtralProcessor needs torchvision")
    spoken = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in (("system", mistral_tokenizer.SYSTEM_MESSAGE), ("user", "a zorb mug"))
    ]
    expected = processor.apply_chat_template(spoken, tokenize=True, return_dict=True)["input_ids"]
    tokenizer = MISTRAL3.load_tokenizer(str(base))
    ours = tokenizer(MISTRAL3.as_message(tokenizer, "a zorb mug")).input_ids
    assert [ours] == torch.as_tensor(expected).tolist()


def test_the_system_message_is_the_pipeline_s():
    assert system_messages.SYSTEM_MESSAGE == mistral_tokenizer.SYSTEM_MESSAGE


def test_layers_above_the_last_one_used_and_the_eyes_are_not_loaded(encoder: TextEncoder):
    assert len(encoder.model.layers) == 30 < TEXT_LAYERS
    assert not [name for name, _ in encoder.model.named_modules() if "vision" in name or "projector" in name]


def test_a_neighbouring_layer_or_the_last_norm_would_give_other_prompt_embeds(
    encoder: TextEncoder, source: ModelSource, their_embeds: Tensor, monkeypatch: pytest.MonkeyPatch
):
    neighbour = replace(encoder, text=Mistral3(layers=(10, 20, 29)))
    assert not torch.allclose(encode_text(neighbour, CAPTIONS, TOKENS)["mistral"], their_embeds)
    monkeypatch.setattr("flux_lora.models.flux2.load.without_last_norm", lambda model: model)
    normed = load_text_encoder(MISTRAL3, source, torch.float32)
    assert not torch.allclose(encode_text(normed, CAPTIONS, TOKENS)["mistral"], their_embeds)


def test_weights_that_wait_in_host_memory_give_the_same_bits(source: ModelSource, embeds: PromptEmbeds):
    encoder = load_text_encoder(MISTRAL3, source, torch.float32)
    computed_on("cpu", encoder.model)
    assert sum(isinstance(each, OffloadedLinear) for each in encoder.model.modules()) == 30 * 7
    assert torch.equal(encode_text(encoder, CAPTIONS, TOKENS)["mistral"], embeds["mistral"])


def test_a_text_encoder_that_waits_in_host_memory_computes_on_the_device_alone(source: ModelSource):
    """On the device without memory, so that a tensor left on the CPU would stop it."""
    encoder = load_text_encoder(MISTRAL3, source, torch.float32, computes_on="meta")
    assert encoder.model.device.type == "meta"
    linear = [each for each in encoder.model.modules() if isinstance(each, torch.nn.Linear)]
    assert {each.weight.device.type for each in linear} == {"cpu"}
    ids, mask = torch.zeros(1, 9, dtype=torch.long, device="meta"), torch.ones(1, 1, 9, 9, device="meta").bool()
    found = encoder.model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
    assert {each.device.type for each in found.hidden_states} == {"meta"}


@pytest.mark.parametrize(
    ("fact", "spoiled"),
    [("SYSTEM_MESSAGE", mistral_tokenizer.SYSTEM_MESSAGE.replace("\n", " ")), ("IMAGE", "[NO IMAGE]")],
)
def test_another_system_message_or_an_image_s_mark_left_in_would_give_other_prompt_embeds(
    fact: str, spoiled: str, encoder: TextEncoder, their_embeds: Tensor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mistral_tokenizer, fact, spoiled)
    assert not torch.allclose(encode_text(encoder, CAPTIONS, TOKENS)["mistral"], their_embeds)


def test_a_second_start_mark_or_padding_behind_the_message_would_give_other_prompt_embeds(
    base: Path, encoder: TextEncoder, their_embeds: Tensor
):
    for changed in ({"add_bos_token": True}, {"padding_side": "right", "add_bos_token": False}):
        tokenizer = type(encoder.tokenizer).from_pretrained(base / "tokenizer", **changed)
        spoiled = encode_text(replace(encoder, tokenizer=tokenizer), CAPTIONS, TOKENS)["mistral"]
        assert not torch.allclose(spoiled, their_embeds)


def test_latents_equal_the_pipeline_s_of_a_reference(source: ModelSource, theirs: Any):
    pixels = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = latent_distribution(load_vae(source), pixels)
    with torch.no_grad():
        expected = theirs._encode_vae_image(pixels, generator=None)
    assert torch.equal(found.mean, expected) and not found.std.any()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 32)])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
@torch.no_grad()
def test_the_transformer_is_given_what_the_pipeline_gives_it(
    source: ModelSource, theirs: Any, embeds: PromptEmbeds, height: int, width: int, guidance: float
):
    noise = torch.randn(2, 16, height // 16, width // 16, generator=torch.Generator().manual_seed(3))
    run = {"height": height, "width": width, "num_inference_steps": 2, "guidance_scale": guidance}
    calls = captured(
        theirs.transformer,
        lambda: theirs(prompt_embeds=embeds["mistral"], latents=noise, output_type="latent", **run),
    )
    assert len(calls) == 2, "guidance is embedded: one answer a step"
    transformer = load_transformer(source, PLACE)
    sigma = calls[0]["timestep"]
    (ours,) = captured(transformer, lambda: velocity_of(transformer, guidance=guidance)(noise, sigma, embeds))
    for name in ("hidden_states", "timestep", "encoder_hidden_states", "guidance"):
        assert torch.equal(ours[name], calls[0][name]), name
    assert ours["guidance"].dtype == calls[0]["guidance"].dtype
    assert torch.equal(ours["img_ids"], calls[0]["img_ids"][0])
    assert torch.equal(ours["txt_ids"], calls[0]["txt_ids"][0])


@torch.no_grad()
def test_references_are_further_tokens_and_only_the_image_s_are_answered(
    source: ModelSource, theirs: Any, embeds: PromptEmbeds
):
    transformer, generator = load_transformer(source, PLACE), torch.Generator().manual_seed(4)
    noise, other = (torch.randn(2, 16, *side, generator=generator) for side in ((4, 6), (2, 2)))
    sigma = torch.full((2,), 0.6)
    answered = velocity_of(transformer, guidance=4.0)(noise, sigma, embeds, references=[other[0]])
    expected = theirs.transformer(
        hidden_states=torch.cat([pack(noise), pack(other[:1]).expand(2, -1, -1)], dim=1),
        timestep=sigma,
        guidance=torch.full((2,), 4.0),
        encoder_hidden_states=embeds["mistral"],
        txt_ids=theirs._prepare_text_ids(embeds["mistral"]),
        img_ids=torch.cat([theirs._prepare_latent_ids(noise[:1]), theirs._prepare_image_ids([other[:1]])], dim=1),
        return_dict=False,
    )[0]
    assert torch.equal(answered, unpack(expected[:, :24], height=4, width=6))


@torch.no_grad()
def test_another_guidance_gives_another_velocity(source: ModelSource, embeds: PromptEmbeds):
    transformer = load_transformer(source, PLACE)
    noise = torch.randn(2, 16, 2, 2, generator=torch.Generator().manual_seed(5))
    asked = (noise, torch.tensor([0.3, 0.8]), embeds)
    one, four = (velocity_of(transformer, guidance=guidance)(*asked) for guidance in (1.0, 4.0))
    assert not torch.allclose(one, four)


@pytest.mark.parametrize(("size", "steps", "guidance"), [((96, 64), 3, 4.0), ((32, 96), 2, 1.0), ((64, 64), 4, 2.5)])
def test_images_equal_the_pipeline_s_to_the_last_bit(
    source: ModelSource, theirs: Any, embeds: PromptEmbeds, size: tuple[int, int], steps: int, guidance: float
):
    family = family_of(source)
    pipeline = family.load_pipeline(source, PLACE)
    latents = family.sample(
        pipeline, SampleRequest(embeds.rows([0, 0]), (7, 8)), size=size, steps=steps, guidance=guidance
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
    assert [image.tobytes() for image in ours] == [image.tobytes() for image in expected]


def test_the_released_size_has_the_layers_and_parameters_of_the_real_one():
    transformer = weightless_transformer(DEV)
    linear = {
        name: (module.out_features, module.in_features)
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert linear == flux2_shapes(DEV)
    assert sum(each.numel() for each in transformer.parameters()) == pytest.approx(32_223_000_000, rel=1e-4)
    assert sum(bool(re.fullmatch(LAYER_GROUPS["attention_mlp"], name)) for name in linear) == 192
    assert sum(bool(re.fullmatch(MODULATION, name)) for name in linear) == 3
    assert len([name for name in linear if "blocks." not in name]) == 11


def test_a_base_without_files_is_counted_as_the_released_one():
    counted = weightless_base(DEV, MISTRAL3, ModelSource("black-forest-labs/FLUX.2-dev"))
    assert counted.latent_channels == 128
    assert counted.prompt_embeds["mistral"].shape == (1, 512, 15360)
    assert counted_on_meta(counted.encode_caption).peak > 0
    (text,) = counted.text_encoders
    assert sum(each.numel() for each in text.parameters()) == pytest.approx(17.3e9, rel=0.01), "30 of 40 layers"


def test_dev_is_known_by_its_hub_id_its_finetunes_and_the_pipeline_of_its_folder(base: Path, tmp_path: Path):
    assert family_of(ModelSource("black-forest-labs/FLUX.2-dev")) is FLUX2_DEV
    assert family_of(ModelSource("someone/flux.2-dev-film")) is FLUX2_DEV
    assert family_of(ModelSource(str(base))) is FLUX2_DEV
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    assert family_of(ModelSource(str(tmp_path))) is not FLUX2_DEV
    assert (FLUX2_DEV.distilled, FLUX2_DEV.uses_cfg, FLUX2_DEV.trained_instead) == (False, False, "")


def test_a_folder_s_tokenizer_counts_what_is_encoded(source: ModelSource, base: Path):
    (counted,) = family_of(source).load_tokenizers(source)
    message = MISTRAL3.as_message(counted.tokenizer, "a mug")
    assert counted.limit == TOKENS - tokens_around(MISTRAL3, counted.tokenizer)
    whole = tokens_around(MISTRAL3, counted.tokenizer) + len(counted.tokenizer("a mug").input_ids)
    assert len(counted.tokenizer(message).input_ids) == whole
    assert (counted.name, counted.decisive) == ("Mistral", True)


def test_before_dev_is_fetched_tokens_are_counted_by_mistral_s_own_tokenizer(monkeypatch: pytest.MonkeyPatch):
    """Numbers by mistral-common 1.13.1 from its tekken_240911.json."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub = ModelSource("black-forest-labs/FLUX.2-dev")
    (counted,) = family_of(hub).load_tokenizers(hub)
    tokenizer = counted.tokenizer
    assert tokenizer("a photo of zorb mug, naïve 東京 – 3.5 cm, eBay's NaOH\n\n€5").input_ids == SPOKEN
    assert tokenizer(MISTRAL3.as_message(tokenizer, "a photo of zorb mug")).input_ids == MESSAGE
    assert counted.limit == 512 - 33
    numbers = [tokenizer(text).input_ids for text in drawn_texts(4000)]
    assert sha256(json.dumps(numbers).encode()).hexdigest() == NUMBERS_OF_DRAWN


def drawn_texts(count: int) -> Iterator[str]:
    """Words in mixed scripts, and signs at random: always the same."""
    draw = random.Random(0)
    ranges = ((32, 126), (160, 0x24F), (0x370, 0x5FF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0x1F300, 0x1F6FF), (10, 13))
    for number in range(count):
        if number % 3:
            yield " ".join(draw.choices(WORDS.split(" "), k=draw.randint(1, 40)))
        else:
            yield "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(draw.randint(1, 60)))

# ruff: noqa: E402
"""FLUX.3 klein as a family: layers and sizes, what is kept where and in what, gradients."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers", minversion="0.42", reason="FLUX.3 came with diffusers 0.42")

from flux_lora.adapter.attach import attach, linear_layers, trainable_layers
from flux_lora.adapter.trainable import matching_layers
from flux_lora.config.choices import Quantization
from flux_lora.config.compose import compose_config
from flux_lora.models.counting import counted as counted_on_meta
from flux_lora.models.family import ModelSource, PromptEmbeds
from flux_lora.models.flux3.diffusers_classes import Flux3Transformer2DModel
from flux_lora.models.flux3.family import FLUX3
from flux_lora.models.flux3.layers import LAYER_GROUPS, MODULATION, UNUSED, flux3_shapes
from flux_lora.models.flux3.load import load_transformer
from flux_lora.models.flux3.velocity import velocity_of
from flux_lora.models.flux3.weightless import weightless_base, weightless_transformer
from flux_lora.models.frozen_linear import FrozenLinear
from flux_lora.models.registry import family_of
from flux_lora.models.weight_stream import Precision
from flux_lora.runs.plan import GIB, Way, planner_for
from tests.flux3_base import (
    MOST,
    PLACE,
    TEXT_WIDTH,
    official_pipeline,
    our_embeds,
    write_flux3,
)

MAPS = Path("/proc/self/maps")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux3(tmp_path_factory.mktemp("flux3") / "base")


@pytest.fixture(scope="module")
def source(base: Path) -> ModelSource:
    return ModelSource(str(base), max_sequence_length=MOST)


@pytest.fixture(scope="module")
def theirs(base: Path) -> Any:
    return official_pipeline(base)


def linears_of(transformer: torch.nn.Module) -> dict[str, tuple[int, int]]:
    return {
        name: (module.out_features, module.in_features)
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


@pytest.mark.parametrize(("flow_map", "parameters"), [(False, 5_538_000_000), (True, 5_549_000_000)])
def test_the_released_models_have_the_layers_and_parameters_of_the_real_ones(flow_map: bool, parameters: int):
    transformer = weightless_transformer(flow_map=flow_map)
    linear = linears_of(transformer)
    assert linear == flux3_shapes(flow_map=flow_map)
    counted = sum(parameter.numel() for parameter in transformer.parameters())
    assert counted == pytest.approx(parameters, rel=1e-3)
    trained = matching_layers(linear, "attention_mlp", LAYER_GROUPS, unused=UNUSED)
    assert len(trained) == 228 and not any("image_cond" in name for name in trained)
    assert sum(bool(re.fullmatch(LAYER_GROUPS["attention_mlp"], name)) for name in linear) == 258
    assert sum(bool(re.fullmatch(MODULATION, name)) for name in linear) == 4
    unused = sum(each.numel() for name, each in transformer.named_parameters() if "image_cond" in name)
    assert unused == pytest.approx(670e6, rel=1e-2)


def test_a_base_without_files_is_counted_as_the_released_one():
    counted = weightless_base(ModelSource("black-forest-labs/flux-3-image-klein-base", max_sequence_length=640))
    assert counted.latent_channels == 128
    assert counted.prompt_embeds["qwen"].shape == (1, 640, 20480)
    assert counted_on_meta(counted.encode_caption).peak > 0
    (text,) = counted.text_encoders
    assert sum(parameter.numel() for parameter in text.parameters()) == pytest.approx(3.62e9, rel=0.03)


def test_a_base_on_this_disk_is_counted_as_it_is(source: ModelSource):
    counted = family_of(source).weightless_base(source)
    loaded = load_transformer(source, PLACE).state_dict()
    assert {name: each.shape for name, each in counted.transformer.state_dict().items()} == {
        name: each.shape for name, each in loaded.items()
    }
    assert counted.prompt_embeds["qwen"].shape == (1, MOST, 8 * TEXT_WIDTH)


def test_the_plan_leaves_out_what_training_never_reads_and_fits_16_gb_at_1024():
    words = ["recipe=product", "model=flux3_klein", "data.folder=photos", "data.trigger=zorb", "data.class_word=mug"]
    config = compose_config([*words, "data.resolution=1024", "hardware.dtype=bf16"])
    source = ModelSource(config.model.path, max_sequence_length=config.model.max_sequence_length)
    planner = planner_for(config, family_of(source), source)
    whole, coarse = (
        planner.plan(Way(how, gradient_checkpointing=True)) for how in (Quantization.none, Quantization.int8)
    )
    assert whole.stage("train").parts["base"] == pytest.approx(2 * (5.538e9 - 0.670e9), rel=2e-3)
    assert coarse.stage("train").parts["base"] == pytest.approx(4.9e9 + 0.24e9, rel=2e-2)
    assert whole.stage("train").bytes < 13 * GIB and whole.fits(16) and coarse.fits(12)


def test_each_release_is_known_by_its_hub_id_and_each_folder_by_its_contents(base: Path):
    for family in FLUX3:
        assert family_of(ModelSource(family.release.hub)) is family
    assert family_of(ModelSource(str(base))).name == "FLUX.3 klein base"
    assert family_of(ModelSource("someone/flux-3-image-klein-base-photo")).name == "FLUX.3 klein base"


@pytest.fixture(scope="module")
def asked(source: ModelSource) -> tuple[Tensor, Tensor, PromptEmbeds]:
    """A question that is always the same: noisy latents, sigmas, prompt embeds."""
    noise = torch.randn(2, 16, 4, 6, generator=torch.Generator().manual_seed(6))
    return noise, torch.tensor([0.3, 0.8]), our_embeds(source).rows([0, 0])


@torch.no_grad()
def test_in_bfloat16_q_and_k_are_normalised_in_float32_as_diffusers_does(source: ModelSource, asked: Any):
    ours = load_transformer(source, replace(PLACE, dtype=torch.bfloat16))
    official = Flux3Transformer2DModel.from_pretrained(Path(source.path) / "transformer", torch_dtype=torch.bfloat16)
    kept = {name: each.dtype for name, each in ours.named_parameters()}
    assert kept == {name: each.dtype for name, each in official.named_parameters()}
    assert set(kept.values()) == {torch.float32, torch.bfloat16}
    noise, sigma, embeds = asked
    question = noise.bfloat16(), sigma, embeds.to("cpu", torch.bfloat16)
    assert torch.equal(velocity_of(ours)(*question), velocity_of(official)(*question))


@torch.no_grad()
def test_modulation_that_waits_in_host_memory_gives_the_same_bits(source: ModelSource, asked: Any):
    whole = load_transformer(source, PLACE)
    away = load_transformer(source, replace(PLACE, offload_modulation=True))
    assert torch.equal(velocity_of(whole)(*asked), velocity_of(away)(*asked))


def test_what_only_references_pass_through_is_put_on_no_gpu():
    precision = Precision("cuda", torch.bfloat16, quantize=Quantization.int8, quantized=".+", unused=UNUSED)
    for layer in linears_of(weightless_transformer()):
        away = "image_cond" in layer
        assert (precision.place_of(layer), precision.quantizes(layer)) == (("cpu", False) if away else ("cuda", True))


@pytest.mark.skipif(not MAPS.is_file(), reason="only Linux says what memory is of which file")
def test_what_only_references_pass_through_stays_in_its_file(source: ModelSource):
    transformer = load_transformer(source, PLACE)
    lines = [line for line in MAPS.read_text().splitlines() if line.startswith(tuple("0123456789abcdef"))]
    spans = [line.split()[0].split("-") for line in lines if f"{source.path}/transformer/" in line]
    mapped = [range(*(int(end, 16) for end in span)) for span in spans]
    found = {name for name, each in transformer.named_parameters() if any(each.data_ptr() in span for span in mapped)}
    assert found == {name for name, _ in transformer.named_parameters() if "image_cond" in name}


@pytest.mark.parametrize(("how", "near"), [(Quantization.int8, 0.02), (Quantization.nf4, 0.3)])
@torch.no_grad()
def test_blocks_in_8_or_4_bits_answer_nearly_the_same(source: ModelSource, asked: Any, how: Quantization, near: float):
    whole, coarse = load_transformer(source, PLACE), load_transformer(source, replace(PLACE, quantize=how))
    kept = {name for name, each in coarse.named_modules() if isinstance(each, FrozenLinear)}
    assert kept == set(matching_layers(linears_of(whole), "blocks_all", LAYER_GROUPS, unused=UNUSED))
    exact, other = (velocity_of(each)(*asked) for each in (whole, coarse))
    assert 0 < (exact - other).norm() / exact.norm() < near


def test_gradients_are_the_same_with_activations_computed_twice(source: ModelSource, asked: Any):
    gradients = []
    for checkpointed in (False, True):
        transformer = load_transformer(source, PLACE)
        layers = matching_layers(linear_layers(transformer), "attention_mlp", LAYER_GROUPS, unused=UNUSED)
        attach(transformer, layers, rank=2, alpha=2.0, generator=torch.Generator().manual_seed(0))
        if checkpointed:
            family_of(source).checkpoint_activations(transformer)
        transformer.train()
        velocity_of(transformer)(*asked).square().mean().backward()
        trained = [layer.held.up.grad for layer in trainable_layers(transformer).values()]
        assert all(each is not None and each.any() for each in trained), "every layer takes part"
        gradients.append(torch.cat([each.flatten() for each in trained if each is not None]))
    torch.testing.assert_close(*gradients)

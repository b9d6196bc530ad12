"""Our reading of a file against that of the programs that are here: diffusers and peft."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from peft import LoHaConfig, LoKrConfig, LoraConfig, PeftModel, get_peft_model
from torch import Generator, Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from flux_lora.adapter.attach import adapter_of
from flux_lora.adapter.dialects.text_encoders import to_text_encoders
from flux_lora.adapter.dialects.xlabs import to_xlabs
from flux_lora.adapter.files import read_contents, write_dialect
from flux_lora.adapter.layer_types import Adapter, DoRA, LayerDelta, LoRA, delta_distance, delta_of, frobenius_norm
from tests.adapter.dialects.widths import (
    ATTENTION,
    BLOCKS,
    LINEAR1,
    adapter,
    from_diffusers,
    to_diffusers,
    to_kohya,
    to_onetrainer,
)
from tests.adapter.example_adapters import frozen_transformer, learned_adapter
from tests.adapter.other_trainers import AB, lora
from tests.adapter.other_trainers import CLIP as CLIP_SHAPES

CLIP = "text_encoder.text_model.encoder.layers.3.self_attn.q_proj"
NAMES = ["transformer_blocks.0.attn.to_q", "transformer_blocks.0.ff.net.2", "single_transformer_blocks.0.proj_out"]


def converted(tensors: Mapping[str, Tensor]) -> Adapter:
    """What diffusers makes of a file of another program."""
    return from_diffusers(FluxPipeline.lora_state_dict(dict(tensors)))


def check_same(found: Adapter, before: Adapter) -> None:
    assert set(found.deltas) == set(before.deltas)
    for name, trained in before.layers.items():
        assert delta_distance(found.layers[name], trained) <= 1e-6 * frobenius_norm(trained), name


@pytest.mark.parametrize("alpha", [1.0, 3.0, 64.0])
def test_diffusers_takes_the_block_layers_of_our_kohya_file_as_they_are(alpha: float):
    double = adapter([name for name in BLOCKS if name not in LINEAR1], alpha=alpha)
    check_same(converted(to_kohya(double, torch.float32)), double)


def test_diffusers_takes_our_kohya_file_with_mixed_ranks_and_missing_parts():
    some = adapter(BLOCKS[1:3], rank=1).deltas | adapter(BLOCKS[4:5], rank=3, alpha=1.0).deltas
    found = converted(to_kohya(Adapter(some), torch.float32))
    for name, change in some.items():
        torch.testing.assert_close(delta_of(found.deltas[name]), delta_of(change))
    rest = set(found.deltas) - set(some)
    assert all(not delta_of(found.deltas[name]).any() for name in rest)


@pytest.mark.parametrize("parts", [LINEAR1, LINEAR1[:3], LINEAR1[3:]])
def test_diffusers_takes_single_blocks_at_their_full_width(parts: list[str]):
    single = adapter(parts, rank=1, alpha=2.0, width=3072)
    found = converted(to_kohya(single, torch.float32))
    check_same(Adapter({name: found.deltas[name] for name in parts}), single)


def test_diffusers_takes_our_xlabs_file_as_it_is():
    before = adapter(ATTENTION)
    found = converted(to_xlabs(before, torch.float32))
    assert set(found.deltas) == set(before.deltas)
    for name, change in before.deltas.items():
        torch.testing.assert_close(delta_of(found.deltas[name]), delta_of(change))


def test_diffusers_takes_the_attention_of_our_onetrainer_file_as_it_is():
    before = adapter([name for name in ATTENTION if name != "single_transformer_blocks.2.proj_out"])
    check_same(converted(to_onetrainer(before, torch.float32)), before)


def test_diffusers_takes_our_names_of_clip():
    layer = adapter(["transformer_blocks.0.attn.to_out.0"])
    clip = Adapter({CLIP: layer.deltas["transformer_blocks.0.attn.to_out.0"]})
    found = FluxPipeline.lora_state_dict(to_text_encoders(clip, torch.float32) | to_kohya(layer, torch.float32))
    names = [key for key in found if key.startswith("text_encoder.text_model.encoder.layers.3.self_attn.")]
    assert len(names) == 2 and len(found) == 4


def pipeline_with(clip: CLIPTextModel | None) -> FluxPipeline:
    others = dict.fromkeys(("vae", "tokenizer", "text_encoder_2", "tokenizer_2"))
    scheduler = FlowMatchEulerDiscreteScheduler()
    return FluxPipeline(scheduler=scheduler, text_encoder=clip, transformer=frozen_transformer(), **others)


def test_diffusers_puts_layers_of_clip_into_clip_and_stops_without_one():
    tiny = CLIPTextConfig(hidden_size=8, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2)
    clip = CLIPTextModel(tiny)
    of_clip = {f"text_encoder.{key}": tensor for key, tensor in lora(CLIP_SHAPES, "", AB).items()}
    file = to_diffusers(learned_adapter(rank=4, alpha=4.0), torch.float32) | of_clip
    pipeline_with(clip).load_lora_weights(file)
    down = clip.get_parameter("encoder.layers.0.self_attn.q_proj.lora_A.default_0.weight")
    assert torch.equal(down, of_clip["text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"])
    with pytest.raises(AttributeError):
        pipeline_with(None).load_lora_weights(file)


def loaded(tensors: Mapping[str, Tensor], metadata: dict[str, object] | None = None) -> Adapter:
    """What diffusers puts into a transformer."""
    transformer = frozen_transformer()
    state, alphas = FluxPipeline.lora_state_dict(dict(tensors), return_alphas=True)
    FluxPipeline.load_lora_into_transformer(state, alphas, transformer, adapter_name="default", metadata=metadata)
    return adapter_of(transformer)


def test_diffusers_and_we_read_alpha_keys_alike():
    before = learned_adapter(rank=4, alpha=2.0)
    raw = to_diffusers(learned_adapter(rank=4, alpha=4.0), torch.float32)
    alphas = {f"transformer.{name}.alpha": torch.tensor(2.0) for name in before.deltas}
    check_same(from_diffusers(raw | alphas), before)
    check_same(loaded(raw | alphas), before)


@pytest.mark.parametrize("rooted", [False, True])
def test_diffusers_and_we_read_its_metadata_alike(rooted: bool):
    raw = to_diffusers(learned_adapter(rank=4, alpha=4.0), torch.float32)
    names = [key.removeprefix("transformer.").removesuffix(".lora_A.weight") for key in raw if key.endswith("A.weight")]
    patterns = {"transformer_blocks.0.attn.to_q": 8, "^single_transformer_blocks.0.attn.to_v": 1}
    config = {"r": 4, "lora_alpha": 2, "target_modules": names, "rank_pattern": {}, "alpha_pattern": patterns}
    config |= {"use_rslora": True} if rooted else {}
    metadata = {f"transformer.{key}": value for key, value in config.items()}
    ours = from_diffusers(raw, {"lora_adapter_metadata": json.dumps(metadata)})
    check_same(ours, loaded(raw, metadata))
    assert {layer.scale for layer in ours.layers.values()} == ({0.5, 1.0, 4.0} if rooted else {0.25, 0.5, 2.0})


def peft_model(config: LoraConfig | LoHaConfig | LoKrConfig) -> PeftModel:
    transformer = frozen_transformer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = get_peft_model(transformer, config)
        for name, parameter in model.named_parameters():
            if any(mark in name for mark in ("lora_", "hada_", "lokr_")) and "magnitude" not in name:
                nn.init.normal_(parameter, std=0.3)
    return model


def merged(model: PeftModel, base: FluxTransformer2DModel) -> dict[str, Tensor]:
    """How peft changes each weight."""
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    after = model.merge_and_unload().state_dict()
    return {name: after[f"{name}.weight"] - before[f"{name}.weight"] for name in NAMES}


CONFIGS = {
    "plain": LoraConfig(r=4, lora_alpha=8, target_modules=NAMES),
    "patterns": LoraConfig(
        r=4, lora_alpha=8, target_modules=NAMES, rank_pattern={"attn.to_q": 2}, alpha_pattern={"net.2": 1}
    ),
    "wide patterns": LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=NAMES,
        rank_pattern={r"transformer_blocks\.(0|1)\.attn\.to_[qv]": 2},
        alpha_pattern={"single_transformer_blocks.*proj_out": 1},
    ),
    "rooted": LoraConfig(r=4, lora_alpha=8, target_modules=NAMES, use_rslora=True),
    "dora": LoraConfig(r=4, lora_alpha=8, target_modules=NAMES, use_dora=True),
    "loha": LoHaConfig(r=4, alpha=8, target_modules=NAMES),
    "lokr": LoKrConfig(r=4, alpha=8, target_modules=NAMES),
    "whole lokr": LoKrConfig(r=99, alpha=8, target_modules=NAMES),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_folder_that_peft_saved_is_read_as_peft_applies_it(kind: str, tmp_path: Path):
    model, base = peft_model(CONFIGS[kind]), frozen_transformer()
    model.save_pretrained(tmp_path)
    reading = read_contents(tmp_path)
    assert reading.dialect == "peft" and set(reading.adapter.deltas) == set(NAMES)
    weights = base.state_dict()
    for name, expected in merged(model, base).items():
        found = delta_of(reading.adapter.deltas[name], weights[f"{name}.weight"])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dora", [False, True])
def test_peft_applies_a_folder_of_ours_as_we_mean_it(dora: bool, tmp_path: Path):
    base, generator = frozen_transformer(), Generator().manual_seed(3)
    changes: dict[str, LayerDelta] = {}
    for number, name in enumerate((*NAMES, "proj_out"), start=1):
        weight = base.get_parameter(f"{name}.weight")
        layer = learned_layer(weight, rank=number, generator=generator)
        changes[name] = DoRA(layer, weight.norm(dim=1) * 1.1) if dora else layer
    write_dialect(Adapter(changes), tmp_path, dialect="peft", metadata={}, dtype=torch.float32)
    model = PeftModel.from_pretrained(frozen_transformer(), str(tmp_path))
    assert sum("lora_A" in name for name, _ in model.named_parameters()) == len(changes)
    for name, found in merged(model, base).items():
        expected = delta_of(changes[name], base.get_parameter(f"{name}.weight"))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def learned_layer(weight: Tensor, *, rank: int, generator: Generator) -> LoRA:
    down = torch.randn(rank, weight.shape[1], generator=generator)
    return LoRA(down, torch.randn(weight.shape[0], rank, generator=generator), 3.0)

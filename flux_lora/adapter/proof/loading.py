"""An adapter file loaded by diffusers itself: FluxPipeline.load_lora_weights."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from peft.tuners.lora import LoraLayer
from torch import Generator, Tensor, nn

from flux_lora.adapter.attach import PEFT_NAME, load_into, set_strength
from flux_lora.adapter.kinds import DoRA, LayerDelta, LoRA
from flux_lora.adapter.tensors import Adapter
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.velocity import velocity_of

LOUDEST_LOADER = "diffusers.loaders.lora_base"
ABSENT: Any = None
"""A part of the pipeline that loading a LoRA does without; diffusers' annotations do not foresee it."""
TEXT_TOKENS = 16
LATENT_SIDE = 16
TIME = 0.7
GUIDANCE = 3.5


@dataclass(frozen=True, kw_only=True)
class LoadedBase:
    """The base model, opened, that files are loaded into one after the other. The last one stays in it."""

    transformer: FluxTransformer2DModel
    dtype: torch.dtype = torch.float32


def weightless() -> FluxTransformer2DModel:
    """FLUX.1-dev's transformer with shapes and no numbers: every module that a file can name, in no memory."""
    with torch.device("meta"):
        return FluxTransformer2DModel(guidance_embeds=True)


def shapes_of(transformer: FluxTransformer2DModel) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of its linear layers."""
    modules = transformer.named_modules()
    return {name: (each.out_features, each.in_features) for name, each in modules if isinstance(each, nn.Linear)}


def load(file: Path, transformer: FluxTransformer2DModel) -> dict[str, LayerDelta]:
    """Load the file as a user would. What it became: diffusers' converted tensors for the modules that peft made."""
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=ABSENT,
        text_encoder=ABSENT,
        tokenizer=ABSENT,
        text_encoder_2=ABSENT,
        tokenizer_2=ABSENT,
        transformer=transformer,
    )
    with _without_warnings():
        pipeline.load_lora_weights(str(file), adapter_name=PEFT_NAME)
    state = FluxPipeline.lora_state_dict(str(file))
    assert isinstance(state, dict), "a pair is returned only when asked for"
    modules = transformer.named_modules()
    paths = {name: module for name, module in modules if isinstance(module, LoraLayer) and PEFT_NAME in module.lora_A}
    return {name: _change(name, module.scaling[PEFT_NAME], state) for name, module in paths.items()}


def output_errors(transformer: FluxTransformer2DModel, loaded: Adapter, trained: Adapter) -> tuple[float, float]:
    """How far the answer with the file is from that with what was read out of it, and from that with the trained
    adapter, relative to the adapter's effect. The file is loaded in the transformer, which loses it."""
    answer = _answer(transformer)
    transformer.unload_lora()
    load_into(transformer, loaded)
    same = _answer(transformer)
    load_into(transformer, trained)
    exact = _answer(transformer)
    set_strength(transformer, 0.0)
    effect = (exact - _answer(transformer)).norm().clamp(min=torch.finfo(torch.float32).tiny)
    return ((answer - same).norm() / effect).item(), ((answer - exact).norm() / effect).item()


def _change(name: str, scale: float, state: Mapping[str, Tensor]) -> LayerDelta:
    key = f"transformer.{name}.lora_"
    down, up = state[f"{key}A.weight"].float(), state[f"{key}B.weight"].float()
    layer = LoRA(down, up, scale * down.shape[0])
    magnitude = state.get(f"{key}magnitude_vector")
    return layer if magnitude is None else DoRA(layer, magnitude.flatten().float())


@torch.inference_mode()
def _answer(transformer: FluxTransformer2DModel) -> Tensor:
    """The velocity at one fixed random point, float32."""
    generator, settings = Generator().manual_seed(0), transformer.config
    noisy = torch.randn(1, settings["in_channels"] // 4, LATENT_SIDE, LATENT_SIDE, generator=generator)
    text = PromptEmbeds(
        t5=torch.randn(1, TEXT_TOKENS, settings["joint_attention_dim"], generator=generator),
        pooled=torch.randn(1, settings["pooled_projection_dim"], generator=generator),
    )
    place = next(transformer.parameters())
    velocity = velocity_of(transformer, guidance=GUIDANCE)
    time = torch.tensor([TIME], device=place.device)
    return velocity(noisy.to(place), time, text.to(place.device, place.dtype)).float()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """diffusers says that a LoRA without text encoder keys has none, and peft that a LoRA of the final proj_out has
    none of the blocks' proj_out. Both are on purpose, and what was loaded is compared module by module."""
    logger = logging.getLogger(LOUDEST_LOADER)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "While injecting the PEFT adapters", RuntimeWarning)
            yield
    finally:
        logger.setLevel(level)

"""LoRA files loaded into FLUX.1 by diffusers itself (FluxPipeline.load_lora_weights), and what the model then predicts.

Shape letters: B batch, C latent channels, H W latent height and width, T text tokens, D and E widths of the T5 and the
pooled embeddings.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Generator, Tensor

from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.velocity import velocity_of
from flux_lora.models.pipeline_parts import ABSENT, loras_in_dtype_of

LOADER_LOGGER = "diffusers.loaders.lora_base"
TEXT_TOKENS = 16
LATENT_SIDE = 16
SIGMA = 0.7
GUIDANCE = 3.5


def load_lora_file(transformer: FluxTransformer2DModel, file: Path, adapter_name: str) -> Mapping[str, Tensor]:
    """Load the file as a user would; returns diffusers' converted state dict of it."""
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
        pipeline.load_lora_weights(str(file), adapter_name=adapter_name)
    loras_in_dtype_of(transformer)
    state = FluxPipeline.lora_state_dict(str(file))
    assert isinstance(state, dict), "a pair is returned only when asked for"
    return state


@torch.inference_mode()
def velocity_at_fixed_point(transformer: FluxTransformer2DModel) -> Tensor:
    """The velocity at one fixed random point: BCHW with B 1, float32."""
    generator, settings = Generator().manual_seed(0), transformer.config
    noisy_BCHW = torch.randn(1, settings["in_channels"] // 4, LATENT_SIDE, LATENT_SIDE, generator=generator)
    t5_BTD = torch.randn(1, TEXT_TOKENS, settings["joint_attention_dim"], generator=generator)
    pooled_BE = torch.randn(1, settings["pooled_projection_dim"], generator=generator)
    prompt_embeds = PromptEmbeds({"t5": t5_BTD, "pooled": pooled_BE})
    parameter = next(transformer.parameters())
    predict = velocity_of(transformer, guidance=GUIDANCE)
    sigma = torch.tensor([SIGMA], device=parameter.device)
    return predict(noisy_BCHW.to(parameter), sigma, prompt_embeds.to(parameter.device, parameter.dtype)).float()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """diffusers warns that a LoRA has no text encoder keys, and peft that a LoRA of the final proj_out has none of the
    blocks' proj_out. Both are on purpose, and what was loaded is compared module by module."""
    logger = logging.getLogger(LOADER_LOGGER)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "While injecting the PEFT adapters", RuntimeWarning)
            yield
    finally:
        logger.setLevel(level)

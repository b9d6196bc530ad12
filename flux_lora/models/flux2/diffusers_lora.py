"""LoRA files loaded into FLUX.2 by diffusers itself (its pipeline's load_lora_weights), and what the model then
predicts.

Shape letters: B batch, C latent channels, H W latent height and width, T text tokens, D width of the prompt embeds.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel
from torch import Generator, Tensor

from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux2.sampling import pipeline_of
from flux_lora.models.flux2.velocity import velocity_of
from flux_lora.models.pipeline_parts import loras_in_dtype_of

TEXT_TOKENS = 16
LATENT_SIDE = 8
SIGMA = 0.7
GUIDANCE = 4.0


def load_lora_file(transformer: Flux2Transformer2DModel, file: Path, adapter_name: str) -> Mapping[str, Tensor]:
    """Load the file as a user would; returns diffusers' converted state dict of it."""
    pipeline = pipeline_of(transformer, FlowMatchEulerDiscreteScheduler())
    pipeline.load_lora_weights(str(file), adapter_name=adapter_name)
    loras_in_dtype_of(transformer)
    state = pipeline.lora_state_dict(str(file))
    assert isinstance(state, dict), "a pair is returned only when asked for"
    return state


@torch.inference_mode()
def velocity_at_fixed_point(transformer: Flux2Transformer2DModel) -> Tensor:
    """The velocity at one fixed random point: BCHW with B 1, float32."""
    generator, settings = Generator().manual_seed(0), transformer.config
    noisy_BCHW = torch.randn(1, settings["in_channels"], LATENT_SIDE, LATENT_SIDE, generator=generator)
    text_BTD = torch.randn(1, TEXT_TOKENS, settings["joint_attention_dim"], generator=generator)
    parameter = next(transformer.parameters())
    predict = velocity_of(transformer, guidance=GUIDANCE)
    sigma = torch.tensor([SIGMA], device=parameter.device)
    embeds = PromptEmbeds({"text": text_BTD}).to(parameter.device, parameter.dtype)
    return predict(noisy_BCHW.to(parameter), sigma, embeds).float()

"""LoRA files loaded into FLUX.2 by diffusers itself (its pipeline's load_lora_weights), and what the model then
predicts.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

from collections.abc import Mapping
from pathlib import Path

from diffusers import FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel
from torch import Tensor

from flux_lora.models import pipeline_parts
from flux_lora.models.flux2.sampling import pipeline_of
from flux_lora.models.flux2.velocity import velocity_of

GUIDANCE = 4.0


def load_lora_file(transformer: Flux2Transformer2DModel, file: Path, adapter_name: str) -> Mapping[str, Tensor]:
    """Load the file as a user would; returns diffusers' converted state dict of it."""
    pipeline = pipeline_of(transformer, FlowMatchEulerDiscreteScheduler())
    pipeline.load_lora_weights(str(file), adapter_name=adapter_name)
    pipeline_parts.loras_in_dtype_of(transformer)
    state = pipeline.lora_state_dict(str(file))
    assert isinstance(state, dict), "a pair is returned only when asked for"
    return state


def velocity_at_fixed_point(transformer: Flux2Transformer2DModel) -> Tensor:
    """The velocity at one fixed random point: BCHW with B 1, float32."""
    return pipeline_parts.velocity_at_fixed_point(transformer, velocity_of(transformer, guidance=GUIDANCE), "text")

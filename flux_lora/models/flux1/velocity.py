"""FLUX.1 as a velocity. Packing, positions, guidance and tuple returns are spelled here and nowhere else."""

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from flux_lora.models.family import PromptEmbeds, Velocity
from flux_lora.models.flux1.packing import pack, positions, text_positions, unpack


def velocity_of(transformer: FluxTransformer2DModel, *, guidance: float) -> Velocity:
    """Hide packing, positions and guidance behind image-shaped tensors.

    Guidance is given in plain units (1.0 in training, 3.5 in rendering); a model without
    a guidance embedding (schnell) is not told. Time is passed as it is, in (0, 1): the
    transformer multiplies both by 1000 itself.
    """
    hears_guidance = bool(transformer.config["guidance_embeds"])

    def velocity(noisy: Tensor, time: Tensor, text: PromptEmbeds) -> Tensor:
        B, _, H, W = noisy.shape
        device = noisy.device
        tokens = transformer(
            hidden_states=pack(noisy),
            encoder_hidden_states=text.t5,
            pooled_projections=text.pooled,
            timestep=time,
            guidance=torch.full((B,), guidance, device=device) if hears_guidance else None,
            img_ids=positions(H, W, device),
            txt_ids=text_positions(text.t5.shape[1], device),
            return_dict=False,
        )[0]
        return unpack(tokens, height=H, width=W)

    return velocity

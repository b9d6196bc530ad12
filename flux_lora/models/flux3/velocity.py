"""FLUX.3 as a velocity: latents as tokens, positions, reference images.

Shape letters: B batch, C latent channels (128), H W latent height and width, N tokens, T text tokens.
Positions are (time, row, column, place), float32: half a unit from one token of an image to the next; words count up
the last axis and references down.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from flux_lora.models.family import PromptEmbeds, Velocity
from flux_lora.models.flux2.velocity import pack, unpack
from flux_lora.models.flux3.diffusers_classes import Flux3Transformer2DModel
from flux_lora.models.flux3.layers import MODES

GRID = 0.5
"""From one token of an image to the next, in units of a word."""
REFERENCE = MODES[1]


@lru_cache(maxsize=64)
def positions(height: int, width: int, place: int, device: torch.device) -> Tensor:
    """Where each token of an image sits: N4. `place`: 0 is drawn, -1, -2, ... are references. Read only."""
    axes = (torch.zeros(1), GRID * torch.arange(height), GRID * torch.arange(width), torch.tensor([float(place)]))
    return torch.cartesian_prod(*axes).to(device)


@lru_cache(maxsize=64)
def text_positions(tokens: int, device: torch.device) -> Tensor:
    """Which word each token is: T4. Read only."""
    zero = torch.zeros(1)
    return torch.cartesian_prod(zero, zero, zero, torch.arange(float(tokens))).to(device)


def velocity_of(transformer: Flux3Transformer2DModel) -> Velocity:
    """Hide tokens and positions behind image-shaped tensors.

    Sigma is passed as it is, in (0, 1): the transformer multiplies it by 1000 itself, and gives text and references 0.
    A flow map is also told where a step goes; asked for the velocity here, it is told that it stays.
    """
    flow_map = bool(transformer.config["flow_map"])

    def velocity(
        noisy: Tensor, sigma: Tensor, prompt_embeds: PromptEmbeds, /, *, references: Sequence[Tensor] = ()
    ) -> Tensor:
        B, _, H, W = noisy.shape
        device, shown = noisy.device, [each.expand(B, -1, -1, -1) for each in references]
        if shown:
            bring_reference_layers(transformer, device)
        places = [positions(*each.shape[2:], -1 - number, device) for number, each in enumerate(shown)]
        tokens = transformer(
            hidden_states=pack(noisy),
            encoder_hidden_states=prompt_embeds["qwen"],
            timestep=sigma,
            img_ids=positions(H, W, 0, device),
            txt_ids=text_positions(prompt_embeds.window, device),
            image_cond_hidden_states=torch.cat([pack(each) for each in shown], dim=1) if shown else None,
            image_cond_ids=torch.cat(places) if shown else None,
            target_timestep=sigma if flow_map else None,
            return_dict=False,
        )[0]
        return unpack(tokens, height=H, width=W)

    return velocity


def bring_reference_layers(transformer: Flux3Transformer2DModel, device: torch.device) -> None:
    """To the device, where they are not; they wait in their file until a reference is shown."""
    for part in ("x_embedders", "early_stream_modulations", "single_stream_modulations", "mode_blocks"):
        transformer.get_submodule(f"{part}.{REFERENCE}").to(device)

"""Captions -> prompt embeds ("qwen"): eight layers of Qwen3-VL side by side, as Flux3TextEncoderStep has them.

Shape letters: B batch (1), L layers (8), T text tokens, D width of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen3VLTextConfig, Qwen3VLTextModel

from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux3.caption_tokenizer import as_message, window_of
from flux_lora.models.flux3.layers import TEXT_LAYERS

POSITION_OF_PADDING = 1
"""As transformers 4.57 has it, with which FLUX.3 was trained. 5.x says 0, and the transformer sees the padding."""


@dataclass(frozen=True)
class TextEncoder:
    """Qwen3-VL's language model without the layers that are not used, and without its last norm; no eyes."""

    tokenizer: PreTrainedTokenizerBase
    model: Qwen3VLTextModel


def of_used_layers(settings: Mapping[str, Any]) -> Qwen3VLTextConfig:
    """A text encoder without the layers above the last one used, which are never loaded: four of thirty-six."""
    fewer: dict[str, Any] = {**settings, "num_hidden_layers": max(TEXT_LAYERS)}
    return Qwen3VLTextConfig(**fewer)


@torch.no_grad()
def encode_text(encoder: TextEncoder, caption: str, most: int) -> PromptEmbeds:
    """Encode a caption: BT(LD). T is its window: its own tokens, padded to the next multiple of 80, `most` at most.

    Padding is masked inside of the text encoder and kept for the transformer, which was trained to attend to it.
    """
    message = as_message(encoder.tokenizer, caption)
    tokens = len(encoder.tokenizer(message, truncation=True, max_length=most).input_ids)
    padded = encoder.tokenizer(
        message,
        padding="max_length",
        padding_side="right",
        max_length=window_of(tokens, most),
        truncation=True,
        return_tensors="pt",
    )
    device = encoder.model.device
    mask = cast(Tensor, padded.attention_mask).to(device)
    found = encoder.model(
        input_ids=padded.input_ids.to(device),
        attention_mask=mask,
        position_ids=positions_of(mask),
        output_hidden_states=True,
        use_cache=False,
    )
    layers_BLTD = torch.stack([found.hidden_states[number] for number in TEXT_LAYERS], dim=1)
    return PromptEmbeds({"qwen": layers_BLTD.transpose(1, 2).flatten(2)})


def positions_of(mask_BT: Tensor) -> Tensor:
    """Of each token in the text encoder: BT."""
    counted = torch.arange(mask_BT.shape[1], device=mask_BT.device).expand_as(mask_BT)
    return counted.masked_fill(mask_BT == 0, POSITION_OF_PADDING)

"""Captions -> prompt embeds ("qwen"): three layers of Qwen3 side by side, as Flux2KleinPipeline.encode_prompt has them.

Shape letters: B batch, L layers (3), T text tokens, D width of a layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, Qwen3Config, Qwen3Model
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux2.caption_tokenizer import as_message
from flux_lora.models.flux2.layers import TEXT_LAYERS


@dataclass(frozen=True)
class TextEncoder:
    """Qwen3 without the layers that are not used, and without its last norm."""

    tokenizer: PreTrainedTokenizerBase
    model: Qwen3Model


def of_used_layers(config: Qwen3Config) -> Qwen3Config:
    """A text encoder without the layers above the last one used, which are never loaded: a quarter of it."""
    used = max(TEXT_LAYERS)
    config.num_hidden_layers, config.layer_types = used, (config.layer_types or [])[:used]
    return config


def without_last_norm(model: Qwen3Model) -> Qwen3Model:
    """The layers are taken as they are: the norm belongs behind the last layer of the whole model, not of these."""
    model.norm = cast(Qwen3RMSNorm, nn.Identity())
    return model


@torch.no_grad()
def encode_text(encoder: TextEncoder, captions: Sequence[str], tokens: int) -> PromptEmbeds:
    """Encode the captions: BT(LD), T is `tokens`.

    Padding is masked inside of the text encoder and kept for the transformer, which was trained to attend to it.
    """
    padded = encoder.tokenizer(
        [as_message(encoder.tokenizer, caption) for caption in captions],
        padding="max_length",
        max_length=tokens,
        truncation=True,
        return_tensors="pt",
    )
    device = encoder.model.device
    found = encoder.model(
        input_ids=padded.input_ids.to(device),
        attention_mask=padded.attention_mask.to(device),
        output_hidden_states=True,
        use_cache=False,
    )
    layers_BLTD = torch.stack([found.hidden_states[number] for number in TEXT_LAYERS], dim=1)
    return PromptEmbeds({"qwen": layers_BLTD.transpose(1, 2).flatten(2)})

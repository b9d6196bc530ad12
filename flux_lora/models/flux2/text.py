"""Captions -> prompt embeds: three layers of a decoder side by side, as the pipelines' encode_prompt has them.

Shape letters: B batch, L layers (3), T text tokens, D width of a layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import MistralModel, PreTrainedTokenizerBase, Qwen3Model

from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux2.text_models import TextModel


@dataclass(frozen=True)
class TextEncoder:
    """A decoder without the layers that are not used, and without its last norm."""

    text: TextModel
    tokenizer: PreTrainedTokenizerBase
    model: Qwen3Model | MistralModel


@torch.no_grad()
def encode_text(encoder: TextEncoder, captions: Sequence[str], tokens: int) -> PromptEmbeds:
    """Encode the captions: BT(LD), T is `tokens`.

    Padding is masked inside of the text encoder and kept for the transformer, which was trained to attend to it.
    """
    text = encoder.text
    padded = encoder.tokenizer(
        [text.as_message(encoder.tokenizer, caption) for caption in captions],
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
    layers_BLTD = torch.stack([found.hidden_states[number] for number in text.layers], dim=1)
    return PromptEmbeds({text.embeds: layers_BLTD.transpose(1, 2).flatten(2)})

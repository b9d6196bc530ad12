"""Captions -> prompt embeds: T5's sequence ("t5") and CLIP's pooled vector ("pooled").

Shape letters: B batch, T text tokens, D text width, P pooled width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerBase, T5EncoderModel

from flux_lora.models.family import PromptEmbeds


@dataclass(frozen=True)
class TextEncoders:
    """FLUX.1's two text encoders, each with its tokenizer."""

    clip_tokenizer: CLIPTokenizer
    clip: CLIPTextModel
    t5_tokenizer: PreTrainedTokenizerBase
    t5: T5EncoderModel


@torch.no_grad()
def encode_text(encoders: TextEncoders, captions: Sequence[str], tokens: int) -> PromptEmbeds:
    """Encode the captions as FluxPipeline.encode_prompt does: t5 BTD, pooled BP.

    T5 is padded to `tokens` and not masked: FLUX.1 was trained to attend to the padding too.
    """
    clip_ids = _ids(encoders.clip_tokenizer, captions, encoders.clip_tokenizer.model_max_length)
    t5_ids = _ids(encoders.t5_tokenizer, captions, tokens)
    pooled = encoders.clip(clip_ids.to(encoders.clip.device)).pooler_output
    return PromptEmbeds({"t5": encoders.t5(t5_ids.to(encoders.t5.device))[0], "pooled": pooled})


def _ids(tokenizer: PreTrainedTokenizerBase, captions: Sequence[str], length: int) -> Tensor:
    padded = tokenizer(list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return padded.input_ids

"""The scorer: unit-length CLIP embeddings of images and sentences.

Shape letters: N images or sentences, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutputWithPooling

from flux_lora.errors import ModelError
from flux_lora.models.mini import mini_folder

BATCH_SIZE = 32
"""Images per forward pass."""


@dataclass(frozen=True)
class ClipScorer:
    """A CLIP model; rows of its embeddings have length 1, so a dot product is a cosine."""

    name: str
    model: CLIPModel
    images: CLIPImageProcessorPil
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    """Tokens of a sentence that the text encoder takes."""

    @torch.no_grad()
    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Embed images: ND, on the CPU."""
        return torch.cat(
            [self._embed(images[first : first + BATCH_SIZE]) for first in range(0, len(images), BATCH_SIZE)]
        )

    @torch.no_grad()
    def text_features(self, sentences: Sequence[str]) -> Tensor:
        """Embed sentences: ND, on the CPU. They are truncated to max_length tokens."""
        tokens = self.tokenizer(
            list(sentences),
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        ).to(self.model.device)
        output = self.model.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        return _unit(cast(BaseModelOutputWithPooling, output).pooler_output)

    def _embed(self, images: Sequence[Image.Image]) -> Tensor:
        """Embed images in one forward pass: ND, on the CPU."""
        pixels = self.images(images=[image.convert("RGB") for image in images], return_tensors="pt").pixel_values
        output = self.model.get_image_features(pixel_values=pixels.to(self.model.device))
        return _unit(cast(BaseModelOutputWithPooling, output).pooler_output)


def load_scorer(path: str | Path, device: torch.device | None = None) -> ClipScorer:
    """A CLIP model from a folder or the hub, in fp32; "mini" is the embedded one. Raises ModelError."""
    folder = mini_folder() / "scorer" if path == "mini" else path
    try:
        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        images = CLIPImageProcessorPil.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} holds no CLIP to score with ({str(error).splitlines()[0]})",
            fix="set model.scorer to a CLIP folder or hub id, for example openai/clip-vit-large-patch14",
        ) from error
    _freeze(model, device or torch.device("cpu"))
    return ClipScorer(str(path), model, images, tokenizer, model.text_model.config.max_position_embeddings)


def _freeze(model: nn.Module, device: torch.device) -> None:
    model.requires_grad_(False).eval().to(device)


def _unit(features: Tensor | None) -> Tensor:
    """Rows of length 1, in fp32 on the CPU: ND -> ND."""
    assert features is not None, "CLIP projects every input"
    return torch.nn.functional.normalize(features.float(), dim=-1).cpu()

"""The scorer: a CLIP model that puts pictures and sentences on one sphere.

Shape letters: N pictures or sentences, D embedding width.
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

AT_ONCE = 32


@dataclass(frozen=True)
class ClipScorer:
    """Embeds pictures and sentences; rows have length 1, so a product is a cosine."""

    name: str
    model: CLIPModel
    pictures: CLIPImageProcessorPil
    words: PreTrainedTokenizerBase
    longest: int
    """Tokens that the model reads of a sentence."""

    @torch.no_grad()
    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Embed pictures: ND, on the CPU."""
        return torch.cat([self._embed(images[at : at + AT_ONCE]) for at in range(0, len(images), AT_ONCE)])

    @torch.no_grad()
    def text_features(self, sentences: Sequence[str]) -> Tensor:
        """Embed sentences: ND, on the CPU. What is beyond the model's length is cut."""
        tokens = self.words(
            list(sentences),
            padding=True,
            truncation=True,
            max_length=self.longest,
            return_tensors="pt",
        ).to(self.model.device)
        found = self.model.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        return _unit(cast(BaseModelOutputWithPooling, found).pooler_output)

    def _embed(self, images: Sequence[Image.Image]) -> Tensor:
        pixels = self.pictures(images=[image.convert("RGB") for image in images], return_tensors="pt").pixel_values
        found = self.model.get_image_features(pixel_values=pixels.to(self.model.device))
        return _unit(cast(BaseModelOutputWithPooling, found).pooler_output)


def load_scorer(path: str | Path, device: torch.device | None = None) -> ClipScorer:
    """A CLIP from a folder or the hub, in fp32; "mini" is the one beside the embedded base."""
    folder = mini_folder() / "scorer" if path == "mini" else path
    try:
        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        pictures = CLIPImageProcessorPil.from_pretrained(folder)
        words = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} holds no CLIP to score with ({str(error).splitlines()[0]})",
            fix="set model.scorer to a CLIP folder or hub id, for example openai/clip-vit-large-patch14",
        ) from error
    _freeze(model, device or torch.device("cpu"))
    return ClipScorer(str(path), model, pictures, words, model.text_model.config.max_position_embeddings)


def _freeze(model: nn.Module, device: torch.device) -> None:
    model.requires_grad_(False).eval().to(device)


def _unit(features: Tensor | None) -> Tensor:
    assert features is not None, "CLIP projects every input"
    return torch.nn.functional.normalize(features.float(), dim=-1).cpu()

"""The scorer: unit-length CLIP embeddings of images and sentences.

Shape letters: N images or sentences, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutputWithPooling

from flux_lora.errors import ModelError
from flux_lora.models.device import visiting
from flux_lora.models.mini import mini_folder

BATCH_SIZE = 32
"""Images per forward pass."""
ANOTHER_SCORER = "set model.scorer to a CLIP folder or hub id, for example openai/clip-vit-large-patch14"


@dataclass(frozen=True)
class ClipScorer:
    """A CLIP model; rows of its embeddings have length 1, so a dot product is a cosine."""

    name: str
    model: CLIPModel
    images: CLIPImageProcessorPil
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    """Tokens of a sentence that the text encoder takes."""
    device: torch.device
    """Where the model is while it embeds; between whiles it waits on the host."""

    @torch.no_grad()
    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Embed images: ND, on the CPU."""
        parts = [images[first : first + BATCH_SIZE] for first in range(0, len(images), BATCH_SIZE)]
        with visiting(self.model, self.device) as place:
            return torch.cat([self._embed(part, place) for part in parts])

    @torch.no_grad()
    def text_features(self, sentences: Sequence[str]) -> Tensor:
        """Embed sentences: ND, on the CPU. They are truncated to max_length tokens."""
        tokens = self.tokenizer(
            list(sentences),
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        )
        with visiting(self.model, self.device) as place:
            output = self.model.get_text_features(
                input_ids=tokens.input_ids.to(place), attention_mask=tokens.attention_mask.to(place)
            )
        return _unit(cast(BaseModelOutputWithPooling, output).pooler_output)

    def _embed(self, images: Sequence[Image.Image], place: torch.device) -> Tensor:
        """Embed images in one forward pass: ND, on the CPU."""
        pixels = self.images(images=[image.convert("RGB") for image in images], return_tensors="pt").pixel_values
        output = self.model.get_image_features(pixel_values=pixels.to(place))
        return _unit(cast(BaseModelOutputWithPooling, output).pooler_output)


def load_scorer(path: str | Path, device: torch.device | None = None) -> ClipScorer:
    """A CLIP model from a folder or the hub, in fp32; "mini" is the embedded one. Raises ModelError."""
    folder = mini_folder() / "scorer" if path == "mini" else path
    try:
        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        images = CLIPImageProcessorPil.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path} holds no CLIP to score with ({str(error).splitlines()[0]})", fix=ANOTHER_SCORER
        ) from error
    model.requires_grad_(False).eval()
    length, place = model.text_model.config.max_position_embeddings, device or torch.device("cpu")
    scorer = ClipScorer(str(path), model, images, tokenizer, length, place)
    _refuse_deaf(scorer)
    return scorer


def _refuse_deaf(scorer: ClipScorer) -> None:
    """A folder without the tokenizer's files opens with an empty vocabulary: every sentence is then the same one."""
    one, other = scorer.text_features(["a red mug on a table", "two green fish at night"])
    if torch.equal(one, other):
        raise ModelError(
            f"{scorer.name} holds a CLIP that takes any two sentences for the same: its tokenizer's files are missing",
            fix=ANOTHER_SCORER,
        )


def _unit(features: Tensor | None) -> Tensor:
    """Rows of length 1, in fp32 on the CPU: ND -> ND."""
    assert features is not None, "CLIP projects every input"
    return torch.nn.functional.normalize(features.float(), dim=-1).cpu()

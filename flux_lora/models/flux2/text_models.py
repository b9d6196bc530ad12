"""The text encoders of FLUX.2, Qwen3 and Mistral Small 3, behind one protocol.

What needs their weights' classes is imported where it is used: `check` asks for tokenizers only, and starts quickly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from flux_lora.models.flux2 import caption_tokenizer, mistral_tokenizer
from flux_lora.models.flux2.layers import HEAD, Size
from flux_lora.models.pipeline_folder import model_folder

if TYPE_CHECKING:
    from transformers import MistralModel, PreTrainedTokenizerBase, Qwen3Model

Settings = Mapping[str, Any]


class TextModel(Protocol):
    """A text encoder: its tokenizer, the words around a caption, and which of its layers are the prompt embeds."""

    @property
    def name(self) -> str:
        """What messages and pages call its tokenizer."""
        ...

    @property
    def embeds(self) -> str:
        """Name of the prompt embeds."""
        ...

    @property
    def layers(self) -> tuple[int, ...]:
        """The outputs of these layers, side by side, are the prompt embeds."""
        ...

    def load_tokenizer(self, path: str, revision: str = "") -> "PreTrainedTokenizerBase":
        """That of a base, with its chat template; fetched if need be."""
        ...

    def shipped_tokenizer(self) -> "PreTrainedTokenizerBase":
        """The one in this package."""
        ...

    def as_message(self, tokenizer: "PreTrainedTokenizerBase", caption: str) -> str:
        """The text that is encoded."""
        ...

    def load(self, folder: Path, dtype: torch.dtype, device: torch.device | str) -> "Qwen3Model | MistralModel":
        """The decoder up to the last layer that is used."""
        ...

    def settings(self, size: Size) -> Settings:
        """The config.json of the released one."""
        ...

    def without_weights(self, settings: Settings) -> "Qwen3Model | MistralModel":
        """The decoder up to the last layer that is used, on torch's default device."""
        ...


@dataclass(frozen=True)
class Qwen3:
    """Klein's."""

    name: str = "Qwen"
    embeds: str = "qwen"
    layers: tuple[int, ...] = (9, 18, 27)

    def load_tokenizer(self, path: str, revision: str = "") -> "PreTrainedTokenizerBase":
        """With its chat template."""
        return caption_tokenizer.load_tokenizer(path, revision)

    def shipped_tokenizer(self) -> "PreTrainedTokenizerBase":
        """Qwen's own."""
        return caption_tokenizer.shipped_tokenizer()

    def as_message(self, tokenizer: "PreTrainedTokenizerBase", caption: str) -> str:
        """A user's message, and an answer that does not think."""
        return caption_tokenizer.as_message(tokenizer, caption)

    def load(self, folder: Path, dtype: torch.dtype, device: torch.device | str) -> "Qwen3Model":
        """27 of 36 layers."""
        from flux_lora.models.flux2.decoders import open_qwen3

        return open_qwen3(folder, max(self.layers), dtype, device)

    def settings(self, size: Size) -> Settings:
        """Qwen3-4B's, or -8B's."""
        return {
            "vocab_size": 151936,
            "hidden_size": size.text_width,
            "intermediate_size": size.text_hidden,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": HEAD,
        }

    def without_weights(self, settings: Settings) -> "Qwen3Model":
        """27 of 36 layers."""
        from flux_lora.models.flux2.decoders import empty_qwen3

        return empty_qwen3(settings, max(self.layers))


@dataclass(frozen=True)
class Mistral3:
    """FLUX.2-dev's: the part of Mistral Small 3 that reads text."""

    name: str = "Mistral"
    embeds: str = "mistral"
    layers: tuple[int, ...] = (10, 20, 30)

    def load_tokenizer(self, path: str, revision: str = "") -> "PreTrainedTokenizerBase":
        """With its chat template."""
        return mistral_tokenizer.load_tokenizer(path, revision)

    def shipped_tokenizer(self) -> "PreTrainedTokenizerBase":
        """Tekken."""
        return mistral_tokenizer.shipped_tokenizer()

    def as_message(self, tokenizer: "PreTrainedTokenizerBase", caption: str) -> str:
        """A system message and a user's."""
        return mistral_tokenizer.as_message(tokenizer, caption)

    def load(self, folder: Path, dtype: torch.dtype, device: torch.device | str) -> "MistralModel":
        """30 of 40 layers."""
        from flux_lora.models.flux2.decoders import open_mistral3

        return open_mistral3(folder, max(self.layers), dtype, device)

    def settings(self, size: Size) -> Settings:
        """Mistral Small 3's."""
        text = {
            "vocab_size": 131072,
            "hidden_size": size.text_width,
            "intermediate_size": size.text_hidden,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": HEAD,
            "sliding_window": None,
        }
        return {"text_config": text}

    def without_weights(self, settings: Settings) -> "MistralModel":
        """30 of 40 layers."""
        from flux_lora.models.flux2.decoders import empty_mistral3

        return empty_mistral3(settings, max(self.layers))


QWEN3, MISTRAL3 = Qwen3(), Mistral3()


def counting_tokenizer(text: TextModel, path: str) -> "PreTrainedTokenizerBase":
    """Enough to count tokens: of a base on this disk, else the shipped one, so that nothing need be fetched."""
    return text.load_tokenizer(path) if Path(model_folder(path)).is_dir() else text.shipped_tokenizer()


def tokens_around(text: TextModel, tokenizer: "PreTrainedTokenizerBase") -> int:
    """Tokens of the message that are not the caption's."""
    return len(tokenizer(text.as_message(tokenizer, "")).input_ids)

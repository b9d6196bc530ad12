"""Qwen3 and Mistral Small 3 as far as FLUX.2 reads them: no layer above the last one used, no last norm, no eyes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn
from transformers import (
    Mistral3Config,
    Mistral3Model,
    MistralConfig,
    MistralModel,
    Qwen3Config,
    Qwen3Model,
    Qwen3VLTextModel,
)

from flux_lora.models.offload import offload
from flux_lora.models.text_file import quiet_transformers

Place = torch.device | str
Decoder = TypeVar("Decoder", bound=Qwen3Model | MistralModel | Qwen3VLTextModel)


def open_qwen3(folder: Path, layers: int, dtype: torch.dtype, device: Place) -> Qwen3Model:
    """Its first layers."""
    read = cast(Qwen3Config, Qwen3Config.from_pretrained(folder))
    with quiet_transformers():
        return Qwen3Model.from_pretrained(
            folder, config=_shortened(read, layers), dtype=dtype, use_safetensors=True, device_map={"": device}
        )


def open_mistral3(folder: Path, layers: int, dtype: torch.dtype, device: Place) -> MistralModel:
    """The first layers of the part that reads text."""
    read = cast(Mistral3Config, Mistral3Config.from_pretrained(folder))
    _shortened(cast(MistralConfig, read.text_config), layers)
    cast(Any, read.vision_config).num_hidden_layers = 0
    with quiet_transformers():
        whole = Mistral3Model.from_pretrained(
            folder, config=read, dtype=dtype, use_safetensors=True, device_map={"": device}
        )
    return cast(MistralModel, whole.language_model)


def empty_qwen3(settings: Mapping[str, Any], layers: int) -> Qwen3Model:
    """Its first layers without weights, of a config.json, on torch's default device."""
    return Qwen3Model(_shortened(Qwen3Config(**settings), layers))


def empty_mistral3(settings: Mapping[str, Any], layers: int) -> MistralModel:
    """The same of the part that reads text."""
    text = {name: value for name, value in settings["text_config"].items() if name != "model_type"}
    return MistralModel(_shortened(MistralConfig(**text), layers))


def without_last_norm(model: Decoder) -> Decoder:
    """The layers are taken as they are: the norm belongs behind the last layer of the whole model, not of these."""
    model.norm = cast(Any, nn.Identity())
    return model


def computed_on(device: Place, model: Qwen3Model | MistralModel) -> Qwen3Model | MistralModel:
    """A decoder whose large weights stay where they are, in host memory, and come to the device for each product: one
    copy of them a caption, and the same bits as on a device that holds them all. Their pages are not locked: of 35 GB
    that would be too much."""
    offload(model, r".*_proj", pinned=False)
    for part in model.modules():
        if not isinstance(part, nn.Linear) and not list(part.children()):
            part.to(device)
    return model


def _shortened(read: Qwen3Config | MistralConfig, layers: int) -> Any:
    """A quarter of either is above the last layer used, and never loaded."""
    read.num_hidden_layers = layers
    if isinstance(read, Qwen3Config):
        read.layer_types = (read.layer_types or [])[:layers]
    return read

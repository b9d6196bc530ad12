"""A text encoder out of one file, in the names of transformers, as ComfyUI has them: alone or in a checkpoint.

The model is filled by transformers itself, with what it does for a folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from flux_lora.errors import ModelError
from flux_lora.models.pipeline_parts import frozen
from flux_lora.models.weight_file import Layout, Sides, WeightFile, part_in, settings_told

Encoder = TypeVar("Encoder", bound=PreTrainedModel)


@dataclass(frozen=True, kw_only=True)
class TextLayout(Layout):
    """What a text encoder is known by."""

    prefixes: Sequence[str]
    """Before its names; the first that is there."""
    mark: str
    """A tensor of it and of no other."""


def open_text_file(path: str, layout: TextLayout) -> WeightFile:
    """Its header. Raises ModelError where it holds another model."""
    return part_in(path, layout.model, layout.prefixes, (layout.mark,))


def text_settings(path: str, layout: TextLayout) -> Mapping[str, Any]:
    """What its config.json would say."""
    weights = open_text_file(path, layout)
    return settings_told(weights.file, weights.shapes, layout)


def load_text_file(
    model: type[Encoder],
    config: PretrainedConfig,
    weights: WeightFile,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Encoder:
    """The encoder of transformers' class `model`, frozen. Raises ModelError where the file does not fill it."""
    with weights.opened() as read, quiet_transformers():
        tensors: Mapping[str, Tensor] = {name: read(name) for name in weights.shapes}
        filled, found = cast(Any, model).from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=dtype,
            device_map={"": device},
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    wrong = sorted(found["missing_keys"]) + sorted(name for name, *_ in found["mismatched_keys"])
    if wrong:
        raise ModelError(
            f"{weights.file} has no {wrong[0]} that fits", fix="fetch the file again, or give its config.json too"
        )
    return frozen(filled)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without its warnings: of layers that are left out on purpose, and of what else is in a file."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def rows(shapes: Sides, name: str) -> int:
    """Outputs of a weight."""
    return shapes[name][0]

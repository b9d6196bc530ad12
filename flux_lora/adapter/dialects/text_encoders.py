"""Module names and keys of deltas of the text encoders (CLIP, T5), which share files with the transformer's.

Our names are text_encoder.text_model.encoder.layers.0.self_attn.q_proj (CLIP) and
text_encoder_2.encoder.block.0.layer.0.SelfAttention.q (T5). transformers 5 calls CLIP's layers
without text_model; files keep it, or ComfyUI, sd-scripts and older diffusers lose them.
"""

import re
from functools import lru_cache

import torch
from torch import Tensor

from flux_lora.adapter.dialects.keys import KeyFormat, deltas_to_keys, refuse_types
from flux_lora.adapter.dialects.module_names import MOST_KEYS
from flux_lora.adapter.layer_types import Adapter

CLIP = r"(?:text_encoder\.|text_encoders\.clip_l\.transformer\.|clip_l\.|lora_te1?_)"
T5 = r"(?:text_encoder_2\.|text_encoders\.t5xxl\.transformer\.|t5\.|lora_te[23]_)"
CLIP_LAYER = re.compile(
    CLIP + r"(?:text_model[._])?encoder[._]layers[._](\d{1,3})[._](self_attn|mlp)[._]((?:[qkv]|out)_proj|fc[12])"
)
T5_LAYER = re.compile(
    T5 + r"encoder[._]block[._](\d{1,3})[._]layer[._]([01])[._](SelfAttention|DenseReluDense)[._]([qkvo]|wi_[01]|wi|wo)"
)
OF_TEXT = re.compile(f"{CLIP}|{T5}")
CLIP_NAME = "text_encoder."
T5_NAME = "text_encoder_2."


def is_text_encoder(key: str) -> bool:
    """Whether a key is of a text encoder."""
    return OF_TEXT.match(key) is not None


@lru_cache(maxsize=MOST_KEYS)
def text_encoder_module(stem: str) -> str | None:
    """Our name of the module that a key without its ending means; None if it is not of a text encoder."""
    clip, t5 = CLIP_LAYER.fullmatch(stem), T5_LAYER.fullmatch(stem)
    if clip:
        return f"{CLIP_NAME}text_model.encoder.layers.{clip[1]}.{clip[2]}.{clip[3]}"
    if t5:
        return f"{T5_NAME}encoder.block.{t5[1]}.layer.{t5[2]}.{t5[3]}.{t5[4]}"
    return None


def to_text_encoders(text_encoders: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """Deltas of text encoders under kohya's keys: lora_te1_ for CLIP, which every loader reads, and lora_te3_ for T5,
    which sd-scripts, ComfyUI and Forge read."""
    refuse_types(text_encoders, "kohya", ("LoRA",))
    tensors = {}
    for prefix, encoder in (("lora_te1_", CLIP_NAME), ("lora_te3_", T5_NAME)):
        key_format = KeyFormat(dialect="kohya", prefix=prefix, underscores=True)
        deltas = (
            (name.removeprefix(encoder), delta)
            for name, delta in text_encoders.deltas.items()
            if name.startswith(encoder)
        )
        tensors |= deltas_to_keys(deltas, key_format, dtype)
    return tensors

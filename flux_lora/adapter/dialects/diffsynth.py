"""DiffSynth-Studio's own names: blocks.0.attn.a_to_qkv.lora_A.default.weight (a is the image stream, b the text's).

Its modules are Black Forest Labs' under other names, rows in the same order; no alpha, it applies the factors at 1.
Read only: its own FluxLoRAConverter writes kohya's names from these, by this table.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from flux_lora.adapter.dialects.keys import PEFT_ENDS, KeyFormat
from flux_lora.adapter.dialects.read import StateDictContents, read_state_dict

DIALECT = "diffsynth"
DOUBLE: Mapping[str, str] = {
    "attn.a_to_qkv": "img_attn.qkv",
    "attn.b_to_qkv": "txt_attn.qkv",
    "attn.a_to_out": "img_attn.proj",
    "attn.b_to_out": "txt_attn.proj",
    "ff_a.0": "img_mlp.0",
    "ff_a.2": "img_mlp.2",
    "ff_b.0": "txt_mlp.0",
    "ff_b.2": "txt_mlp.2",
    "norm1_a.linear": "img_mod.lin",
    "norm1_b.linear": "txt_mod.lin",
}
SINGLE: Mapping[str, str] = {"to_qkv_mlp": "linear1", "proj_out": "linear2", "norm.linear": "modulation.lin"}
BLOCKS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "blocks": ("double_blocks", DOUBLE),
    "single_blocks": ("single_blocks", SINGLE),
}
KEY = re.compile(r"(?:pipe\.dit\.|dit\.)?(single_blocks|blocks)\.(\d{1,3})\.(.+?)(\.lora_[AB](?:\.default)?\.weight)")
AS_BFL = KeyFormat(dialect=DIALECT, prefix="", native=True, ends=PEFT_ENDS)


def is_diffsynth(key: str) -> bool:
    """Whether a key is of this dialect."""
    return _bfl_key(key) is not None


def from_diffsynth(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> StateDictContents:
    """The adapter of a file in this dialect."""
    return read_state_dict(AS_BFL, {_bfl_key(key) or key: tensor for key, tensor in tensors.items()}, metadata)


def _bfl_key(key: str) -> str | None:
    """The key under Black Forest Labs' names."""
    found = KEY.fullmatch(key)
    if found is None:
        return None
    blocks, modules = BLOCKS[found[1]]
    return f"{blocks}.{found[2]}.{modules[found[3]]}{found[4]}" if found[3] in modules else None

"""Which linear layers learn, as patterns with human names.

Patterns match whole names. PEFT matches bare names by suffix, so "proj_out" alone would also
catch the model's final layer, which no ComfyUI or kohya reader takes from a block's name.
"""

import re
from collections.abc import Iterable, Mapping

from flux_lora.config.choices import AdapterTargets
from flux_lora.errors import ConfigError

DOUBLE = r"transformer_blocks\.\d+\."
SINGLE = r"single_transformer_blocks\.\d+\."

ATTENTION = (
    rf"{DOUBLE}attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)",
    rf"{SINGLE}attn\.to_[qkv]",
)
MLP = (
    rf"{DOUBLE}ff(_context)?\.net\.(0\.proj|2)",
    rf"{SINGLE}(proj_mlp|proj_out)",  # a single block's proj_out is the way out of attention and MLP together
)
MODULATION = (
    rf"{DOUBLE}norm1(_context)?\.linear",
    rf"{SINGLE}norm\.linear",
)

TARGETS: Mapping[AdapterTargets, str] = {
    AdapterTargets.attention: "|".join(ATTENTION),
    AdapterTargets.attention_mlp: "|".join(ATTENTION + MLP),
    AdapterTargets.blocks_all: "|".join(ATTENTION + MLP + MODULATION),
}


def matching_layers(names: Iterable[str], targets: AdapterTargets) -> list[str]:
    """The names that the targets mean, in the order given."""
    pattern = re.compile(TARGETS[targets])
    found = [name for name in names if pattern.fullmatch(name)]
    if not found:
        raise ConfigError(
            f"adapter.targets is {targets}, which names no layer of this base",
            fix="set model.path to a FLUX.1 transformer in the diffusers layout",
        )
    return found

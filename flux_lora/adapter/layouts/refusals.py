"""What a dialect cannot carry, known before training. Importing this waits for no torch."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

DOUBLE, SINGLE = r"transformer_blocks\.\d+\.", r"single_transformer_blocks\.\d+\."
ALL_KINDS = ("LoRA", "DoRA", "LoKr", "LoHa", "OFT")
PLAIN = ("LoRA",)
UNFUSED = ("LoRA", "LoKr", "LoHa")


@dataclass(frozen=True)
class DialectLimits:
    """What a dialect has names for."""

    kinds: tuple[str, ...]
    modules: str = ".+"
    """Of diffusers' module names."""


XLABS = rf"{DOUBLE}attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)|{SINGLE}(attn\.to_[qkv]|proj_out)"
DIALECT_LIMITS: Mapping[str, DialectLimits] = {
    "diffusers": DialectLimits(PLAIN),  # of DoRA the three readers make three things
    "comfyui": DialectLimits(UNFUSED),
    "kohya": DialectLimits(
        PLAIN, r"(?!(proj_out|norm_out\.linear)$).+"
    ),  # sd-scripts has no final layer in its network
    "bfl": DialectLimits(PLAIN),
    "onetrainer": DialectLimits(UNFUSED),
    "xlabs": DialectLimits(PLAIN, XLABS),
    "lycoris": DialectLimits(ALL_KINDS),
    "peft": DialectLimits(("LoRA", "DoRA")),
}


def dialect_refusals(names: Collection[str], kind: str, dialects: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each dialect that has no room for a change of this kind to these modules, and the way out."""
    for dialect in dialects:
        room = DIALECT_LIMITS.get(dialect, DialectLimits(ALL_KINDS))
        if kind not in room.kinds:
            yield (
                f"export.dialects names {dialect}, which has no spelling of a {kind}",
                f"set export.dialects to one that has: {', '.join(_dialects_for(kind))}",
            )
        homeless = [name for name in names if not re.fullmatch(room.modules, name)]
        if homeless:
            yield (
                f"export.dialects names {dialect}, which has no place for {len(homeless)} of {len(names)} layers, "
                f"first {homeless[0]}",
                "set export.dialects=[diffusers], or adapter.targets=attention",
            )


def _dialects_for(kind: str) -> list[str]:
    return [dialect for dialect, room in DIALECT_LIMITS.items() if kind in room.kinds]

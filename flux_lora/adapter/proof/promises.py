"""Which programs each dialect is written for, and what a program is known to leave out of it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flux_lora.adapter.kinds import OFT, DoRA, LayerDelta, type_name, type_with_article
from flux_lora.adapter.readers.comfyui import COMFYUI, FORGE
from flux_lora.adapter.readers.consumed import Loader
from flux_lora.adapter.readers.diffusers import DIFFUSERS, DIFFUSERS_032
from flux_lora.adapter.readers.sdscripts import SD_SCRIPTS
from flux_lora.adapter.tensors import Adapter

BLOCKS = r"(single_)?transformer_blocks\..+"
ATTENTION = r"(single_)?transformer_blocks\.\d+\.attn\..+|(?!(single_)?transformer_blocks\.).+"
CLIP = r"text_encoder\..+"
EVERYTHING = r".+"
USO = (r"transformer_blocks\.18\.attn\.add_[qkv]_proj", r"single_transformer_blocks\.37\.attn\.to_[qkv]")
"""By these ComfyUI knows a file of USO, which is spelled as XLabs'."""


@dataclass(frozen=True)
class ExpectedSupport:
    """A program that takes these modules of a dialect, whole and at the strength they were trained at."""

    reader: Loader
    modules: str = EVERYTHING
    """Of diffusers' names; what is outside it leaves without a word."""


BLOCK_LAYERS = ExpectedSupport(DIFFUSERS, f"{BLOCKS}|{CLIP}")
EXPECTED_SUPPORT: Mapping[str, tuple[ExpectedSupport, ...]] = {
    "diffusers": (
        ExpectedSupport(DIFFUSERS),
        ExpectedSupport(DIFFUSERS_032),
        ExpectedSupport(COMFYUI),
        ExpectedSupport(FORGE),
    ),
    "kohya": (ExpectedSupport(SD_SCRIPTS), ExpectedSupport(COMFYUI), ExpectedSupport(FORGE), BLOCK_LAYERS),
    "comfyui": (ExpectedSupport(COMFYUI), ExpectedSupport(FORGE), BLOCK_LAYERS),
    "onetrainer": (ExpectedSupport(COMFYUI), ExpectedSupport(FORGE), ExpectedSupport(DIFFUSERS)),
    "xlabs": (ExpectedSupport(DIFFUSERS), ExpectedSupport(DIFFUSERS_032), ExpectedSupport(COMFYUI)),
    "lycoris": (ExpectedSupport(COMFYUI), ExpectedSupport(FORGE)),
}
"""A dialect that is not here is read by none of the programs that were measured."""


def expected_loaders(dialect: str, adapter: Adapter) -> tuple[ExpectedSupport, ...]:
    """The programs that take this adapter in this dialect, by what is known of them."""
    return tuple(each for each in EXPECTED_SUPPORT.get(dialect, ()) if not _gap(each, dialect, adapter))


def gaps(dialect: str, adapter: Adapter) -> Iterator[str]:
    """What the programs of a dialect will not take of this adapter, in words."""
    for each in EXPECTED_SUPPORT.get(dialect, ()):
        gap = _gap(each, dialect, adapter)
        outside = [name for name in adapter.deltas if not re.fullmatch(each.modules, name)]
        if gap:
            yield f"{each.reader.name} {gap}"
        elif outside:
            yield f"{each.reader.name} leaves {len(outside)} modules of this dialect out, first {outside[0]}"


def _gap(promise: ExpectedSupport, dialect: str, adapter: Adapter) -> str:
    """Why the program cannot take the adapter at all; nothing if it can."""
    kinds = {type_name(change) for change in adapter.deltas.values()}
    if promise.reader is DIFFUSERS_032 and len(adapter.ranks) > 1:
        return "stops at adapters of several ranks"
    if promise.reader in (DIFFUSERS, DIFFUSERS_032) and kinds - {"LoRA", "DoRA"}:
        return f"does not know {' and '.join(sorted(kinds - {'LoRA', 'DoRA'}))}"
    misread = next((each for each in adapter.deltas.values() if _misread(each)), None)
    if promise.reader in (COMFYUI, FORGE) and misread is not None:
        return f"does not apply {type_with_article(misread)} of this sort as it was trained"
    if promise.reader is COMFYUI and dialect == "xlabs" and not _looks_like_uso(adapter):
        return "takes this dialect only with changes to the text's side of block 18 and to q, k, v of single block 37"
    if promise.reader is DIFFUSERS and dialect == "onetrainer":
        others = [name for name in adapter.deltas if not re.fullmatch(ATTENTION, name)]
        return f"stops at modules of blocks that are not attention, here {others[0]}" if others else ""
    if not any(re.fullmatch(promise.modules, name) for name in adapter.deltas):
        return "takes none of these modules in this dialect"
    return ""


def _misread(change: LayerDelta) -> bool:
    """ComfyUI divides DoRA's magnitudes per output by the wrong norm, and leaves OFT's rescale out (measured)."""
    match change:
        case DoRA():
            return not change.per_input
        case OFT():
            return change.rescale is not None
        case _:
            return False


def _looks_like_uso(adapter: Adapter) -> bool:
    return all(any(re.fullmatch(mark, name) for name in adapter.deltas) for mark in USO)

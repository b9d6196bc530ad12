"""Which programs each dialect is written for, and what a program is known to leave out of it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flux_lora.adapter.kinds import Change, Decomposed, Orthogonal, a_kind, kind_of
from flux_lora.adapter.readers.comfyui import COMFYUI, FORGE
from flux_lora.adapter.readers.consumed import Reader
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
class Promise:
    """A program that takes these modules of a dialect, whole and at the strength they were trained at."""

    reader: Reader
    modules: str = EVERYTHING
    """Of diffusers' names; what is outside it leaves without a word."""


BLOCK_LAYERS = Promise(DIFFUSERS, f"{BLOCKS}|{CLIP}")
PROMISES: Mapping[str, tuple[Promise, ...]] = {
    "diffusers": (Promise(DIFFUSERS), Promise(DIFFUSERS_032), Promise(COMFYUI), Promise(FORGE)),
    "kohya": (Promise(SD_SCRIPTS), Promise(COMFYUI), Promise(FORGE), BLOCK_LAYERS),
    "comfyui": (Promise(COMFYUI), Promise(FORGE), BLOCK_LAYERS),
    "onetrainer": (Promise(COMFYUI), Promise(FORGE), Promise(DIFFUSERS)),
    "xlabs": (Promise(DIFFUSERS), Promise(DIFFUSERS_032), Promise(COMFYUI)),
    "lycoris": (Promise(COMFYUI), Promise(FORGE)),
}
"""A dialect that is not here is read by none of the programs that were measured."""


def promised(dialect: str, adapter: Adapter) -> tuple[Promise, ...]:
    """The programs that take this adapter in this dialect, by what is known of them."""
    return tuple(each for each in PROMISES.get(dialect, ()) if not _gap(each, dialect, adapter))


def gaps(dialect: str, adapter: Adapter) -> Iterator[str]:
    """What the programs of a dialect will not take of this adapter, in words."""
    for each in PROMISES.get(dialect, ()):
        gap = _gap(each, dialect, adapter)
        outside = [name for name in adapter.changes if not re.fullmatch(each.modules, name)]
        if gap:
            yield f"{each.reader.name} {gap}"
        elif outside:
            yield f"{each.reader.name} leaves {len(outside)} modules of this dialect out, first {outside[0]}"


def _gap(promise: Promise, dialect: str, adapter: Adapter) -> str:
    """Why the program cannot take the adapter at all; nothing if it can."""
    kinds = {kind_of(change) for change in adapter.changes.values()}
    if promise.reader is DIFFUSERS_032 and len(adapter.ranks) > 1:
        return "stops at adapters of several ranks"
    if promise.reader in (DIFFUSERS, DIFFUSERS_032) and kinds - {"LoRA", "DoRA"}:
        return f"does not know {' and '.join(sorted(kinds - {'LoRA', 'DoRA'}))}"
    misread = next((each for each in adapter.changes.values() if _misread(each)), None)
    if promise.reader in (COMFYUI, FORGE) and misread is not None:
        return f"does not apply {a_kind(misread)} of this sort as it was trained"
    if promise.reader is COMFYUI and dialect == "xlabs" and not _looks_like_uso(adapter):
        return "takes this dialect only with changes to the text's side of block 18 and to q, k, v of single block 37"
    if promise.reader is DIFFUSERS and dialect == "onetrainer":
        others = [name for name in adapter.changes if not re.fullmatch(ATTENTION, name)]
        return f"stops at modules of blocks that are not attention, here {others[0]}" if others else ""
    if not any(re.fullmatch(promise.modules, name) for name in adapter.changes):
        return "takes none of these modules in this dialect"
    return ""


def _misread(change: Change) -> bool:
    """ComfyUI divides DoRA's magnitudes per output by the wrong norm, and leaves OFT's rescale out (measured)."""
    match change:
        case Decomposed():
            return not change.per_input
        case Orthogonal():
            return change.rescale is not None
        case _:
            return False


def _looks_like_uso(adapter: Adapter) -> bool:
    return all(any(re.fullmatch(mark, name) for name in adapter.changes) for mark in USO)

"""Which programs an adapter in a dialect is promised to, by the dialect's row and what is known of each loader, and
which leave something out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from flux_lora.adapter.dialects.flux2_names import is_flux2
from flux_lora.adapter.dialects.flux3_names import is_flux3
from flux_lora.adapter.dialects.keys import EVERYTHING
from flux_lora.adapter.dialects.module_names import ATTENTION_IN_BLOCKS, USO
from flux_lora.adapter.dialects.table import DIALECTS
from flux_lora.adapter.layer_types import OFT, Adapter, DoRA, LayerDelta, type_name, type_with_article
from flux_lora.adapter.loaders.comfyui import COMFYUI, FORGE
from flux_lora.adapter.loaders.compatibility import LOADERS
from flux_lora.adapter.loaders.diffusers import DIFFUSERS, DIFFUSERS_032
from flux_lora.adapter.loaders.result import Loader


@dataclass(frozen=True)
class ExpectedSupport:
    """A program that takes these modules of a dialect, whole and at the trained strength."""

    reader: Loader
    modules: str = EVERYTHING
    """Pattern of diffusers' names; modules outside it are left out without a message."""


def expected_loaders(dialect: str, adapter: Adapter) -> tuple[ExpectedSupport, ...]:
    """The programs that take this adapter in this dialect, in the order of the dialect's row."""
    return tuple(support for support in _promises(dialect) if not _obstacle(support, dialect, adapter))


def gaps(dialect: str, adapter: Adapter) -> Iterator[str]:
    """A sentence for each program of a dialect that does not take all of this adapter."""
    for support in _promises(dialect):
        obstacle = _obstacle(support, dialect, adapter)
        outside = [name for name in adapter.deltas if not re.fullmatch(support.modules, name)]
        if obstacle:
            yield f"{support.reader.name} {obstacle}"
        elif outside:
            yield f"{support.reader.name} leaves {len(outside)} modules of this dialect out, first {outside[0]}"


def _promises(dialect: str) -> list[ExpectedSupport]:
    return [ExpectedSupport(LOADERS[name], modules) for name, modules in DIALECTS[dialect].loaders.items()]


def _obstacle(support: ExpectedSupport, dialect: str, adapter: Adapter) -> str:
    """Why the program cannot take the adapter at all; empty if it can."""
    if is_flux2(adapter.deltas) and not support.reader.flux2:
        return "does not know FLUX.2"
    if is_flux3(adapter.deltas) and support.reader.without_flux3:
        return support.reader.without_flux3
    return _obstacle_in_layers(support, dialect, adapter)


def _obstacle_in_layers(support: ExpectedSupport, dialect: str, adapter: Adapter) -> str:
    """Why it cannot take these layer types, ranks or modules; empty if it can."""
    loader = support.reader
    unknown = {type_name(delta) for delta in adapter.deltas.values()} - {"LoRA", "DoRA"}
    if loader is DIFFUSERS_032 and len(adapter.ranks) > 1:
        return "stops at adapters of several ranks"
    if loader in (DIFFUSERS, DIFFUSERS_032) and unknown:
        return f"does not know {' and '.join(sorted(unknown))}"
    if loader is FORGE and "OFT" in unknown:
        return "does not know OFT"
    misread = next((delta for delta in adapter.deltas.values() if _misread_by_comfyui(delta)), None)
    if loader in (COMFYUI, FORGE) and misread is not None:
        return f"does not apply {type_with_article(misread)} of this sort as it was trained"
    if loader is COMFYUI and dialect == "xlabs" and not _has_uso_modules(adapter):
        return "takes this dialect only with changes to the text's side of block 18 and to q, k, v of single block 37"
    if loader is DIFFUSERS and dialect == "onetrainer":
        others = [name for name in adapter.deltas if not re.fullmatch(ATTENTION_IN_BLOCKS, name)]
        return f"stops at modules of blocks that are not attention, here {others[0]}" if others else ""
    if not any(re.fullmatch(support.modules, name) for name in adapter.deltas):
        return "takes none of these modules in this dialect"
    return ""


def _misread_by_comfyui(delta: LayerDelta) -> bool:
    """ComfyUI divides DoRA's magnitudes per output by the wrong norm, and leaves OFT's rescale out (measured)."""
    match delta:
        case DoRA():
            return not delta.per_input
        case OFT():
            return delta.rescale is not None
        case _:
            return False


def _has_uso_modules(adapter: Adapter) -> bool:
    return all(any(re.fullmatch(pattern, name) for name in adapter.deltas) for pattern in USO)

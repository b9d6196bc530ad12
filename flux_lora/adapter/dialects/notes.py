"""Notes on an adapter that was read from another trainer's file."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping

from flux_lora.adapter.dialects.flux2_names import is_flux2
from flux_lora.adapter.dialects.flux3_names import is_flux3
from flux_lora.adapter.dialects.module_names import is_bfl
from flux_lora.adapter.layer_types import Adapter, LoRA, type_name
from flux_lora.models.flux1.layers import CHANNELS, flux1_shapes
from flux_lora.models.flux2.layers import DEV, SIZES, flux2_shapes
from flux_lora.models.flux3.layers import flux3_shapes

SPLIT_QKV = (
    "sd-scripts trained q, k and v apart (split_qkv) and wrote them as one module of three or four times the rank "
    "under the same alpha: every program applies their change at a third (double blocks) or a quarter (single blocks) "
    "of what was trained"
)
IMAGE_EMBEDDER = "x_embedder"


def notes_on_adapter(adapter: Adapter, metadata: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each thing that is unusual: layer types, foreign modules, no training, fused modules, alpha."""
    layer_types = Counter(type_name(delta) for delta in adapter.deltas.values())
    for name, count in sorted(layer_types.items()):
        if name != "LoRA":
            yield f"{count} of {layer_types.total()} modules are changed by {name}, which few programs read right"
    yield from _foreign_modules({name: delta for name, delta in adapter.deltas.items() if isinstance(delta, LoRA)})
    if adapter.deltas and all(isinstance(delta, LoRA) and not delta.up.any() for delta in adapter.deltas.values()):
        yield "it changes nothing: it has not learned yet"
    fused = [name for name in adapter.deltas if is_bfl(name)]
    if fused:
        yield f"{len(fused)} changes of fused matrices cannot be taken apart, first {fused[0]}"
    if _split_qkv(metadata):
        yield SPLIT_QKV
    folded = all(delta.alpha == delta.rank for delta in adapter.deltas.values() if isinstance(delta, LoRA))
    rank, alpha = metadata.get("ss_network_dim", ""), metadata.get("ss_network_alpha", "")
    if folded and rank != alpha and rank.isdigit() and _is_number(alpha):
        yield (
            f"its metadata says alpha {float(alpha):g} at rank {rank}, its tensors do not: it is read at scale 1, "
            "as every program reads it"
        )


def _split_qkv(metadata: Mapping[str, str]) -> bool:
    """Whether sd-scripts trained q, k and v apart (split_qkv=True)."""
    try:
        found = json.loads(metadata.get("ss_network_args", ""))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and str(found.get("split_qkv")) == "True"


def _foreign_modules(layers: Mapping[str, LoRA]) -> Iterator[str]:
    """Names or shapes that FLUX.1 does not have, and the model that does: some share its names."""
    if is_flux3(layers):
        known = flux3_shapes(flow_map=True)
        fits = all(known.get(name) == layer.shape for name, layer in layers.items())
        yield f"it is for FLUX.3 {'klein' if fits else 'of another size than the released one'}, and not for FLUX.1"
        return
    if is_flux2(layers):
        shapes = {name: layer.shape for name, layer in layers.items()}
        sizes = [name for name, size in SIZES.items() if shapes.items() <= flux2_shapes(size).items()]
        yield f"it is for FLUX.2 {' or '.join(sizes) or 'of another size than the released ones'}, and not for FLUX.1"
        return
    known = flux1_shapes()
    unknown = [name for name in layers if name not in known]
    if unknown:
        yield f"FLUX.1 has no {unknown[0]} ({len(unknown)} such modules); Qwen-Image has 60 blocks of these names"
    wide = [name for name, layer in layers.items() if name in known and DEV.width in layer.shape > known[name]]
    if wide:
        outputs, inputs = layers[wide[0]].shape
        yield f"{wide[0]} is {outputs} x {inputs}, which FLUX.2 has and FLUX.1 has not"
    image = layers.get(IMAGE_EMBEDDER)
    if image is not None and image.shape[1] == 2 * CHANNELS:
        yield "it takes a second image in, as a control LoRA does: programs need a pipeline for those"


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()

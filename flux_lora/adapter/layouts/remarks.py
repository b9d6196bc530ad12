"""What the owner of a foreign file may want to know about how it was read."""

from collections import Counter
from collections.abc import Iterator, Mapping

from flux_lora.adapter.kinds import LoRA, type_name
from flux_lora.adapter.layouts.names import is_bfl
from flux_lora.adapter.readers.architecture import CHANNELS, flux1_shapes
from flux_lora.adapter.tensors import Adapter

FLUX2_WIDTH = 6144
PICTURE = "x_embedder"


def notes_on_adapter(adapter: Adapter, metadata: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each thing that is not as usual."""
    kinds = Counter(type_name(change) for change in adapter.deltas.values())
    for kind, count in sorted(kinds.items()):
        if kind != "LoRA":
            yield f"{count} of {kinds.total()} modules are changed by {kind}, which few programs read right"
    yield from _strangers({name: change for name, change in adapter.deltas.items() if isinstance(change, LoRA)})
    if adapter.deltas and all(isinstance(each, LoRA) and not each.up.any() for each in adapter.deltas.values()):
        yield "it changes nothing: it has not learned yet"
    whole = [name for name in adapter.deltas if is_bfl(name)]
    if whole:
        yield f"{len(whole)} changes of fused matrices cannot be taken apart, first {whole[0]}"
    folded = all(change.alpha == change.rank for change in adapter.deltas.values() if isinstance(change, LoRA))
    rank, alpha = metadata.get("ss_network_dim", ""), metadata.get("ss_network_alpha", "")
    if folded and rank != alpha and rank.isdigit() and _is_number(alpha):
        yield (
            f"its metadata says alpha {float(alpha):g} at rank {rank}, its tensors do not: it is read at scale 1, "
            "as every program reads it"
        )


def _strangers(layers: Mapping[str, LoRA]) -> Iterator[str]:
    """Other models have modules of the same names; what they are is told where it can be."""
    known = flux1_shapes()
    elsewhere = [name for name in layers if name not in known]
    if elsewhere:
        yield f"FLUX.1 has no {elsewhere[0]} ({len(elsewhere)} such modules); Qwen-Image has 60 blocks of these names"
    wide = [name for name, layer in layers.items() if name in known and FLUX2_WIDTH in layer.shape > known[name]]
    if wide:
        outputs, inputs = layers[wide[0]].shape
        yield f"{wide[0]} is {outputs} x {inputs}, which FLUX.2 has and FLUX.1 has not"
    picture = layers.get(PICTURE)
    if picture is not None and picture.shape[1] == 2 * CHANNELS:
        yield "it takes a second picture in, as a control LoRA does: programs need a pipeline for those"


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()

"""What the owner of a foreign file may want to know about how it was read."""

from collections import Counter
from collections.abc import Iterator, Mapping

from flux_lora.adapter.kinds import Layer, kind_of
from flux_lora.adapter.layouts.names import is_bfl
from flux_lora.adapter.tensors import Adapter


def remarks_on(adapter: Adapter, metadata: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each thing that is not as usual."""
    kinds = Counter(kind_of(change) for change in adapter.changes.values())
    for kind, count in sorted(kinds.items()):
        if kind != "LoRA":
            yield f"{count} of {kinds.total()} modules are changed by a {kind}, which few programs read right"
    whole = [name for name in adapter.changes if is_bfl(name)]
    if whole:
        yield f"{len(whole)} changes of fused matrices cannot be taken apart, first {whole[0]}"
    folded = all(change.alpha == change.rank for change in adapter.changes.values() if isinstance(change, Layer))
    rank, alpha = metadata.get("ss_network_dim", ""), metadata.get("ss_network_alpha", "")
    if folded and rank != alpha and rank.isdigit() and _is_number(alpha):
        yield (
            f"its metadata says alpha {float(alpha):g} at rank {rank}, its tensors do not: it is read at scale 1, "
            "as every program reads it"
        )


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()

"""A LoRA file as the place to begin: the same layers, the same rank, the recipe's alpha, and the effect that it has."""

from collections.abc import Collection
from pathlib import Path

from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.layer_types import Adapter, LoRA, type_name
from flux_lora.errors import ConfigError


def read_start(file: Path, ranks: Collection[int]) -> Adapter:
    """The LoRA of a file in any dialect; ConfigError where it is another type, or of other ranks than are trained."""
    found = read_adapter(file)
    others = {name: type_name(delta) for name, delta in found.deltas.items() if not isinstance(delta, LoRA)}
    rank = max(ranks)
    if others:
        name, kind = next(iter(others.items()))
        raise ConfigError(
            f"adapter.start={file}: {name} is a {kind}, and only LoRAs are trained",
            fix=f"turn it into one: flux-lora resize file={file} rank={rank} out=<new file>",
        )
    if set(found.ranks) != set(ranks):
        told, wanted = (", ".join(map(str, sorted(each))) for each in (found.ranks, ranks))
        raise ConfigError(
            f"adapter.start={file} has rank {told}, and adapter.rank is {wanted}",
            fix=f"set adapter.rank to it, or: flux-lora resize file={file} rank={rank} out=<new file>",
        )
    return found


def started_from(file: Path, fresh: Adapter) -> Adapter:
    """The file's LoRA in float32 with the alphas of `fresh`, the untrained adapter of the layers that are trained;
    ConfigError where it has other layers."""
    found = read_start(file, fresh.ranks)
    missing, more = fresh.layers.keys() - found.layers.keys(), found.layers.keys() - fresh.layers.keys()
    if missing or more:
        what = f"lacks {min(missing)} ({len(missing)} such layers)" if missing else ""
        extra = f"has {min(more)} ({len(more)} such layers), which is not trained" if more else ""
        raise ConfigError(
            f"adapter.start={file} {' and '.join(filter(None, (what, extra)))}",
            fix="set adapter.targets to what it was trained with, and model to its base",
        )
    other = next((name for name, layer in fresh.layers.items() if found.layers[name].rank != layer.rank), "")
    if other:
        raise ConfigError(
            f"adapter.start={file} has rank {found.layers[other].rank} at {other}, which is trained at "
            f"{fresh.layers[other].rank}",
            fix="set adapter.rank and adapter.ranks to what it was trained with",
        )
    return Adapter({name: _at_alpha(found.layers[name], layer.alpha) for name, layer in fresh.layers.items()})


def _at_alpha(layer: LoRA, alpha: float) -> LoRA:
    """The same change under another alpha: the rest of its scale goes into `up`."""
    return LoRA(layer.down.float(), layer.up.float() * (layer.scale * layer.rank / alpha), alpha)

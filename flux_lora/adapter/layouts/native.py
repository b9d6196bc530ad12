"""Changes of diffusers' modules as changes of FLUX's own modules, and back. Both ways are exact."""

from collections.abc import Iterator, Mapping

from flux_lora.adapter.kinds import LayerDelta, LoRA, type_with_article
from flux_lora.adapter.layouts.names import bfl_name, diffusers_names, is_bfl
from flux_lora.adapter.layouts.qkv import fuse_qkv, split_delta, swap_delta_halves
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError


def to_bfl(adapter: Adapter) -> Iterator[tuple[str, LayerDelta]]:
    """Each native module and its change, in the order of the adapter."""
    members: dict[str, dict[str, LayerDelta]] = {}
    for name, change in adapter.deltas.items():
        module = name if is_bfl(name) else bfl_name(name).module
        members.setdefault(module, {})[name] = change
    for module, changes in members.items():
        yield module, _joined(module, changes)


def from_bfl(changes: Mapping[str, LayerDelta]) -> dict[str, LayerDelta]:
    """The changes under diffusers' names. One that cannot be taken apart keeps its native name."""
    found: dict[str, LayerDelta] = {}
    for name, change in changes.items():
        parts = _parts(name, change) if is_bfl(name) else {name: change}
        twice = sorted(set(parts) & set(found))
        if twice:
            raise _twice(twice[0])
        found |= parts
    return found


def _joined(module: str, changes: Mapping[str, LayerDelta]) -> LayerDelta:
    there = diffusers_names(module)
    if len(changes) > 1 and module in changes:
        raise _twice(module)
    if len(there.names) == 1 or module in changes:
        (name, change) = next(iter(changes.items()))
        return swap_delta_halves(module, change) if there.swap and name != module else change
    layers = {name: change for name, change in changes.items() if isinstance(change, LoRA)}
    others = [name for name in changes if name not in layers]
    if others:
        raise AdapterFileError(
            f"{others[0]} is changed by {type_with_article(changes[others[0]])}, "
            f"which cannot be put into the one matrix {module} that other parts share",
            fix="write it in lycoris names, which keep parts apart; or turn it into a LoRA first: flux-lora resize",
        )
    return fuse_qkv(module, [layers.get(name) for name in there.names], there.shares)


def _parts(module: str, change: LayerDelta) -> dict[str, LayerDelta]:
    there = diffusers_names(module)
    if len(there.names) == 1:
        return {there.names[0]: swap_delta_halves(module, change) if there.swap else change}
    parts = split_delta(module, change, there.shares)
    if parts is None:
        return {module: change}
    return {name: part for name, part in zip(there.names, parts, strict=True) if part is not None}


def _twice(module: str) -> AdapterFileError:
    return AdapterFileError(
        f"the adapter changes {module} twice, once on its own and once as part of a larger matrix",
        fix="give a file that was written by one trainer; merge two with flux-lora merge",
    )

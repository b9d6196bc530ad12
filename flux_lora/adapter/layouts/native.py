"""Changes of diffusers' modules as changes of FLUX's own modules, and back. Both ways are exact."""

from collections.abc import Iterator, Mapping

from flux_lora.adapter.kinds import Change, Layer, a_kind
from flux_lora.adapter.layouts.names import bfl_name, diffusers_names, is_bfl
from flux_lora.adapter.layouts.qkv import fused, split, swapped
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError


def to_native(adapter: Adapter) -> Iterator[tuple[str, Change]]:
    """Each native module and its change, in the order of the adapter."""
    members: dict[str, dict[str, Change]] = {}
    for name, change in adapter.changes.items():
        module = name if is_bfl(name) else bfl_name(name).module
        members.setdefault(module, {})[name] = change
    for module, changes in members.items():
        yield module, _joined(module, changes)


def from_native(changes: Mapping[str, Change]) -> dict[str, Change]:
    """The changes under diffusers' names. One that cannot be taken apart keeps its native name."""
    found: dict[str, Change] = {}
    for name, change in changes.items():
        parts = _parts(name, change) if is_bfl(name) else {name: change}
        twice = sorted(set(parts) & set(found))
        if twice:
            raise _twice(twice[0])
        found |= parts
    return found


def _joined(module: str, changes: Mapping[str, Change]) -> Change:
    there = diffusers_names(module)
    if len(changes) > 1 and module in changes:
        raise _twice(module)
    if len(there.names) == 1 or module in changes:
        (name, change) = next(iter(changes.items()))
        return swapped(module, change) if there.swap and name != module else change
    layers = {name: change for name, change in changes.items() if isinstance(change, Layer)}
    others = [name for name in changes if name not in layers]
    if others:
        raise AdapterFileError(
            f"{others[0]} is changed by {a_kind(changes[others[0]])}, which cannot be put into the one matrix "
            f"{module} that other parts share",
            fix="write it in lycoris names, which keep parts apart; or turn it into a LoRA first: flux-lora resize",
        )
    return fused(module, [layers.get(name) for name in there.names], there.shares)


def _parts(module: str, change: Change) -> dict[str, Change]:
    there = diffusers_names(module)
    if len(there.names) == 1:
        return {there.names[0]: swapped(module, change) if there.swap else change}
    parts = split(module, change, there.shares)
    if parts is None:
        return {module: change}
    return {name: part for name, part in zip(there.names, parts, strict=True) if part is not None}


def _twice(module: str) -> AdapterFileError:
    return AdapterFileError(
        f"the adapter changes {module} twice, once on its own and once as part of a larger matrix",
        fix="give a file that was written by one trainer; merge two with flux-lora merge",
    )

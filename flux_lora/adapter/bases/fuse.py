"""Add an adapter to the weights of its base for good: a new model, written one tensor at a time.

Only one tensor is held, so a 12-billion-parameter base needs the memory of its largest matrix, not
of a shard. The base's files are only read.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, rmtree

import torch
from torch import Tensor

from flux_lora.adapter.bases.pieces import WeightDelta, delta_on, weight_deltas
from flux_lora.adapter.bases.shards import (
    WEIGHT,
    WIDE_DTYPES,
    BaseFiles,
    open_base,
    raw_of,
    tensor_of,
)
from flux_lora.adapter.files import sync_folder
from flux_lora.adapter.header import header_bytes, in_order
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError

STALE = ("hash", "sha256", "thumbnail")
"""Words in the keys of the base's metadata that are not true of another model."""
NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class Fused:
    """What was written."""

    files: tuple[Path, ...]
    bytes: int
    modules: int
    """Weights that were changed."""
    largest: float
    """The largest change of one weight, relative to the weight: 0.01 is 1 % of it."""
    largest_module: str
    lost: float
    """The share of the whole effect that rounding to the base's dtype took: 0.02 is 2 %."""


@dataclass(frozen=True)
class _Work:
    """What is to be added to what."""

    base: BaseFiles
    pieces: Mapping[str, Sequence[WeightDelta]]
    strength: float
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class _Changed:
    """One weight of the base, changed."""

    module: str
    relative: float
    kept: float  # <Q(W + dW) - W, dW>
    whole: float  # <dW, dW>


def fuse_into_base(
    base: Path, adapter: Adapter, out: Path, *, strength: float = 1.0, metadata: Mapping[str, str] = NOTHING
) -> Fused:
    """Write `base` + strength * `adapter` as `out`, a folder or a file as the base is one, in the base's dtype.

    What can be refused is refused before the first byte is written. The metadata is added to the base's own.
    """
    opened = open_base(base)
    work = _Work(opened, weight_deltas(adapter, native=opened.native), strength, metadata)
    _check(work)
    half_written = out.with_name(f"{out.name}.partial")
    _check_free(out, half_written)
    try:
        changed = _write(work, half_written)
        half_written.replace(out)
    finally:
        _discard(half_written)
    sync_folder(out.parent)
    return _report(sorted(out.iterdir()) if out.is_dir() else [out], changed)


def _check(work: _Work) -> None:
    base, modules = work.base, work.base.modules
    missing = sorted(piece.name for module, each in work.pieces.items() for piece in each if module not in modules)
    if missing:
        raise AdapterFileError(
            f"the adapter changes {missing[0]} ({len(missing)} such module(s)), and {base.root} has no such layer",
            fix="give the base that the adapter was trained on",
        )
    if not work.pieces:
        raise AdapterFileError("the adapter changes nothing", fix="give a LoRA of the transformer")
    for file, key in (modules[module] for module in work.pieces):
        dtype = base.shards[file].tensors[key].dtype
        if dtype not in WIDE_DTYPES:
            raise AdapterFileError(
                f"{key} of {file} is stored as {dtype}, where much of a LoRA would be rounded away",
                fix="fuse into the bf16 base and quantise the result, or load the LoRA beside this one",
            )


def _check_free(out: Path, half_written: Path) -> None:
    if out.exists():
        raise AdapterFileError(f"{out} is there already", fix="give another place, or move it away")
    if half_written.exists():
        raise AdapterFileError(
            f"{half_written} is left over from a run that was stopped", fix="remove it and run again"
        )
    out.parent.mkdir(parents=True, exist_ok=True)


def _discard(half_written: Path) -> None:
    """Leave nothing of a run that failed; what was finished has another name by now."""
    if half_written.is_dir():
        rmtree(half_written)
    else:
        half_written.unlink(missing_ok=True)


def _write(work: _Work, into: Path) -> list[_Changed]:
    if work.base.root.is_file():
        return list(_write_shard(work, work.base.root, into))
    into.mkdir()
    changed: list[_Changed] = []
    for shard in work.base.shards:
        changed += _write_shard(work, shard, into / shard.name)
    for companion in work.base.companions:
        copyfile(companion, into / companion.name)
    return changed


def _write_shard(work: _Work, shard: Path, into: Path) -> Iterator[_Changed]:
    header = work.base.shards[shard]
    kept = {key: value for key, value in header.metadata.items() if not any(word in key for word in STALE)}
    with into.open("wb") as opened:
        opened.write(header_bytes(header.tensors, {**kept, **work.metadata}))
        for key, entry in in_order(header.tensors):
            module = work.base.module_of(key)
            if module not in work.pieces or not key.endswith(WEIGHT):
                opened.writelines(raw_of(shard, header, entry))
                continue
            after, seen = _changed(module, tensor_of(shard, header, key), work)
            opened.write(after.reshape(-1).view(torch.uint8).numpy().data)
            yield seen
        opened.flush()
        os.fsync(opened.fileno())


def _changed(module: str, before: Tensor, work: _Work) -> tuple[Tensor, _Changed]:
    """The weight with all its pieces added in float32, back in its dtype."""
    weight = before.to(torch.float32, copy=True)
    for piece in work.pieces[module]:
        piece.into.of(weight).add_(delta_on(piece, weight), alpha=work.strength)
    after = weight.to(before.dtype, copy=True)
    if not after.isfinite().all():
        raise AdapterFileError(
            f"{module} would hold numbers that {str(before.dtype).removeprefix('torch.')} cannot",
            fix="fuse at a lower strength, or into a bf16 base",
        )
    delta = weight.sub_(before)
    kept = after.to(torch.float32, copy=True).sub_(before).mul_(delta).sum(dtype=torch.float64).item()
    whole, size = (torch.linalg.vector_norm(tensor, dtype=torch.float32).item() for tensor in (delta, before))
    return after, _Changed(module, whole / size if size else float("inf"), kept, whole**2)


def _report(files: Sequence[Path], changed: Sequence[_Changed]) -> Fused:
    largest = max(changed, key=lambda each: each.relative)
    whole = sum(each.whole for each in changed)
    return Fused(
        files=tuple(files),
        bytes=sum(file.stat().st_size for file in files),
        modules=len(changed),
        largest=largest.relative,
        largest_module=largest.module,
        lost=max(0.0, 1 - sum(each.kept for each in changed) / whole) if whole else 0.0,
    )

"""Add an adapter to the weights of its base for good: a new model, written one tensor at a time.

Only one tensor is held, so a 12-billion-parameter base needs the memory of its largest matrix, not
of a shard. The base's files are only read.

Shape letters: I inputs and O outputs of the weight.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, rmtree

import torch
from torch import Tensor

from flux_lora.adapter.base_weights import (
    WEIGHT,
    WIDE_DTYPES,
    BaseFiles,
    WeightDelta,
    delta_on,
    open_base,
    raw_of,
    tensor_of,
    weight_deltas,
)
from flux_lora.adapter.header import header_bytes, in_order
from flux_lora.adapter.layer_types import Adapter, all_finite
from flux_lora.atomic import HALF_WRITTEN, sync_folder
from flux_lora.errors import AdapterFileError

STALE = ("hash", "sha256", "thumbnail")
"""Words in the keys of the base's metadata that are dropped: they describe the base's own bytes."""
NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class Fused:
    """The files that were written, and how much they changed."""

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
class _Job:
    """What is to be added to which base."""

    base: BaseFiles
    deltas: Mapping[str, Sequence[WeightDelta]]
    """By module of the base."""
    strength: float
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class _Change:
    """How much one weight W of the base changed; Q rounds to the base's dtype."""

    module: str
    relative: float  # |dW| / |W|
    kept: float  # <Q(W + dW) - W, dW>
    total: float  # <dW, dW>


def fuse_into_base(
    base: Path, adapter: Adapter, out: Path, *, strength: float = 1.0, metadata: Mapping[str, str] = NOTHING
) -> Fused:
    """Write `base` + strength * `adapter` as `out`, a folder or a file as the base is one, in the base's dtype.

    What can be refused is refused before the first byte is written. The metadata is added to the base's own.
    """
    opened = open_base(base)
    job = _Job(opened, weight_deltas(adapter, native=opened.native), strength, metadata)
    _check(job)
    half_written = out.with_name(f"{out.name}{HALF_WRITTEN}")
    _check_free(out, half_written)
    try:
        changes = _write(job, half_written)
        half_written.replace(out)
    finally:
        _remove(half_written)
    sync_folder(out.parent)
    return _summary(sorted(out.iterdir()) if out.is_dir() else [out], changes)


def _check(job: _Job) -> None:
    """Every changed module is in the base, unquantised, and there is at least one."""
    base, modules = job.base, job.base.modules
    missing = sorted(delta.name for module, deltas in job.deltas.items() for delta in deltas if module not in modules)
    if missing:
        raise AdapterFileError(
            f"the adapter changes {missing[0]} ({len(missing)} such module(s)), and {base.root} has no such layer",
            fix="give the base that the adapter was trained on",
        )
    if not job.deltas:
        raise AdapterFileError("the adapter changes nothing", fix="give a LoRA of the transformer")
    for file, key in (modules[module] for module in job.deltas):
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


def _remove(half_written: Path) -> None:
    """Leave nothing of a run that failed. After one that succeeded nothing has this name."""
    if half_written.is_dir():
        rmtree(half_written)
    else:
        half_written.unlink(missing_ok=True)


def _write(job: _Job, out: Path) -> list[_Change]:
    if job.base.root.is_file():
        return list(_write_shard(job, job.base.root, out))
    out.mkdir()
    changes: list[_Change] = []
    for shard in job.base.shards:
        changes += _write_shard(job, shard, out / shard.name)
    for companion in job.base.companions:
        copyfile(companion, out / companion.name)
    return changes


def _write_shard(job: _Job, shard: Path, out: Path) -> Iterator[_Change]:
    """Write one file of the new model, tensor by tensor; yields what was changed as it goes."""
    header = job.base.shards[shard]
    kept = {key: value for key, value in header.metadata.items() if not any(word in key for word in STALE)}
    with out.open("wb") as opened:
        opened.write(header_bytes(header.tensors, {**kept, **job.metadata}))
        for key, entry in in_order(header.tensors):
            module = job.base.module_of(key)
            if module not in job.deltas or not key.endswith(WEIGHT):
                opened.writelines(raw_of(shard, header, entry))
                continue
            fused_OI, change = _fused(module, tensor_of(shard, header, key), job)
            opened.write(fused_OI.reshape(-1).view(torch.uint8).numpy().data)
            yield change
        opened.flush()
        os.fsync(opened.fileno())


def _fused(module: str, before_OI: Tensor, job: _Job) -> tuple[Tensor, _Change]:
    """The weight, OI, with all its deltas added in float32 and rounded back to its dtype."""
    weight_OI = before_OI.to(torch.float32, copy=True)
    for delta in job.deltas[module]:
        delta.weight_rows.of(weight_OI).add_(delta_on(delta, weight_OI), alpha=job.strength)
    after_OI = weight_OI.to(before_OI.dtype, copy=True)
    if not all_finite(after_OI):
        raise AdapterFileError(
            f"{module} would hold numbers that {str(before_OI.dtype).removeprefix('torch.')} cannot",
            fix="fuse at a lower strength, or into a bf16 base",
        )
    delta_OI = weight_OI.sub_(before_OI)
    kept = after_OI.to(torch.float32, copy=True).sub_(before_OI).mul_(delta_OI).sum(dtype=torch.float64).item()
    delta_norm, weight_norm = (
        torch.linalg.vector_norm(matrix, dtype=torch.float32).item() for matrix in (delta_OI, before_OI)
    )
    relative = delta_norm / weight_norm if weight_norm else float("inf")
    return after_OI, _Change(module, relative, kept, delta_norm**2)


def _summary(files: Sequence[Path], changes: Sequence[_Change]) -> Fused:
    largest = max(changes, key=lambda change: change.relative)
    total = sum(change.total for change in changes)
    return Fused(
        files=tuple(files),
        bytes=sum(file.stat().st_size for file in files),
        modules=len(changes),
        largest=largest.relative,
        largest_module=largest.module,
        lost=max(0.0, 1 - sum(change.kept for change in changes) / total) if total else 0.0,
    )

"""A base transformer on disk: its safetensors shards, one weight at a time, and which rows of which weight a delta
touches.

Shape letters: I inputs and O outputs of the weight.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from flux_lora.adapter.dialects.bfl import swap_halves
from flux_lora.adapter.dialects.flux2_names import is_flux2
from flux_lora.adapter.dialects.flux3_names import is_flux3
from flux_lora.adapter.dialects.module_names import (
    KEY_IN_BLOCK,
    BFLLocation,
    DiffusersParts,
    bfl_name,
    diffusers_names,
    is_bfl,
    is_diffusers,
)
from flux_lora.adapter.files import DTYPE_NAMES
from flux_lora.adapter.header import Entry, FileHeader, read_header
from flux_lora.adapter.layer_types import OFT, Adapter, DoRA, LayerDelta, delta_of, type_with_article
from flux_lora.errors import AdapterFileError, ModelError
from flux_lora.models.pipeline_folder import has_index
from flux_lora.models.weight_stream import weight_files

SHARD_INDEX = "diffusion_pytorch_model.safetensors.index.json"
CONFIG = "config.json"
WEIGHT = ".weight"
DTYPES: Mapping[str, torch.dtype] = {name: dtype for dtype, name in DTYPE_NAMES.items()}
WIDE_DTYPES = ("F64", "F32", "F16", "BF16")
"""Dtypes that hold a weight unquantised; in others it is rounded, and may be packed or scaled."""
CHUNK_BYTES = 2**24


@dataclass(frozen=True)
class BaseFiles:
    """A transformer on disk: all headers are read, no tensor is."""

    root: Path
    """The folder, or the single file."""
    shards: Mapping[Path, FileHeader]
    prefix: str
    native: bool
    """Whether its keys are FLUX's own (double_blocks), not diffusers'."""

    def module_of(self, key: str) -> str:
        """The module that a key of a shard belongs to."""
        return key.removeprefix(self.prefix).removesuffix(WEIGHT)

    @cached_property
    def modules(self) -> dict[str, tuple[Path, str]]:
        """Module -> the file and the key of its weight."""
        keys = ((file, key) for file, header in self.shards.items() for key in header.tensors)
        return {self.module_of(key): (file, key) for file, key in keys if key.endswith(WEIGHT)}

    @cached_property
    def flux3(self) -> bool:
        """Whether it is a FLUX.3."""
        return is_flux3(self.modules)

    def bfl_name(self, module: str) -> BFLLocation:
        """Where one of diffusers' modules is under FLUX's own names."""
        return bfl_name(module, flux3=self.flux3)

    def diffusers_names(self, module: str) -> DiffusersParts:
        """diffusers' modules of one of FLUX's own."""
        return diffusers_names(module, flux2=is_flux2(self.modules), flux3=self.flux3)

    @property
    def companions(self) -> tuple[Path, ...]:
        """config.json and the shard index, as far as they are there."""
        if self.root.is_file():
            return ()
        return tuple(self.root / name for name in (CONFIG, SHARD_INDEX) if (self.root / name).is_file())


def open_base(path: Path) -> BaseFiles:
    """A diffusers pipeline or transformer folder, sharded or not, or a single file in either naming.

    Raises ModelError where it is none of these.
    """
    root = path / "transformer" if has_index(path) else path
    files = [root] if root.is_file() else weight_files(root)
    shards = {file: read_header(file) for file in files}
    for key in (key for header in shards.values() for key in header.tensors):
        block = KEY_IN_BLOCK.fullmatch(key)
        if block:
            return BaseFiles(root, shards, prefix=block[1], native=block[2] is not None)
    raise ModelError(
        f"{path} holds no FLUX transformer", fix="give the base's transformer: a diffusers folder or one file"
    )


def tensor_of(file: Path, header: FileHeader, key: str) -> Tensor:
    """One tensor of a file, in the file's dtype."""
    entry = header.tensors[key]
    raw = bytearray(entry.end - entry.start)
    with file.open("rb") as opened:
        opened.seek(_start(header) + entry.start)
        opened.readinto(raw)
    return torch.frombuffer(raw, dtype=DTYPES[entry.dtype]).reshape(entry.shape)


def raw_of(file: Path, header: FileHeader, entry: Entry) -> Iterator[bytes]:
    """The bytes of one tensor, in chunks."""
    with file.open("rb") as opened:
        opened.seek(_start(header) + entry.start)
        for start in range(entry.start, entry.end, CHUNK_BYTES):
            yield opened.read(min(CHUNK_BYTES, entry.end - start))


def _start(header: FileHeader) -> int:
    """Where the first tensor begins, in bytes from the start of the file."""
    return header.bytes - max(entry.end for entry in header.tensors.values())


@dataclass(frozen=True)
class RowSlice:
    """A run of rows, in equal shares of all rows: the k of q, k and v is 1 to 2 of 3."""

    first: int
    end: int
    shares: int

    def of(self, matrix_OI: Tensor) -> Tensor:
        """These rows of the matrix, as a view."""
        share = matrix_OI.shape[0] // self.shares
        return matrix_OI[self.first * share : self.end * share]


ALL_ROWS = RowSlice(0, 1, 1)


def row_slice(location: BFLLocation) -> RowSlice:
    """Where the rows of one of diffusers' modules lie in FLUX's own."""
    first = sum(location.shares[: location.part])
    return RowSlice(first, first + location.shares[location.part], sum(location.shares))


@dataclass(frozen=True)
class WeightDelta:
    """The delta of one adapter layer, as far as it belongs to one weight of the base."""

    name: str
    """The module as the adapter calls it."""
    delta: LayerDelta
    weight_rows: RowSlice = ALL_ROWS
    """The rows of the weight that the delta is added to."""
    delta_rows: RowSlice = ALL_ROWS
    """The rows of the delta that belong to this weight."""
    swap: bool = False
    """Whether base and adapter have the two halves of the rows in opposite order."""


def weight_deltas(adapter: Adapter, *, native: bool) -> Mapping[str, Sequence[WeightDelta]]:
    """The deltas by module of the base, which has FLUX's own (native) names or those of diffusers."""
    found: dict[str, list[WeightDelta]] = {}
    flux3 = is_flux3(adapter.deltas)
    for name, delta in adapter.deltas.items():
        for module, part in _native(name, delta, flux3=flux3) if native else _diffusers(name, delta):
            found.setdefault(module, []).append(part)
    return found


def delta_on(part: WeightDelta, weight_OI: Tensor) -> Tensor:
    """What is added to the weight's `weight_rows`, in the base's order of rows: float32, rows x I."""
    rows = part.weight_rows.of(weight_OI)
    if part.delta_rows != ALL_ROWS:
        return _of_shape(part.delta_rows.of(delta_of(part.delta)), rows, part.name)
    if not part.swap:
        return _of_shape(delta_of(part.delta, rows), rows, part.name)
    return swap_halves(_of_shape(delta_of(part.delta, swap_halves(rows)), rows, part.name))


def _native(name: str, delta: LayerDelta, *, flux3: bool) -> list[tuple[str, WeightDelta]]:
    """FLUX's own module that the delta belongs to, with its share of the rows."""
    if is_bfl(name) or not is_diffusers(name):
        return [(name, WeightDelta(name, delta))]
    location = bfl_name(name, flux3=flux3)
    return [(location.module, WeightDelta(name, delta, weight_rows=row_slice(location), swap=location.swap))]


def _diffusers(name: str, delta: LayerDelta) -> list[tuple[str, WeightDelta]]:
    """diffusers' modules that the delta belongs to: several for a fused qkv or linear1."""
    if is_diffusers(name) or not is_bfl(name):
        return [(name, WeightDelta(name, delta))]
    modules = diffusers_names(name)
    if len(modules.names) == 1:
        return [(modules.names[0], WeightDelta(name, delta, swap=modules.swap))]
    if isinstance(delta, DoRA | OFT):
        raise AdapterFileError(
            f"{name} is changed by {type_with_article(delta)} as one matrix, "
            f"and this base has it in {len(modules.names)}",
            fix="fuse into the same base as one file, in FLUX's own layout",
        )
    parts, first, shares = [], 0, sum(modules.shares)
    for module, share in zip(modules.names, modules.shares, strict=True):
        parts.append((module, WeightDelta(name, delta, delta_rows=RowSlice(first, first + share, shares))))
        first += share
    return parts


def _of_shape(delta_OI: Tensor, weight_OI: Tensor, name: str) -> Tensor:
    """The delta, if it has the weight's shape; else an AdapterFileError."""
    if delta_OI.shape != weight_OI.shape:
        adapter_shape, base_shape = (" x ".join(map(str, matrix.shape)) for matrix in (delta_OI, weight_OI))
        raise AdapterFileError(
            f"the adapter changes {name} ({adapter_shape}), but this base has {base_shape} there",
            fix="use the base that the adapter was trained on",
        )
    return delta_OI


def weight_reader(base: BaseFiles) -> Callable[[str], Tensor]:
    """A function from a module's name, diffusers' or FLUX's own, to its weight: OI, in the base's dtype.

    Each call reads from disk; nothing is kept.
    """

    def weight(name: str) -> Tensor:
        if base.native and is_diffusers(name):
            location = base.bfl_name(name)
            rows = row_slice(location).of(_read(base, location.module))
            return swap_halves(rows) if location.swap else rows
        if not base.native and is_bfl(name):
            modules = base.diffusers_names(name)
            stacked = torch.cat([_read(base, module) for module in modules.names])
            return swap_halves(stacked) if modules.swap else stacked
        return _read(base, name)

    return weight


def linear_modules(base: BaseFiles) -> tuple[str, ...]:
    """Every module with a two-dimensional weight, by diffusers' names, sorted: what a LoRA can change."""
    found: list[str] = []
    for module, (file, key) in base.modules.items():
        if len(base.shards[file].tensors[key].shape) == 2:
            found += base.diffusers_names(module).names if base.native and is_bfl(module) else [module]
    return tuple(sorted(found))


def other_differences(before: BaseFiles, after: BaseFiles) -> dict[str, float]:
    """Tensors that a LoRA cannot hold (biases, norms) and that differ -> the Frobenius norm of their difference.

    Infinite where one of the models lacks the tensor. Models in different layouts are not compared: empty.
    """
    if before.native != after.native:
        return {}
    old, new = _others(before), _others(after)
    found = {name: float("inf") for name in old.keys() ^ new.keys()}
    for name in sorted(old.keys() & new.keys()):
        first, second = (
            tensor_of(file, base.shards[file], key) for base, (file, key) in ((before, old[name]), (after, new[name]))
        )
        if first.shape != second.shape or not torch.equal(first, second):
            same = first.shape == second.shape
            found[name] = float((second.float() - first.float()).norm()) if same else float("inf")
    return found


def _others(base: BaseFiles) -> dict[str, tuple[Path, str]]:
    """Every tensor but the matrices, by its name without the prefix."""
    return {
        key.removeprefix(base.prefix): (file, key)
        for file, header in base.shards.items()
        for key, entry in header.tensors.items()
        if len(entry.shape) != 2
    }


def _read(base: BaseFiles, module: str) -> Tensor:
    """A module's weight, OI; refused where it is not there or is quantised."""
    if module not in base.modules:
        raise AdapterFileError(
            f"{base.root} has no layer {module}", fix="give the base that the adapter was trained on"
        )
    file, key = base.modules[module]
    dtype = base.shards[file].tensors[key].dtype
    if dtype not in WIDE_DTYPES:
        raise ModelError(
            f"{key} of {file} is stored as {dtype}", fix="give the bf16 model: this one is rounded already"
        )
    return tensor_of(file, base.shards[file], key)

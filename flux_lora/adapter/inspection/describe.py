"""Say what a LoRA file is, whoever wrote it: its dialect, kinds, ranks, sizes, and which programs take it.

It needs no model and no photos. What cannot be read as an adapter of FLUX.1 is still described as far
as its names and numbers go, and the description says why it went no further.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from flux_lora.adapter.files import AdapterContents, adapter_file, contents_of, read_tensors
from flux_lora.adapter.header import FileHeader, printable, read_header, shown
from flux_lora.adapter.inspection.groups import Group, block_of, distinct, groups_of, rank_and_alpha
from flux_lora.adapter.inspection.norms import norm_of, without_magnitude
from flux_lora.adapter.inspection.tags import commonest_tags
from flux_lora.adapter.kinds import LayerDelta, type_name
from flux_lora.adapter.labels.hashes import OF_NOTHING, Hashes, hashes_of
from flux_lora.adapter.layouts.dialects import detect
from flux_lora.adapter.layouts.inner import is_checkpoint
from flux_lora.adapter.readers.spelling import PAIRS, alpha_of, lora_of, modules_of
from flux_lora.adapter.readers.verdicts import Compatibility, compatibility
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError

ENDINGS = tuple(ending for pair in PAIRS.values() for ending in pair)
"""What a key of a LoRA ends with, whoever wrote it."""
KINDS = (("lokr_", "LoKr"), ("hada_", "LoHa"), ("dora_scale", "DoRA"), ("magnitude", "DoRA"), ("oft_", "OFT"))
UNKNOWN = "unknown"
DEPENDS = "what {kinds} changes in length depends on the base's weights; {told}"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says and holds. Its words are the file's own, made safe to print."""

    file: str
    bytes: int
    dialect: str
    kinds: tuple[str, ...]
    """LoRA, DoRA, LoKr, LoHa, OFT."""
    dtypes: tuple[str, ...]
    layers: int
    text_layers: int
    """Of the text encoders."""
    parameters: int
    ranks: tuple[int, ...]
    alphas: tuple[float, ...]
    groups: tuple[Group, ...]
    norms: Mapping[str, float]
    """Length of the change by block: transformer_blocks.0, ..., and `rest`."""
    finite: bool
    verdicts: tuple[Compatibility, ...]
    remarks: tuple[str, ...]
    """What a user should know before relying on it."""
    trigger: str
    tags: tuple[str, ...]
    """What its captions said most often, if it tells."""
    title: str
    base: str
    licence: str
    recipe: bool
    """Whether the file holds the recipe that made it."""
    hashes: Hashes
    metadata: Mapping[str, str]


def describe(place: Path) -> Description:
    """What this file or PEFT folder is. Anything that is not a whole LoRA file is an AdapterFileError."""
    file = adapter_file(place)
    header = read_header(file)
    kinds = _kinds(file, header)
    tensors = read_tensors(file)
    reading, remarks = _reading(file, header, tensors)
    changes = {**reading.adapter.deltas, **reading.text_encoders.deltas}
    norms, unsaid = _norms(file, changes)
    metadata = {printable(key): printable(value) for key, value in reading.metadata.items()}
    hashes = hashes_of(file, header)
    numbers = [each for each in map(rank_and_alpha, changes.values()) if each]
    return Description(
        file=str(file),
        bytes=header.bytes,
        dialect=reading.dialect,
        kinds=tuple(sorted({type_name(change) for change in changes.values()})) or kinds,
        dtypes=tuple(sorted({entry.dtype for key, entry in header.tensors.items() if not key.endswith(".alpha")})),
        layers=len(reading.adapter.deltas),
        text_layers=len(reading.text_encoders.deltas),
        parameters=sum(tensor.numel() for key, tensor in tensors.items() if not key.endswith(".alpha")),
        ranks=tuple(sorted({rank for rank, _ in numbers})),
        alphas=distinct(alpha for _, alpha in numbers),
        groups=groups_of(changes),
        norms=norms,
        finite=all(_is_finite(tensor) for tensor in tensors.values()),
        verdicts=compatibility(tensors, header.metadata),
        remarks=(*remarks, *reading.remarks, *unsaid, *_doubts(header, hashes)),
        trigger=metadata.get("modelspec.trigger_phrase", ""),
        tags=tuple(map(printable, commonest_tags(header.metadata))),
        title=metadata.get("modelspec.title") or metadata.get("ss_output_name", ""),
        base=metadata.get("flux_lora.base") or metadata.get("modelspec.architecture", ""),
        licence=metadata.get("modelspec.license", ""),
        recipe="flux_lora.recipe" in metadata,
        hashes=hashes,
        metadata=metadata,
    )


def _is_finite(tensor: Tensor) -> bool:
    """torch has no isfinite for floats of eight bits."""
    return bool((tensor.float() if tensor.element_size() == 1 else tensor).isfinite().all())


def _kinds(file: Path, header: FileHeader) -> tuple[str, ...]:
    found = {kind for mark, kind in KINDS if any(mark in key for key in header.tensors)}
    if found or is_checkpoint(header.tensors) or any(key.endswith(ENDINGS) for key in header.tensors):
        return tuple(sorted(found)) or ("LoRA",)
    first = shown(min(header.tensors, default="nothing at all"))
    raise AdapterFileError(
        f"{file} holds no LoRA: {len(header.tensors)} tensor(s), first {first}",
        fix="give the file of a LoRA; a base model is not one",
    )


def _reading(file: Path, header: FileHeader, tensors: Mapping[str, Tensor]) -> tuple[AdapterContents, tuple[str, ...]]:
    """The adapter in the file, or what can be told of one that no dialect of FLUX.1 explains."""
    try:
        return contents_of(file, tensors, header.metadata), ()
    except AdapterFileError as refused:
        told = f"not read as an adapter of FLUX.1: {printable(refused.problem, 400)}"
        pairs = Adapter(dict(_pairs(tensors)))
        return AdapterContents(
            adapter=pairs, text_encoders=Adapter({}), dialect=_dialect(tensors), remarks=(), metadata=header.metadata
        ), (told,)


def _dialect(tensors: Mapping[str, Tensor]) -> str:
    try:
        return detect(tensors).name
    except AdapterFileError:
        return UNKNOWN


def _pairs(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, LayerDelta]]:
    """Every module that has both sides, whatever the spelling. Convolutions and torn pairs have no norm here."""
    for name, module in modules_of(tensors).items():
        alpha = alpha_of(module)
        layer = next((found for pair in PAIRS if (found := lora_of(module, pair, alpha))), None)
        if layer is not None and layer.down.is_floating_point():
            yield name, layer


def _norms(file: Path, changes: Mapping[str, LayerDelta]) -> tuple[dict[str, float], Sequence[str]]:
    squares: defaultdict[str, float] = defaultdict(float)
    depending = set()
    for name, change in changes.items():
        try:
            norm = norm_of(change)
        except AdapterFileError as refused:
            raise AdapterFileError(f"{file}: {shown(name)}, {refused.problem}", fix=refused.fix) from None
        if norm is None:
            depending.add(type_name(change))
            norm = norm_of(without_magnitude(change)) or 0.0
        squares[block_of(name)] += norm**2
    told = "here it is that of the LoRA in it" if "DoRA" in depending else "it is left out here"
    remarks = [DEPENDS.format(kinds="/".join(sorted(depending)), told=told)] if depending else []
    return {block: square**0.5 for block, square in squares.items()}, remarks


def _doubts(header: FileHeader, hashes: Hashes) -> Iterator[str]:
    """What the file says of itself and is not so."""
    said = header.metadata.get("sshs_model_hash", "").removeprefix("0x").lower()
    if said == OF_NOTHING:
        yield "its sshs_model_hash is that of no bytes at all: A1111 and Forge take it for another file of that name"
    elif said and said != hashes.tensors:
        yield "its sshs_model_hash is not that of its tensors: galleries will not find it by its pictures"

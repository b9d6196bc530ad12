"""Describe a LoRA file of any trainer: dialect, layer types, ranks, norms, tags, and which programs load it.

No model and no images are needed. What cannot be read as an adapter of FLUX.1 is still described as far
as its keys and numbers go, and a remark says why no further.

Shape letters: R rank, I inputs and O outputs of a linear layer.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from flux_lora.adapter.dialects.module_names import OTHER, PLACES, block_of, layer_place
from flux_lora.adapter.dialects.module_tensors import is_checkpoint
from flux_lora.adapter.dialects.table import detect
from flux_lora.adapter.files import AdapterContents, adapter_file, contents_of, tensors_behind
from flux_lora.adapter.header import FileHeader, printable, quoted, read_header
from flux_lora.adapter.layer_types import Adapter, DoRA, LayerDelta, LoHa, LoKr, LoRA, all_finite, type_name
from flux_lora.adapter.loaders.compatibility import Compatibility, compatibility, nearest_shapes
from flux_lora.adapter.loaders.keys import PAIRS, StateDict, alpha_of, lora_of, modules_of
from flux_lora.adapter.low_rank import as_lora, refuse_large
from flux_lora.adapter.metadata import OF_NOTHING, Hashes, hashes_of
from flux_lora.errors import AdapterFileError

FREQUENCY = "ss_tag_frequency"
LONGEST = 4 * 2**20
"""Characters of ss_tag_frequency; a longer one is not parsed."""


def commonest_tags(metadata: Mapping[str, str], most: int = 3) -> tuple[str, ...]:
    """The tags of most images by ss_tag_frequency, most frequent first; none where it is missing or malformed."""
    text = metadata.get(FREQUENCY, "")
    try:
        folders = json.loads(text) if 0 < len(text) <= LONGEST else {}
    except (ValueError, RecursionError):
        folders = {}
    counted: Counter[str] = Counter()
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if type(count) is int and tag.strip():
                counted[tag.strip()] += count
    return tuple(tag for tag, _ in counted.most_common(most))


ROWS = 512
"""Rows of a LoHa that are computed at once."""
SMALL, TOGETHER = 1024, 4096
"""Numbers of a LoRA whose norm is computed with as many others."""
LOW_RANK, LONGEST_SIDES = 8, 2**16
"""Rank, and O + I: up to these the norm of a LoHa is computed faster as that of a LoRA of the squared rank."""


def norm_of(delta: LayerDelta) -> float | None:
    """Frobenius norm of what is added to the weight; None where that depends on the weight (DoRA, OFT)."""
    match delta:
        case LoRA():
            return abs(delta.scale) * _product_norm(delta.up, delta.down)
        case LoKr():
            w1, w2 = _factor_norm(delta.w1, delta.w1_a, delta.w1_b), _factor_norm(delta.w2, delta.w2_a, delta.w2_b)
            return abs(delta.scale) * w1 * w2
        case LoHa():
            return abs(delta.scale) * _hadamard_norm(delta)
    return None


def without_magnitude(delta: LayerDelta) -> LayerDelta:
    """The LoRA in a DoRA; any other delta as it is."""
    return delta.lora if isinstance(delta, DoRA) else delta


def _product_norm(up_OR: Tensor, down_RI: Tensor) -> float:
    """|up down|^2 = trace(up' up  down down'), or of the product itself where the rank is the larger side."""
    up, down = up_OR.double(), down_RI.double()
    if up.shape[1] ** 2 > up.shape[0] * down.shape[1]:
        return (up @ down).norm().item()
    square = ((up.T @ up) * (down @ down.T)).sum().item()
    return max(square, 0.0) ** 0.5 if square == square else square


def _factor_norm(matrix: Tensor | None, a: Tensor | None, b: Tensor | None) -> float:
    """Of one factor of a LoKr: a matrix, or a @ b."""
    if matrix is not None:
        return matrix.double().norm().item()
    assert a is not None and b is not None, "a factor is a matrix or a product"
    return _product_norm(a, b)


def _hadamard_norm(delta: LoHa) -> float:
    """Unscaled. As the LoRA of the squared rank where that is low; else ROWS rows at a time, since OI may be larger
    than memory."""
    outputs, inputs = delta.w1_a.shape[0], delta.w1_b.shape[1]
    refuse_large((outputs, inputs))
    lora = as_lora(delta) if delta.rank <= LOW_RANK and outputs + inputs <= LONGEST_SIDES else None
    if lora is not None:
        return _product_norm(lora.up, lora.down)
    rows = zip(delta.w1_a.split(ROWS), delta.w2_a.split(ROWS), strict=True)
    norms = [((w1_a.float() @ delta.w1_b.float()) * (w2_a.float() @ delta.w2_b.float())).norm() for w1_a, w2_a in rows]
    return torch.stack(norms).double().norm().item()


@dataclass(frozen=True)
class Group:
    """The layers of one part of the model."""

    place: str
    layers: int
    kinds: tuple[str, ...]
    ranks: tuple[int, ...]
    """Smallest first; empty where the layer types have none."""
    alphas: tuple[float, ...]


def groups_of(deltas: Mapping[str, LayerDelta]) -> tuple[Group, ...]:
    """The layers by part of the model, in the order of PLACES."""
    found: defaultdict[str, list[LayerDelta]] = defaultdict(list)
    for name, delta in deltas.items():
        found[layer_place(name)].append(delta)
    order = [*(place for _, place in PLACES), OTHER]
    return tuple(_group(place, found[place]) for place in sorted(found, key=order.index))


def rank_and_alpha(delta: LayerDelta) -> tuple[int, float] | None:
    """None for an OFT, and for a LoKr whose factors are both matrices: its alpha has no effect."""
    match delta:
        case LoRA():
            return delta.rank, delta.alpha
        case DoRA():
            return delta.lora.rank, delta.lora.alpha
        case LoKr() | LoHa() if delta.rank:
            return delta.rank, delta.alpha
    return None


def distinct(numbers: Iterable[float]) -> tuple[float, ...]:
    """Each number once, smallest first; NaN, which is not equal to itself, once at the end."""
    found = set(numbers)
    known = sorted(number for number in found if not math.isnan(number))
    return (*known, *([math.nan] if len(known) < len(found) else []))


def _group(place: str, deltas: list[LayerDelta]) -> Group:
    ranks_and_alphas = [pair for pair in map(rank_and_alpha, deltas) if pair]
    return Group(
        place,
        len(deltas),
        tuple(sorted({type_name(delta) for delta in deltas})),
        tuple(sorted({rank for rank, _ in ranks_and_alphas})),
        distinct(alpha for _, alpha in ranks_and_alphas),
    )


ENDINGS = tuple(ending for pair in PAIRS.values() for ending in pair)
"""What a key of a LoRA ends with, in any dialect."""
TYPE_MARKS = (
    ("lokr_", "LoKr"),
    ("hada_", "LoHa"),
    ("dora_scale", "DoRA"),
    ("magnitude", "DoRA"),
    ("oft_", "OFT"),
    (".a1.weight", "GLoRA"),
    (".diff", "whole weights"),
)
"""Part of a key, and the layer type that it gives away."""
UNKNOWN = "unknown"
BASE_DEPENDENT = "what {kinds} changes in length depends on the base's weights; {instead}"


@dataclass(frozen=True, kw_only=True)
class Description:
    """The contents of a file. Text from its metadata is made safe to print."""

    file: str
    bytes: int
    dialect: str
    kinds: tuple[str, ...]
    """LoRA, DoRA, LoKr, LoHa, OFT."""
    dtypes: tuple[str, ...]
    layers: int
    text_layers: int
    """Layers of the text encoders."""
    parameters: int
    ranks: tuple[int, ...]
    alphas: tuple[float, ...]
    groups: tuple[Group, ...]
    norms: Mapping[str, float]
    """Frobenius norm of the delta by block: transformer_blocks.0, ..., and `rest`."""
    finite: bool
    verdicts: tuple[Compatibility, ...]
    remarks: tuple[str, ...]
    """Notes for the user."""
    trigger: str
    tags: tuple[str, ...]
    """The most frequent tags of its captions, by its metadata."""
    title: str
    base: str
    licence: str
    recipe: bool
    """Whether the file holds the recipe that made it."""
    hashes: Hashes
    metadata: Mapping[str, str]


def describe(place: Path) -> Description:
    """Describe a file or a PEFT folder; an AdapterFileError for anything that is not a whole LoRA file."""
    file = adapter_file(place)
    header = read_header(file)
    kinds = _types_by_key(file, header)
    tensors = StateDict(tensors_behind(header, file))
    contents, remarks = _contents(file, header, tensors)
    deltas = {**contents.adapter.deltas, **contents.text_encoders.deltas}
    norms, norm_remarks = _norms(file, deltas)
    metadata = {printable(key): printable(value) for key, value in contents.metadata.items()}
    hashes = hashes_of(file, header)
    ranks_and_alphas = [pair for pair in map(rank_and_alpha, deltas.values()) if pair]
    return Description(
        file=str(file),
        bytes=header.bytes,
        dialect=contents.dialect,
        kinds=tuple(sorted({type_name(delta) for delta in deltas.values()})) or kinds,
        dtypes=tuple(sorted({entry.dtype for key, entry in header.tensors.items() if not key.endswith(".alpha")})),
        layers=len(contents.adapter.deltas),
        text_layers=len(contents.text_encoders.deltas),
        parameters=sum(tensor.numel() for key, tensor in tensors.items() if not key.endswith(".alpha")),
        ranks=tuple(sorted({rank for rank, _ in ranks_and_alphas})),
        alphas=distinct(alpha for _, alpha in ranks_and_alphas),
        groups=groups_of(deltas),
        norms=norms,
        finite=_all_finite(tensors, deltas, norms),
        verdicts=compatibility(tensors, header.metadata, nearest_shapes(contents.adapter.deltas)),
        remarks=(*remarks, *contents.remarks, *norm_remarks, *_hash_remarks(header, hashes)),
        trigger=metadata.get("modelspec.trigger_phrase", ""),
        tags=tuple(map(printable, commonest_tags(header.metadata))),
        title=metadata.get("modelspec.title") or metadata.get("ss_output_name", ""),
        base=metadata.get("flux_lora.base") or metadata.get("modelspec.architecture", ""),
        licence=metadata.get("modelspec.license", ""),
        recipe="flux_lora.recipe" in metadata,
        hashes=hashes,
        metadata=metadata,
    )


def _all_finite(tensors: Mapping[str, Tensor], deltas: Mapping[str, LayerDelta], norms: Mapping[str, float]) -> bool:
    """The factors of a LoRA are finite where its norm is, in float64; the rest is looked at."""
    if not all(math.isfinite(norm) for norm in norms.values()):
        return False
    loras = [delta for delta in deltas.values() if isinstance(delta, LoRA)]
    seen = {id(factor) for delta in loras for factor in (delta.down, delta.up)}
    return all(all_finite(tensor) for tensor in tensors.values() if id(tensor) not in seen)


def _types_by_key(file: Path, header: FileHeader) -> tuple[str, ...]:
    """The layer types by the file's keys alone; an AdapterFileError where no key is one of an adapter."""
    found = {name for mark, name in TYPE_MARKS if any(mark in key for key in header.tensors)}
    if any(key.endswith(".oft_blocks") and len(entry.shape) == 4 for key, entry in header.tensors.items()):
        found = {*found - {"OFT"}, "BOFT"}
    if found or is_checkpoint(header.tensors) or any(key.endswith(ENDINGS) for key in header.tensors):
        return tuple(sorted(found)) or ("LoRA",)
    first = quoted(min(header.tensors, default="nothing at all"))
    raise AdapterFileError(
        f"{file} holds no LoRA: {len(header.tensors)} tensor(s), first {first}",
        fix="give the file of a LoRA; a base model is not one",
    )


def _contents(file: Path, header: FileHeader, tensors: Mapping[str, Tensor]) -> tuple[AdapterContents, tuple[str, ...]]:
    """The adapter in the file and no remark; or, where no dialect fits, its plain pairs and the reason."""
    try:
        return contents_of(file, tensors, header.metadata), ()
    except AdapterFileError as refused:
        remark = f"not read as an adapter of FLUX: {printable(refused.problem, 400)}"
    try:
        dialect = detect(tensors).name
    except AdapterFileError:
        dialect = UNKNOWN
    adapter = Adapter(dict(_pairs(tensors)))
    return AdapterContents(
        adapter=adapter, text_encoders=Adapter({}), dialect=dialect, remarks=(), metadata=header.metadata
    ), (remark,)


def _pairs(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, LayerDelta]]:
    """Every module that has both `down` and `up`, in any spelling. Convolutions and incomplete pairs are left out."""
    for name, module in modules_of(tensors).items():
        alpha = alpha_of(module)
        layer = next((found for pair in PAIRS if (found := lora_of(module, pair, alpha))), None)
        if layer is not None and layer.down.is_floating_point():
            yield name, layer


def _norms(file: Path, deltas: Mapping[str, LayerDelta]) -> tuple[dict[str, float], Sequence[str]]:
    """Frobenius norms by block, and a remark where some depend on the base's weights."""
    squares: defaultdict[str, float] = defaultdict(float)
    base_dependent = set()
    known = dict(norms_of_small({name: delta for name, delta in deltas.items() if isinstance(delta, LoRA)}))
    for name, delta in deltas.items():
        try:
            norm = known[name] if name in known else norm_of(delta)
        except AdapterFileError as refused:
            raise AdapterFileError(f"{file}: {quoted(name)}, {refused.problem}", fix=refused.fix) from None
        if norm is None:
            base_dependent.add(type_name(delta))
            norm = norm_of(without_magnitude(delta)) or 0.0
        squares[block_of(name)] += norm**2
    norms = {block: square**0.5 for block, square in squares.items()}
    if not base_dependent:
        return norms, ()
    instead = "here it is that of the LoRA in it" if "DoRA" in base_dependent else "it is left out here"
    return norms, (BASE_DEPENDENT.format(kinds="/".join(sorted(base_dependent)), instead=instead),)


def norms_of_small(layers: Mapping[str, LoRA]) -> Iterator[tuple[str, float]]:
    """The norms of small LoRAs, those of one shape at a time: a file may hold 100,000 of them."""
    alike: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    for name, layer in layers.items():
        if layer.rank <= LOW_RANK and layer.up.numel() + layer.down.numel() <= SMALL:
            alike[layer.up.shape, layer.down.shape, layer.up.dtype, layer.down.dtype].append(name)
    for names in alike.values():
        for start in range(0, len(names), TOGETHER):
            chunk = names[start : start + TOGETHER]
            up_NOR = torch.stack([layers[name].up for name in chunk]).double()
            down_NRI = torch.stack([layers[name].down for name in chunk]).double()
            squares_N = ((up_NOR.mT @ up_NOR) * (down_NRI @ down_NRI.mT)).sum((1, 2)).clamp(min=0.0)
            for name, norm in zip(chunk, squares_N.sqrt().tolist(), strict=True):
                yield name, abs(layers[name].scale) * norm


def _hash_remarks(header: FileHeader, hashes: Hashes) -> Iterator[str]:
    """Whether the file's own sshs_model_hash is wrong."""
    stored = header.metadata.get("sshs_model_hash", "").removeprefix("0x").lower()
    if stored == OF_NOTHING:
        yield "its sshs_model_hash is that of no bytes at all: A1111 and Forge take it for another file of that name"
    elif stored and stored != hashes.tensors:
        yield "its sshs_model_hash is not that of its tensors: galleries will not find it by its images"

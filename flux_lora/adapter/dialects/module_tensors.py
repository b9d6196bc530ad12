"""The tensors of one module's delta by role (down, up, alpha, ...), and a checkpoint's own keys.

Shapes are those of layer_types.py; in files a magnitude is O1 or 1I and alpha is ().
Shape letters: R rank, I inputs, O outputs.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from flux_lora.adapter.layer_types import OFT, Adapter, DoRA, LayerDelta, LoHa, LoKr, LoRA, within_norm
from flux_lora.errors import AdapterFileError

LORA_TENSORS = ("down", "up")
LOHA_TENSORS = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
LOKR_TENSORS = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")
OFT_TENSORS = ("oft_blocks", "rescale")
ALPHA = "alpha"
MAGNITUDE = "magnitude"
RESCALE = "rescale"


def tensors_of_delta(delta: LayerDelta) -> dict[str, Tensor]:
    """The tensors of a delta by role, alpha among them."""
    match delta:
        case LoRA():
            return {"down": delta.down, "up": delta.up, ALPHA: torch.tensor(delta.alpha)}
        case DoRA():
            magnitude = delta.magnitude.reshape(-1)
            return tensors_of_delta(delta.lora) | {MAGNITUDE: magnitude.unsqueeze(0 if delta.per_input else 1)}
        case LoHa():
            tensors = (delta.w1_a, delta.w1_b, delta.w2_a, delta.w2_b)
            return dict(zip(LOHA_TENSORS, tensors, strict=True)) | {ALPHA: torch.tensor(delta.alpha)}
        case LoKr():
            factors = (delta.w1, delta.w1_a, delta.w1_b, delta.w2, delta.w2_a, delta.w2_b)
            named = zip(LOKR_TENSORS, factors, strict=True)
            return {name: tensor for name, tensor in named if tensor is not None} | {ALPHA: torch.tensor(delta.alpha)}
        case OFT():
            rescale = {} if delta.rescale is None else {RESCALE: delta.rescale.reshape(-1, 1)}
            return {"oft_blocks": delta.blocks, ALPHA: torch.tensor(0.0)} | rescale


def delta_from_tensors(module: str, parts: Mapping[str, Tensor]) -> LayerDelta:
    """The delta of these tensors by role; AdapterFileError where some are missing, too many or of impossible shape."""
    parts = {role: without_fp8(tensor) for role, tensor in parts.items()}
    names = set(parts) - {ALPHA, MAGNITUDE}
    if names == set(LORA_TENSORS):
        return _lora(module, parts)
    if MAGNITUDE in parts:
        raise _malformed(
            module, "has a DoRA's magnitude, and no LoRA that it belongs to; beside other kinds it is not read"
        )
    if names == set(LOHA_TENSORS):
        return _loha(module, parts)
    if names & set(LOKR_TENSORS) and names <= set(LOKR_TENSORS):
        return _lokr(module, parts)
    if "oft_blocks" in names and names <= set(OFT_TENSORS):
        return _oft(module, parts)
    raise _malformed(module, f"is one-sided or mixed: it has {', '.join(sorted(names)) or 'an alpha only'}")


def without_fp8(tensor: Tensor) -> Tensor:
    """The tensor, of any shape; fp8 as bf16, which holds all of its values and can be computed with."""
    is_fp8 = tensor.is_floating_point() and tensor.element_size() == 1
    return tensor.bfloat16() if is_fp8 else tensor


def fold_lora_scale(layer: LoRA) -> LoRA:
    """The layer with its scale folded into `up`, in float32 where there is something to fold: alpha is the rank."""
    if layer.scale == 1.0:
        return layer
    return LoRA(layer.down.float(), layer.up.float() * layer.scale, float(layer.rank))


def fold_lora_scale_for(dtype: torch.dtype, layer: LoRA) -> LoRA:
    """fold_lora_scale for a file of this dtype. fp16 rounds small numbers away, and alpha 1 at rank 128 makes them
    small: there a power of two goes from one factor to the other, so that their largest numbers are alike."""
    folded = fold_lora_scale(layer)
    largest = [float(factor.abs().max()) for factor in (folded.down, folded.up)]
    if dtype is not torch.float16 or layer.scale == 1.0 or not all(0 < number < math.inf for number in largest):
        return folded
    down, up = (math.frexp(number)[1] for number in largest)
    shared = 2.0 ** ((down - up) // 2)
    return LoRA(folded.down / shared, folded.up * shared, folded.alpha)


def fold_scale(delta: LayerDelta, dtype: torch.dtype = torch.float32) -> LayerDelta:
    """The same delta with its scale folded into its factors, so that every loader's scale is 1. `dtype` is that of the
    file it is for."""
    match delta:
        case LoRA():
            return fold_lora_scale_for(dtype, delta)
        case DoRA():
            return replace(delta, lora=fold_lora_scale_for(dtype, delta.lora))
        case LoHa():
            return replace(delta, w1_a=delta.w1_a.float() * delta.scale, alpha=float(delta.rank))
        case LoKr():
            w1, w1_a = (part if part is None else part.float() * delta.scale for part in (delta.w1, delta.w1_a))
            return replace(delta, w1=w1, w1_a=w1_a, alpha=float(delta.rank or 1))
        case OFT():
            return delta


def with_scale(delta: LayerDelta, scale: float) -> LayerDelta:
    """The delta at a scale from a config or metadata, whatever it was before."""
    match delta:
        case LoRA() | LoHa():
            return replace(delta, alpha=scale * delta.rank)
        case DoRA():
            return replace(delta, lora=replace(delta.lora, alpha=scale * delta.lora.rank))
        case LoKr():
            bare = replace(delta, alpha=float(delta.rank or 1))
            w1, w1_a = (part if part is None else part.float() * scale for part in (bare.w1, bare.w1_a))
            return replace(bare, w1=w1, w1_a=w1_a)
        case OFT():
            return delta


def _lora(module: str, parts: Mapping[str, Tensor]) -> LoRA | DoRA:
    down, up = parts["down"], parts["up"]
    if not (_matrices(down, up) and down.shape[0] == up.shape[1]):
        raise _impossible_shapes(module, (down, up))
    layer = LoRA(down, up, _alpha(module, parts, down.shape[0]))
    if MAGNITUDE not in parts:
        return layer
    magnitude = parts[MAGNITUDE]
    outputs, inputs = up.shape[0], down.shape[1]
    if magnitude.shape in ((outputs,), (outputs, 1)):
        return DoRA(layer, magnitude.reshape(-1))
    if magnitude.shape == (1, inputs):
        return DoRA(layer, magnitude.reshape(-1), per_input=True)
    raise _impossible_shapes(module, (down, up, magnitude))


def _loha(module: str, parts: Mapping[str, Tensor]) -> LoHa:
    tensors = [parts[name] for name in LOHA_TENSORS]
    w1_a, w1_b, w2_a, w2_b = tensors
    if not (
        _matrices(*tensors) and w1_a.shape == w2_a.shape and w1_b.shape == w2_b.shape and w1_a.shape[1] == w1_b.shape[0]
    ):
        raise _impossible_shapes(module, tensors)
    return LoHa(w1_a, w1_b, w2_a, w2_b, _alpha(module, parts, w1_b.shape[0]))


def _lokr(module: str, parts: Mapping[str, Tensor]) -> LoKr:
    factors = [parts.get(name) for name in LOKR_TENSORS]
    present = [factor for factor in factors if factor is not None]
    for matrix, a, b in (factors[:3], factors[3:]):
        product = a is not None and b is not None
        if (matrix is None) != product or (matrix is not None and (a is not None or b is not None)):
            raise _malformed(module, "has a LoKr factor that is neither whole nor a product of two")
        if not _matrices(*present) or (a is not None and b is not None and a.shape[1] != b.shape[0]):
            raise _impossible_shapes(module, present)
    bare = LoKr(*factors, alpha=1.0)  # which does not count where both factors are whole: LyCORIS writes inf in fp16
    return replace(bare, alpha=_alpha(module, parts, bare.rank)) if bare.rank else bare


def _oft(module: str, parts: Mapping[str, Tensor]) -> OFT:
    blocks, rescale = parts["oft_blocks"], parts.get(RESCALE)
    outputs = blocks.shape[0] * blocks.shape[1] if blocks.ndim == 3 else 0
    if not outputs or blocks.shape[1] != blocks.shape[2] or (rescale is not None and rescale.numel() != outputs):
        raise _impossible_shapes(module, [blocks] if rescale is None else [blocks, rescale])
    blocks = within_norm(blocks, _alpha(module, parts, 0) * outputs)
    return OFT(blocks, None if rescale is None else rescale.reshape(-1))


def _alpha(module: str, parts: Mapping[str, Tensor], rank: int) -> float:
    """The file's alpha, else the rank: without an alpha every loader's scale is 1."""
    if ALPHA not in parts:
        return float(rank)
    alpha = parts[ALPHA]
    value = float(alpha.item()) if alpha.numel() == 1 else float("nan")
    if not abs(value) < float("inf"):
        raise _malformed(module, "has an alpha that is no number")
    if value == 0 and rank:
        raise AdapterFileError(
            f"{module} has alpha 0, which sd-scripts reads as the rank and ComfyUI as no change",
            fix="give a file whose alpha is the one meant",
        )
    return value


def _matrices(*tensors: Tensor) -> bool:
    """Whether all are floating point, of two dimensions and not empty."""
    return all(tensor.ndim == 2 and tensor.numel() and tensor.is_floating_point() for tensor in tensors)


def _impossible_shapes(module: str, tensors: Sequence[Tensor]) -> AdapterFileError:
    shapes = ", ".join(f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}" for tensor in tensors)
    return _malformed(module, f"has tensors of impossible shape: {shapes}")


def _malformed(module: str, what: str) -> AdapterFileError:
    return AdapterFileError(f"{module[:200]} {what}", fix="fetch or export the file again; it is no whole adapter")


LORA_CHECKPOINT = ("down", "up", "alpha")
CHECKPOINT_PARTS = (*LORA_CHECKPOINT, MAGNITUDE, *LOHA_TENSORS, *LOKR_TENSORS)
BLOCKS = ("transformer_blocks.", "single_transformer_blocks.")
"""What the modules of a checkpoint begin with. LyCORIS' files have tensors of the same roles, and modules of others."""


def to_checkpoint(adapter: Adapter) -> dict[str, Tensor]:
    """An adapter as `<module>.<role>`, the roles of tensors_of_delta; alpha is () in float64, a magnitude O1."""
    tensors = {}
    for name, delta in adapter.deltas.items():
        alpha = delta.lora.alpha if isinstance(delta, DoRA) else 0.0 if isinstance(delta, OFT) else delta.alpha
        parts = tensors_of_delta(delta) | {ALPHA: torch.tensor(alpha, dtype=torch.float64)}
        tensors |= {f"{name}.{role}": tensor for role, tensor in parts.items()}
    return tensors


def is_checkpoint(keys: Collection[str]) -> bool:
    """Whether these keys are a checkpoint's."""
    ends = {key.rpartition(".")[2] for key in keys}
    return (
        bool(ends)
        and ends <= set(CHECKPOINT_PARTS)
        and (ends <= set(LORA_CHECKPOINT) or all(key.startswith(BLOCKS) for key in keys))
    )


def from_checkpoint(tensors: Mapping[str, Tensor]) -> Adapter:
    """The adapter of a checkpoint; AdapterFileError where a tensor is missing."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, role = key.rpartition(".")
        parts.setdefault(name, {})[role] = without_fp8(tensor)
    missing = [f"{name}.{role}" for name in sorted(parts) for role in _expected(parts[name]) if role not in parts[name]]
    if missing:
        raise AdapterFileError(
            f"the checkpoint lacks {len(missing)} tensor(s), first {missing[0]}",
            fix="remove this checkpoint and continue from the one before it",
        )
    return Adapter({name: delta_from_tensors(name, parts[name]) for name in sorted(parts)})


def _expected(roles: Collection[str]) -> tuple[str, ...]:
    """The roles that a checkpoint's module has to have, by those that it has; of LoKr's factors there may be any."""
    if any(role in LOHA_TENSORS for role in roles):
        return (*LOHA_TENSORS, ALPHA)
    return (ALPHA,) if any(role in LOKR_TENSORS for role in roles) else LORA_CHECKPOINT

"""The tensors of one module's change by what they are, whatever a dialect calls them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from flux_lora.adapter.kinds import OFT, DoRA, LayerDelta, LoHa, LoKr, LoRA
from flux_lora.errors import AdapterFileError

LORA_TENSORS = ("down", "up")
LOHA_TENSORS = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
LOKR_TENSORS = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")
OFT_TENSORS = ("oft_blocks", "rescale")
ALPHA = "alpha"
MAGNITUDE = "magnitude"


def tensors_of_delta(change: LayerDelta) -> dict[str, Tensor]:
    """The tensors of a change, alpha among them."""
    match change:
        case LoRA():
            return {"down": change.down, "up": change.up, ALPHA: torch.tensor(change.alpha)}
        case DoRA():
            magnitude = change.magnitude.reshape(-1)
            return tensors_of_delta(change.lora) | {MAGNITUDE: magnitude.unsqueeze(0 if change.per_input else 1)}
        case LoHa():
            tensors = (change.w1_a, change.w1_b, change.w2_a, change.w2_b)
            return dict(zip(LOHA_TENSORS, tensors, strict=True)) | {ALPHA: torch.tensor(change.alpha)}
        case LoKr():
            factors = (change.w1, change.w1_a, change.w1_b, change.w2, change.w2_a, change.w2_b)
            named = zip(LOKR_TENSORS, factors, strict=True)
            return {name: tensor for name, tensor in named if tensor is not None} | {ALPHA: torch.tensor(change.alpha)}
        case OFT():
            rescale = {} if change.rescale is None else {"rescale": change.rescale}
            return {"oft_blocks": change.blocks, ALPHA: torch.tensor(change.constraint)} | rescale


def delta_from_tensors(module: str, parts: Mapping[str, Tensor]) -> LayerDelta:
    """The change that these tensors are; AdapterFileError where some are missing, too many or of impossible shape."""
    names = set(parts) - {ALPHA, MAGNITUDE}
    if names == set(LORA_TENSORS):
        return _lora(module, parts)
    if MAGNITUDE in parts:
        raise _odd(module, "has a DoRA's magnitude, and no LoRA that it belongs to; beside other kinds it is not read")
    if names == set(LOHA_TENSORS):
        return _loha(module, parts)
    if names & set(LOKR_TENSORS) and names <= set(LOKR_TENSORS):
        return _lokr(module, parts)
    if "oft_blocks" in names and names <= set(OFT_TENSORS):
        return _oft(module, parts)
    raise _odd(module, f"is one-sided or mixed: it has {', '.join(sorted(names)) or 'an alpha only'}")


def fold_lora_scale(layer: LoRA) -> LoRA:
    """The layer in float32 with its scale inside `up`: alpha is the rank."""
    return LoRA(layer.down.float(), layer.up.float() * layer.scale, float(layer.rank))


def fold_scale(change: LayerDelta) -> LayerDelta:
    """The same change in float32, with its scale in a factor, so that every reader's scale is 1."""
    match change:
        case LoRA():
            return fold_lora_scale(change)
        case DoRA():
            return replace(change, lora=fold_lora_scale(change.lora))
        case LoHa():
            return replace(change, w1_a=change.w1_a.float() * change.scale, alpha=float(change.rank))
        case LoKr():
            w1, w1_a = (part if part is None else part.float() * change.scale for part in (change.w1, change.w1_a))
            return replace(change, w1=w1, w1_a=w1_a, alpha=float(change.rank or 1))
        case OFT():
            return change


def with_scale(change: LayerDelta, scale: float) -> LayerDelta:
    """The change at the scale that something outside the tensors tells, whatever it was before."""
    match change:
        case LoRA() | LoHa():
            return replace(change, alpha=scale * change.rank)
        case DoRA():
            return replace(change, lora=replace(change.lora, alpha=scale * change.lora.rank))
        case LoKr():
            bare = replace(change, alpha=float(change.rank or 1))
            w1, w1_a = (part if part is None else part.float() * scale for part in (bare.w1, bare.w1_a))
            return replace(bare, w1=w1, w1_a=w1_a)
        case OFT():
            return change


def _lora(module: str, parts: Mapping[str, Tensor]) -> LoRA | DoRA:
    down, up = parts["down"], parts["up"]
    if not (_matrices(down, up) and down.shape[0] == up.shape[1]):
        raise _shapes(module, (down, up))
    layer = LoRA(down, up, _alpha(module, parts, down.shape[0]))
    if MAGNITUDE not in parts:
        return layer
    magnitude = parts[MAGNITUDE]
    outputs, inputs = up.shape[0], down.shape[1]
    if magnitude.shape in ((outputs,), (outputs, 1)):
        return DoRA(layer, magnitude.reshape(-1))
    if magnitude.shape == (1, inputs):
        return DoRA(layer, magnitude.reshape(-1), per_input=True)
    raise _shapes(module, (down, up, magnitude))


def _loha(module: str, parts: Mapping[str, Tensor]) -> LoHa:
    tensors = [parts[name] for name in LOHA_TENSORS]
    w1_a, w1_b, w2_a, w2_b = tensors
    if not (_matrices(*tensors) and w1_a.shape == w2_a.shape and w1_b.shape == w2_b.shape and _meet(w1_a, w1_b)):
        raise _shapes(module, tensors)
    return LoHa(w1_a, w1_b, w2_a, w2_b, _alpha(module, parts, w1_b.shape[0]))


def _lokr(module: str, parts: Mapping[str, Tensor]) -> LoKr:
    factors = [parts.get(name) for name in LOKR_TENSORS]
    there = [factor for factor in factors if factor is not None]
    for whole, a, b in (factors[:3], factors[3:]):
        product = a is not None and b is not None
        if (whole is None) != product or (whole is not None and (a is not None or b is not None)):
            raise _odd(module, "has a LoKr factor that is neither whole nor a product of two")
        if not _matrices(*there) or (a is not None and b is not None and not _meet(a, b)):
            raise _shapes(module, there)
    bare = LoKr(*factors, alpha=1.0)
    return replace(bare, alpha=_alpha(module, parts, bare.rank or 1))


def _oft(module: str, parts: Mapping[str, Tensor]) -> OFT:
    blocks, rescale = parts["oft_blocks"], parts.get("rescale")
    outputs = blocks.shape[0] * blocks.shape[1] if blocks.ndim == 3 else 0
    if not outputs or blocks.shape[1] != blocks.shape[2] or (rescale is not None and rescale.numel() != outputs):
        raise _shapes(module, [blocks] if rescale is None else [blocks, rescale])
    constraint = _alpha(module, parts, 0)
    return OFT(blocks, constraint, None if rescale is None else rescale.reshape(-1))


def _alpha(module: str, parts: Mapping[str, Tensor], rank: int) -> float:
    """What the file says, or the rank: without a word of it, every reader's scale is 1."""
    if ALPHA not in parts:
        return float(rank)
    alpha = parts[ALPHA]
    value = float(alpha.item()) if alpha.numel() == 1 else float("nan")
    if not abs(value) < float("inf"):
        raise _odd(module, "has an alpha that is no number")
    if value == 0 and rank:
        raise AdapterFileError(
            f"{module} has alpha 0, which sd-scripts reads as the rank and ComfyUI as no change",
            fix="give a file whose alpha is the one meant",
        )
    return value


def _matrices(*tensors: Tensor) -> bool:
    return all(tensor.ndim == 2 and tensor.numel() and tensor.is_floating_point() for tensor in tensors)


def _meet(a: Tensor, b: Tensor) -> bool:
    return a.shape[1] == b.shape[0]


def _shapes(module: str, tensors: Sequence[Tensor]) -> AdapterFileError:
    shapes = ", ".join(f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}" for tensor in tensors)
    return _odd(module, f"has tensors of impossible shape: {shapes}")


def _odd(module: str, what: str) -> AdapterFileError:
    return AdapterFileError(f"{module[:200]} {what}", fix="fetch or export the file again; it is no whole adapter")

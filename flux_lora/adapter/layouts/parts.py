"""The tensors of one module's change by what they are, whatever a dialect calls them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from flux_lora.adapter.kinds import Change, Decomposed, Hadamard, Kronecker, Layer, Orthogonal
from flux_lora.errors import AdapterFileError

PAIR = ("down", "up")
LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
LOKR = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")
OFT = ("oft_blocks", "rescale")
ALPHA = "alpha"
MAGNITUDE = "magnitude"


def parts_of(change: Change) -> dict[str, Tensor]:
    """The tensors of a change, alpha among them."""
    match change:
        case Layer():
            return {"down": change.down, "up": change.up, ALPHA: torch.tensor(change.alpha)}
        case Decomposed():
            magnitude = change.magnitude.reshape(-1)
            return parts_of(change.layer) | {MAGNITUDE: magnitude.unsqueeze(0 if change.per_input else 1)}
        case Hadamard():
            tensors = (change.w1_a, change.w1_b, change.w2_a, change.w2_b)
            return dict(zip(LOHA, tensors, strict=True)) | {ALPHA: torch.tensor(change.alpha)}
        case Kronecker():
            factors = (change.w1, change.w1_a, change.w1_b, change.w2, change.w2_a, change.w2_b)
            named = zip(LOKR, factors, strict=True)
            return {name: tensor for name, tensor in named if tensor is not None} | {ALPHA: torch.tensor(change.alpha)}
        case Orthogonal():
            rescale = {} if change.rescale is None else {"rescale": change.rescale}
            return {"oft_blocks": change.blocks, ALPHA: torch.tensor(change.constraint)} | rescale


def change_of(module: str, parts: Mapping[str, Tensor]) -> Change:
    """The change that these tensors are; AdapterFileError where some are missing, too many or of impossible shape."""
    names = set(parts) - {ALPHA, MAGNITUDE}
    if names == set(PAIR):
        return _lora(module, parts)
    if MAGNITUDE in parts:
        raise _odd(module, "has a DoRA's magnitude, and no LoRA that it belongs to; beside other kinds it is not read")
    if names == set(LOHA):
        return _loha(module, parts)
    if names & set(LOKR) and names <= set(LOKR):
        return _lokr(module, parts)
    if "oft_blocks" in names and names <= set(OFT):
        return _oft(module, parts)
    raise _odd(module, f"is one-sided or mixed: it has {', '.join(sorted(names)) or 'an alpha only'}")


def folded_layer(layer: Layer) -> Layer:
    """The layer in float32 with its scale inside `up`: alpha is the rank."""
    return Layer(layer.down.float(), layer.up.float() * layer.scale, float(layer.rank))


def folded_change(change: Change) -> Change:
    """The same change in float32, with its scale in a factor, so that every reader's scale is 1."""
    match change:
        case Layer():
            return folded_layer(change)
        case Decomposed():
            return replace(change, layer=folded_layer(change.layer))
        case Hadamard():
            return replace(change, w1_a=change.w1_a.float() * change.scale, alpha=float(change.rank))
        case Kronecker():
            w1, w1_a = (part if part is None else part.float() * change.scale for part in (change.w1, change.w1_a))
            return replace(change, w1=w1, w1_a=w1_a, alpha=float(change.rank or 1))
        case Orthogonal():
            return change


def with_scale(change: Change, scale: float) -> Change:
    """The change at the scale that something outside the tensors tells, whatever it was before."""
    match change:
        case Layer() | Hadamard():
            return replace(change, alpha=scale * change.rank)
        case Decomposed():
            return replace(change, layer=replace(change.layer, alpha=scale * change.layer.rank))
        case Kronecker():
            bare = replace(change, alpha=float(change.rank or 1))
            w1, w1_a = (part if part is None else part.float() * scale for part in (bare.w1, bare.w1_a))
            return replace(bare, w1=w1, w1_a=w1_a)
        case Orthogonal():
            return change


def _lora(module: str, parts: Mapping[str, Tensor]) -> Layer | Decomposed:
    down, up = parts["down"], parts["up"]
    if not (_matrices(down, up) and down.shape[0] == up.shape[1]):
        raise _shapes(module, (down, up))
    layer = Layer(down, up, _alpha(module, parts, down.shape[0]))
    if MAGNITUDE not in parts:
        return layer
    magnitude = parts[MAGNITUDE]
    outputs, inputs = up.shape[0], down.shape[1]
    if magnitude.shape in ((outputs,), (outputs, 1)):
        return Decomposed(layer, magnitude.reshape(-1))
    if magnitude.shape == (1, inputs):
        return Decomposed(layer, magnitude.reshape(-1), per_input=True)
    raise _shapes(module, (down, up, magnitude))


def _loha(module: str, parts: Mapping[str, Tensor]) -> Hadamard:
    tensors = [parts[name] for name in LOHA]
    w1_a, w1_b, w2_a, w2_b = tensors
    if not (_matrices(*tensors) and w1_a.shape == w2_a.shape and w1_b.shape == w2_b.shape and _meet(w1_a, w1_b)):
        raise _shapes(module, tensors)
    return Hadamard(w1_a, w1_b, w2_a, w2_b, _alpha(module, parts, w1_b.shape[0]))


def _lokr(module: str, parts: Mapping[str, Tensor]) -> Kronecker:
    factors = [parts.get(name) for name in LOKR]
    there = [factor for factor in factors if factor is not None]
    for whole, a, b in (factors[:3], factors[3:]):
        product = a is not None and b is not None
        if (whole is None) != product or (whole is not None and (a is not None or b is not None)):
            raise _odd(module, "has a LoKr factor that is neither whole nor a product of two")
        if not _matrices(*there) or (a is not None and b is not None and not _meet(a, b)):
            raise _shapes(module, there)
    bare = Kronecker(*factors, alpha=1.0)
    return replace(bare, alpha=_alpha(module, parts, bare.rank or 1))


def _oft(module: str, parts: Mapping[str, Tensor]) -> Orthogonal:
    blocks, rescale = parts["oft_blocks"], parts.get("rescale")
    outputs = blocks.shape[0] * blocks.shape[1] if blocks.ndim == 3 else 0
    if not outputs or blocks.shape[1] != blocks.shape[2] or (rescale is not None and rescale.numel() != outputs):
        raise _shapes(module, [blocks] if rescale is None else [blocks, rescale])
    constraint = _alpha(module, parts, 0)
    return Orthogonal(blocks, constraint, None if rescale is None else rescale.reshape(-1))


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

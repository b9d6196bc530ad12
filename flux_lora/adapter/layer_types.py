"""An adapter as tensors: five layer types (LoRA, DoRA, LoKr, LoHa, OFT), what each adds to a weight, and the Adapter
that holds one for each layer.

Shape letters: R rank, I inputs and O outputs of the linear layer, K blocks of size N (K * N = O). LoKr's w1 is O1 x I1
and its w2 is O2 x I2, where O1 * O2 = O and I1 * I2 = I.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flux_lora.errors import AdapterFileError


@dataclass(frozen=True)
class LoRA:
    """LoRA: alpha / rank * up @ down is added to the weight."""

    down: Tensor  # RI
    up: Tensor  # OR
    alpha: float

    @property
    def rank(self) -> int:
        """Rows of `down`, columns of `up`."""
        return self.down.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs of the linear layer: (O, I)."""
        return self.up.shape[0], self.down.shape[1]

    @property
    def scale(self) -> float:
        """What up @ down is multiplied by."""
        return self.alpha / self.rank


@dataclass(frozen=True)
class DoRA:
    """DoRA: the sum V of weight and LoRA gets the lengths that were learned: magnitude * V / |V|.

    |V| is taken of the sum, as in peft and LyCORIS, along each output's row, or along each
    input's column where `per_input` (LyCORIS without wd_on_out).
    """

    lora: LoRA
    magnitude: Tensor  # O, or I where per_input
    per_input: bool = False


@dataclass(frozen=True)
class LoKr:
    """LoKr: kron(w1, w2), either factor as one matrix or as a product w_a @ w_b.

    Scaled by alpha / rank only where a factor is a product; where both are, w2's rank counts
    (so does ComfyUI).
    """

    w1: Tensor | None  # O1 I1
    w1_a: Tensor | None  # O1 R
    w1_b: Tensor | None  # R I1
    w2: Tensor | None  # O2 I2
    w2_a: Tensor | None  # O2 R
    w2_b: Tensor | None  # R I2
    alpha: float

    @property
    def rank(self) -> int:
        """Of the factor that is a product, w2 first; 0 where neither is."""
        inner = self.w2_b if self.w2 is None else self.w1_b if self.w1 is None else None
        return 0 if inner is None else inner.shape[0]

    @property
    def scale(self) -> float:
        """What kron(w1, w2) is multiplied by."""
        return self.alpha / self.rank if self.rank else 1.0

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """w1 (O1 x I1) and w2 (O2 x I2) as matrices in float32."""
        return _factor(self.w1, self.w1_a, self.w1_b), _factor(self.w2, self.w2_a, self.w2_b)


@dataclass(frozen=True)
class LoHa:
    """LoHa: alpha / rank * (w1_a @ w1_b) * (w2_a @ w2_b), multiplied element by element."""

    w1_a: Tensor  # OR
    w1_b: Tensor  # RI
    w2_a: Tensor  # OR
    w2_b: Tensor  # RI
    alpha: float

    @property
    def rank(self) -> int:
        """Of each of the two products."""
        return self.w1_b.shape[0]

    @property
    def scale(self) -> float:
        """What the product is multiplied by."""
        return self.alpha / self.rank


@dataclass(frozen=True)
class OFT:
    """OFT: the outputs are rotated, block by block. LyCORIS' diag-oft (`oft_blocks`), which ComfyUI reads too.

    Q = blocks - blocks'; R = (1 + Q)(1 - Q)^-1 (Cayley); each block of N rows becomes R' W, then `rescale` times it.
    peft's own OFT (`oft_R`) rotates the inputs, and is not this. A limit on the norm of Q is in the blocks already:
    programs do not agree on what a file's alpha means there (see `within_norm`).
    """

    blocks: Tensor  # KNN
    rescale: Tensor | None = None  # O


def within_norm(blocks_KNN: Tensor, most: float) -> Tensor:
    """OFT's blocks with the norm of all of blocks - blocks' cut to `most`; as they are where that is 0.

    LyCORIS' limit is alpha x outputs, ComfyUI's alpha itself.
    """
    if most <= 0:
        return blocks_KNN
    blocks_KNN = blocks_KNN.float()
    norm = float((blocks_KNN - blocks_KNN.transpose(1, 2)).norm())
    return blocks_KNN * (most / norm) if norm > most else blocks_KNN


LayerDelta = LoRA | DoRA | LoKr | LoHa | OFT

RESIZE_WITH_BASE = "turn it into a LoRA beside its base: flux-lora resize base=<folder or file>"
"""The fix for DoRA and OFT, whose delta depends on the base weight."""


def type_name(delta: LayerDelta) -> str:
    """LoRA, DoRA, LoKr, LoHa or OFT."""
    return type(delta).__name__


def type_with_article(delta: LayerDelta) -> str:
    """The name of the type with its article: a LoRA, an OFT."""
    return f"{'an' if isinstance(delta, OFT) else 'a'} {type_name(delta)}"


def delta_of(delta: LayerDelta, weight: Tensor | None = None) -> Tensor:
    """What is added to the weight: OI, float32. DoRA and OFT need the base weight, OI."""
    match delta:
        case LoRA():
            return delta.scale * (delta.up.float() @ delta.down.float())
        case LoKr():
            return delta.scale * torch.kron(*delta.factors)
        case LoHa():
            first_OI = delta.w1_a.float() @ delta.w1_b.float()
            return delta.scale * first_OI * (delta.w2_a.float() @ delta.w2_b.float())
        case DoRA():
            return _dora(delta, _required_weight(delta, weight))
        case OFT():
            return _oft(delta, _required_weight(delta, weight))


def at_strength(delta: LayerDelta, strength: float) -> LayerDelta:
    """The delta times `strength`, exactly. DoRA and OFT, which are not linear in their tensors, only take 1."""
    match delta:
        case LoRA() | LoHa():
            return replace(delta, alpha=delta.alpha * strength)
        case LoKr(w1=None):
            return replace(delta, w1_a=_factor(delta.w1_a, None, None) * strength)
        case LoKr():
            return replace(delta, w1=_factor(delta.w1, None, None) * strength)
        case _ if strength == 1.0:
            return delta
        case _:
            raise AdapterFileError(
                f"{type_with_article(delta)} has no exact form at strength {strength:g}",
                fix=f"{RESIZE_WITH_BASE}; or set the strength where it is loaded",
            )


def map_tensors(delta: LayerDelta, convert: Callable[[Tensor], Tensor]) -> LayerDelta:
    """The delta with `convert` applied to each of its tensors; alpha and the other numbers stay."""

    def optional(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else convert(tensor)

    match delta:
        case LoRA():
            return replace(delta, down=convert(delta.down), up=convert(delta.up))
        case DoRA():
            lora = replace(delta.lora, down=convert(delta.lora.down), up=convert(delta.lora.up))
            return replace(delta, lora=lora, magnitude=convert(delta.magnitude))
        case LoKr():
            w1, w1_a, w1_b = optional(delta.w1), optional(delta.w1_a), optional(delta.w1_b)
            w2, w2_a, w2_b = optional(delta.w2), optional(delta.w2_a), optional(delta.w2_b)
            return LoKr(w1, w1_a, w1_b, w2, w2_a, w2_b, delta.alpha)
        case LoHa():
            w1_a, w1_b = convert(delta.w1_a), convert(delta.w1_b)
            return LoHa(w1_a, w1_b, convert(delta.w2_a), convert(delta.w2_b), delta.alpha)
        case OFT():
            return replace(delta, blocks=convert(delta.blocks), rescale=optional(delta.rescale))


def sides_of(delta: LayerDelta) -> tuple[int, int] | None:
    """Outputs and inputs of its layer (O, I); None for an OFT, which knows its outputs only."""
    match delta:
        case LoRA():
            return delta.shape
        case DoRA():
            return delta.lora.shape
        case LoHa():
            return delta.w1_a.shape[0], delta.w1_b.shape[1]
        case LoKr():
            tops, bottoms = (delta.w1_a, delta.w2_a), (delta.w1_b, delta.w2_b)
            wholes = (delta.w1, delta.w2)
            rows = [each.shape[0] for each in (*wholes, *tops) if each is not None]
            columns = [each.shape[1] for each in (*wholes, *bottoms) if each is not None]
            return math.prod(rows), math.prod(columns)
        case _:
            return None


def tensors_in(delta: LayerDelta) -> tuple[Tensor, ...]:
    """Its tensors, in an order that is always the same."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(delta, keep)
    return tuple(found)


def with_tensors(delta: LayerDelta, tensors: Iterable[Tensor]) -> LayerDelta:
    """The delta with other tensors, in the order of `tensors_in`."""
    others = iter(tensors)
    return map_tensors(delta, lambda _: next(others))


def _factor(matrix: Tensor | None, a: Tensor | None, b: Tensor | None) -> Tensor:
    """One factor of a LoKr, O1 x I1 or O2 x I2, in float32: `matrix`, or a @ b."""
    if matrix is not None:
        return matrix.float()
    assert a is not None and b is not None, "a factor is a matrix or a product"
    return a.float() @ b.float()


def _required_weight(delta: LayerDelta, weight: Tensor | None) -> Tensor:
    """The base weight, OI, in float32; refused without one."""
    if weight is not None:
        return weight.float()
    raise AdapterFileError(
        f"what {type_with_article(delta)} changes depends on the weight it changes, and no base weight was given",
        fix=RESIZE_WITH_BASE,
    )


def _dora(delta: DoRA, weight_OI: Tensor) -> Tensor:
    """magnitude * V / |V| - W for V = W + LoRA: OI, float32."""
    sum_OI = weight_OI + delta_of(delta.lora)
    along = 0 if delta.per_input else 1
    lengths = torch.linalg.vector_norm(sum_OI, dim=along, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return sum_OI * (delta.magnitude.float().unsqueeze(along) / lengths) - weight_OI


def _oft(delta: OFT, weight_OI: Tensor) -> Tensor:
    """rescale * R' W - W, block by block of W's rows: OI, float32."""
    blocks_KNN = delta.blocks.float()
    skew_KNN = blocks_KNN - blocks_KNN.transpose(1, 2)
    identity_NN = torch.eye(blocks_KNN.shape[1], device=blocks_KNN.device)
    rotation_KNN = torch.linalg.solve(identity_NN - skew_KNN, identity_NN + skew_KNN, left=False)
    weight_KNI = weight_OI.unflatten(0, blocks_KNN.shape[:2])
    rotated_OI = torch.einsum("knm,kni->kmi", rotation_KNN, weight_KNI).flatten(0, 1)
    if delta.rescale is not None:
        rotated_OI = rotated_OI * delta.rescale.float().reshape(-1, 1)
    return rotated_OI - weight_OI


@dataclass(frozen=True)
class Adapter:
    """One delta per linear layer. The names are those of diffusers' transformer: transformer_blocks.0.attn.to_q.

    Layer types other than LoRA cannot be split when they were trained on a fused layer; those keep
    its name in FLUX's own model: double_blocks.0.img_attn.qkv.
    """

    deltas: Mapping[str, LayerDelta]

    @property
    def layers(self) -> Mapping[str, LoRA]:
        """The layers of a plain LoRA; an AdapterFileError names the first layer of another type."""
        layers = {name: delta for name, delta in self.deltas.items() if isinstance(delta, LoRA)}
        others = [name for name in self.deltas if name not in layers]
        if others:
            raise AdapterFileError(
                f"{others[0]} is changed by {type_with_article(self.deltas[others[0]])} "
                f"({len(others)} such module(s)), and this needs a plain LoRA",
                fix="turn it into a LoRA first: flux-lora resize",
            )
        return layers

    @property
    def ranks(self) -> tuple[int, ...]:
        """The distinct ranks of its LoRA layers, smallest first."""
        return tuple(sorted({delta.rank for delta in self.deltas.values() if isinstance(delta, LoRA)}))

    @property
    def alphas(self) -> tuple[float, ...]:
        """The distinct alphas of its LoRA layers, smallest first."""
        return tuple(sorted({delta.alpha for delta in self.deltas.values() if isinstance(delta, LoRA)}))


def lora_delta(layer: LoRA) -> Tensor:
    """scale * up @ down: OI, float32."""
    return delta_of(layer)


def adapter_at_strength(adapter: Adapter, strength: float) -> Adapter:
    """Every delta times `strength`; see at_strength."""
    return Adapter({name: at_strength(delta, strength) for name, delta in adapter.deltas.items()})


def rounded(adapter: Adapter, dtype: torch.dtype) -> Adapter:
    """The adapter in float32, its values rounded to what this dtype can hold."""
    return Adapter(
        {name: map_tensors(delta, lambda tensor: tensor.to(dtype).float()) for name, delta in adapter.deltas.items()}
    )


FIRST_ROWS = 64
"""Of `up`, which mostly tell already whether there is a number in it."""


def frobenius_norm(layer: LoRA) -> float:
    """Frobenius norm of the delta, without building it.

    |up down|^2 = trace(up' up  down down')
    """
    return abs(layer.scale) * _product_norm(layer.up, layer.down)


def delta_distance(one: LoRA, other: LoRA) -> float:
    """Frobenius norm of the difference of two deltas: up_1 down_1 - up_2 down_2 is itself low-rank."""
    (up_1, down_1), (up_2, down_2) = _nonzero_factors(one), _nonzero_factors(other)
    same_numbers = up_1.shape == up_2.shape and torch.equal(up_1, up_2) and torch.equal(down_1, down_2)
    if same_numbers and one.scale == other.scale:
        return 0.0
    up_1, up_2 = up_1.double() * one.scale, up_2.double() * other.scale
    return _product_norm(torch.cat([up_1, -up_2], dim=1), torch.cat([down_1.double(), down_2.double()]))


def all_finite(tensor: Tensor) -> bool:
    """Whether no number is NaN or infinite. The smallest and the largest tell, in a tenth of the time of isfinite."""
    if not tensor.numel() or not tensor.is_floating_point():
        return True
    ends = torch.aminmax(tensor.float() if tensor.element_size() == 1 else tensor)  # torch has none for 8-bit floats
    return math.isfinite(ends.min.item()) and math.isfinite(ends.max.item())


def changes_nothing(delta: LayerDelta) -> bool:
    """Whether it is a plain LoRA with a zero `up`, as the untrained parts of a fused matrix are."""
    return isinstance(delta, LoRA) and not (bool(delta.up[:FIRST_ROWS].any()) or bool(delta.up.any()))


def _nonzero_factors(layer: LoRA) -> tuple[Tensor, Tensor]:
    """`up` (unscaled, OR) and `down` (RI), less the columns of `up` that are all zero: of q's share of a fused qkv, two
    thirds are."""
    columns = layer.up[:FIRST_ROWS].bool().any(dim=0)
    if not columns.all():
        columns = layer.up.bool().any(dim=0)
    return (layer.up, layer.down) if columns.all() else (layer.up[:, columns], layer.down[columns])


def _product_norm(up: Tensor, down: Tensor) -> float:
    """Frobenius norm of up (OR) @ down (RI), by whichever is the smaller: the product, or the two of R x R."""
    up, down = up.double(), down.double()
    if up.shape[0] * down.shape[1] < up.shape[1] ** 2:
        return float((up @ down).norm())
    return ((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt().item()

"""What an adapter can do to one linear layer: five kinds of change, and what each adds to the weight.

Shape letters: R rank, I inputs and O outputs of the layer, K blocks of size N (K * N = O).
"""

from collections.abc import Callable
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
        """The width of the path."""
        return self.down.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs of the layer that is changed."""
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
    """LoKr: kron(w1, w2), either factor whole or as a product w_a @ w_b.

    Scaled by alpha / rank only where a factor is a product; where both are, w2's rank counts
    (so does ComfyUI).
    """

    w1: Tensor | None
    w1_a: Tensor | None
    w1_b: Tensor | None
    w2: Tensor | None
    w2_a: Tensor | None
    w2_b: Tensor | None
    alpha: float

    @property
    def rank(self) -> int:
        """Of the factor that is a product; 0 where both are whole."""
        inner = self.w2_b if self.w2 is None else self.w1_b if self.w1 is None else None
        return 0 if inner is None else inner.shape[0]

    @property
    def scale(self) -> float:
        """What the product is multiplied by."""
        return self.alpha / self.rank if self.rank else 1.0

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """w1 and w2, each as a whole matrix in float32."""
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
    """OFT: the outputs are turned, block by block. LyCORIS' diag-oft (`oft_blocks`), which ComfyUI reads too.

    Q = blocks - blocks', cut to the norm `constraint` where that is above 0;
    R = (1 + Q)(1 - Q)^-1 (Cayley); each block of N rows becomes R' W, then `rescale` times it.
    peft's own OFT (`oft_R`) turns the inputs and is another thing.
    """

    blocks: Tensor  # KNN
    constraint: float = 0.0
    rescale: Tensor | None = None  # O


LayerDelta = LoRA | DoRA | LoKr | LoHa | OFT

KINDS: tuple[tuple[type[LayerDelta], str], ...] = (
    (LoRA, "LoRA"),
    (DoRA, "DoRA"),
    (LoKr, "LoKr"),
    (LoHa, "LoHa"),
    (OFT, "OFT"),
)

RESIZE_WITH_BASE = "turn it into a LoRA beside its base: flux-lora resize base=<folder or file>"
"""The way out for what depends on the weight that it changes."""


def type_name(change: LayerDelta) -> str:
    """LoRA, DoRA, LoKr, LoHa or OFT."""
    return next(name for kind, name in KINDS if isinstance(change, kind))


def type_with_article(change: LayerDelta) -> str:
    """The same within a sentence: a LoRA, an OFT."""
    return f"{'an' if isinstance(change, OFT) else 'a'} {type_name(change)}"


def delta_of(change: LayerDelta, weight: Tensor | None = None) -> Tensor:
    """What is added to the weight: OI, float32. DoRA and OFT depend on the base weight they change."""
    match change:
        case LoRA():
            return change.scale * (change.up.float() @ change.down.float())
        case LoKr():
            return change.scale * torch.kron(*change.factors)
        case LoHa():
            one = change.w1_a.float() @ change.w1_b.float()
            return change.scale * one * (change.w2_a.float() @ change.w2_b.float())
        case DoRA():
            return _dora(change, _required_weight(change, weight))
        case OFT():
            return _oft(change, _required_weight(change, weight))


def at_strength(change: LayerDelta, strength: float) -> LayerDelta:
    """The same change, stronger or weaker. What DoRA and OFT do is not in proportion to their tensors."""
    match change:
        case LoRA() | LoHa():
            return replace(change, alpha=change.alpha * strength)
        case LoKr(w1=None):
            return replace(change, w1_a=_factor(change.w1_a, None, None) * strength)
        case LoKr():
            return replace(change, w1=_factor(change.w1, None, None) * strength)
        case _ if strength == 1.0:
            return change
        case _:
            raise AdapterFileError(
                f"{type_with_article(change)} has no exact form at strength {strength:g}",
                fix=f"{RESIZE_WITH_BASE}; or set the strength where it is loaded",
            )


def map_tensors(change: LayerDelta, act: Callable[[Tensor], Tensor]) -> LayerDelta:
    """The change with `act` done to each of its tensors."""

    def maybe(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else act(tensor)

    match change:
        case LoRA():
            return replace(change, down=act(change.down), up=act(change.up))
        case DoRA():
            layer = replace(change.lora, down=act(change.lora.down), up=act(change.lora.up))
            return replace(change, lora=layer, magnitude=act(change.magnitude))
        case LoKr():
            w1, w1_a, w1_b = maybe(change.w1), maybe(change.w1_a), maybe(change.w1_b)
            return LoKr(w1, w1_a, w1_b, maybe(change.w2), maybe(change.w2_a), maybe(change.w2_b), change.alpha)
        case LoHa():
            w1_a, w1_b = act(change.w1_a), act(change.w1_b)
            return LoHa(w1_a, w1_b, act(change.w2_a), act(change.w2_b), change.alpha)
        case OFT():
            return replace(change, blocks=act(change.blocks), rescale=maybe(change.rescale))


def _factor(whole: Tensor | None, a: Tensor | None, b: Tensor | None) -> Tensor:
    if whole is not None:
        return whole.float()
    assert a is not None and b is not None, "a factor is whole or a product"
    return a.float() @ b.float()


def _required_weight(change: LayerDelta, weight: Tensor | None) -> Tensor:
    if weight is not None:
        return weight.float()
    raise AdapterFileError(
        f"what {type_with_article(change)} changes depends on the weight it changes, and no base weight was given",
        fix=RESIZE_WITH_BASE,
    )


def _dora(change: DoRA, weight_OI: Tensor) -> Tensor:
    total = weight_OI + delta_of(change.lora)
    along = 0 if change.per_input else 1
    lengths = torch.linalg.vector_norm(total, dim=along, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return total * (change.magnitude.float().unsqueeze(along) / lengths) - weight_OI


def _oft(change: OFT, weight_OI: Tensor) -> Tensor:
    blocks = change.blocks.float()
    skew = blocks - blocks.transpose(1, 2)
    if change.constraint > 0:
        skew = skew * (change.constraint / skew.norm().clamp(min=change.constraint))
    one = torch.eye(blocks.shape[1], device=blocks.device)
    turn = torch.linalg.solve(one - skew, one + skew, left=False)
    after = torch.einsum("knm,kni->kmi", turn, weight_OI.unflatten(0, blocks.shape[:2])).flatten(0, 1)
    if change.rescale is not None:
        after = after * change.rescale.float().reshape(-1, 1)
    return after - weight_OI

"""The tensors of a file by module and ending, and a delta of a fused BFL weight split into diffusers' weights.

Tensors have the shapes that layer_types.py gives. Shape letters: O outputs, the rows of a weight.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from flux_lora.adapter.layer_types import OFT, LayerDelta, LoHa, LoKr, LoRA, within_norm
from flux_lora.models.flux1.layers import MLP_RATIO
from flux_lora.models.fused_weight import FusedWeight

PAIRS: Mapping[str, tuple[str, str]] = {
    "AB": (".lora_A.weight", ".lora_B.weight"),
    "down up": (".lora_down.weight", ".lora_up.weight"),
    "lora.down up": (".lora.down.weight", ".lora.up.weight"),
    "linear_layer": (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    "AB default": (".lora_A.default.weight", ".lora_B.default.weight"),
    "AB bare": (".lora_A", ".lora_B"),
    "processor": (".down.weight", ".up.weight"),
}
"""Endings of `down` and `up` of a LoRA, by the name of their spelling."""
ALPHA, DORA_SCALE, PEFT_MAGNITUDE = ".alpha", ".dora_scale", ".lora_magnitude_vector"
LOKR_ENDINGS = tuple(f".lokr_{part}" for part in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b"))
LOHA_ENDINGS = tuple(f".hada_{part}" for part in ("w1_a", "w1_b", "w2_a", "w2_b"))
OFT_ENDINGS = (".oft_blocks", ".rescale")
GLORA_ENDINGS = (".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight")
WHOLE, BIAS = ".diff", ".diff_b"
"""A change of a whole weight, and of a bias."""
OTHERS = (
    ALPHA,
    DORA_SCALE,
    PEFT_MAGNITUDE,
    f"{PEFT_MAGNITUDE}.weight",
    ".magnitude",
    *LOKR_ENDINGS,
    *LOHA_ENDINGS,
    *OFT_ENDINGS,
    *GLORA_ENDINGS,
    WHOLE,
    BIAS,
)
ENDINGS = frozenset({*OTHERS, *(ending for pair in PAIRS.values() for ending in pair)})
MOST_KEYS = 200_000
"""Whose endings are remembered: every reader asks for the same."""
MOST_DOTS = max(ending.count(".") for ending in ENDINGS)


@dataclass(frozen=True)
class Module:
    """The tensors of one module of a file."""

    stem: str
    """Its keys without their endings."""
    tensors: Mapping[str, Tensor]
    """By ending."""

    def keys(self, endings: Iterable[str]) -> set[str]:
        """The keys with these endings that the module has."""
        return {f"{self.stem}{ending}" for ending in endings if ending in self.tensors}

    def has(self, *endings: str) -> bool:
        """Whether it has tensors of all these endings."""
        return all(ending in self.tensors for ending in endings)


class StateDict(dict[str, Tensor]):
    """The tensors of a file whose modules are worked out once, however many programs are asked about it."""

    @cached_property
    def modules(self) -> Mapping[str, Module]:
        """By their names in the file."""
        return _by_module(self)


def modules_of(tensors: Mapping[str, Tensor]) -> Mapping[str, Module]:
    """The file's modules by their names in the file. A key without a known ending is a module of its own."""
    return tensors.modules if isinstance(tensors, StateDict) else _by_module(tensors)


def _by_module(tensors: Mapping[str, Tensor]) -> dict[str, Module]:
    found: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        ending = _ending(key)
        found[key[: len(key) - len(ending)]][ending] = tensor
    return {stem: Module(stem, parts) for stem, parts in found.items()}


@lru_cache(maxsize=MOST_KEYS)
def _ending(key: str) -> str:
    """The longest known ending of the key; empty if there is none."""
    longest, dot = "", key.rfind(".")
    for _ in range(MOST_DOTS):
        if dot < 0:
            break
        longest = key[dot:] if key[dot:] in ENDINGS else longest
        dot = key.rfind(".", 0, dot)
    return longest


def alpha_of(module: Module) -> float | None:
    """The module's alpha key, if it is one number."""
    alpha = module.tensors.get(ALPHA)
    return float(alpha.item()) if alpha is not None and alpha.numel() == 1 else None


def lora_of(module: Module, pair: str, alpha: float | None) -> LoRA | None:
    """The LoRA in a spelling of PAIRS; without an alpha its scale is 1. None if it is absent or not two matrices."""
    below, above = PAIRS[pair]
    if not module.has(below, above):
        return None
    down, up = module.tensors[below], module.tensors[above]
    if not (down.ndim == up.ndim == 2 and down.shape[0] == up.shape[1] > 0):
        return None
    return LoRA(down, up, float(down.shape[0]) if alpha is None else alpha)


def lokr_of(module: Module, alpha: float | None) -> LoKr | None:
    """The LoKr; None if it is absent or its matrices do not fit."""
    w1, w1_a, w1_b, w2, w2_a, w2_b = (module.tensors.get(ending) for ending in LOKR_ENDINGS)
    if not (_factor(w1, w1_a, w1_b) and _factor(w2, w2_a, w2_b)):
        return None
    delta = LoKr(w1, w1_a, w1_b, w2, w2_a, w2_b, 1.0)
    return replace(delta, alpha=float(delta.rank or 1) if alpha is None else alpha)


def loha_of(module: Module, alpha: float | None) -> LoHa | None:
    """The LoHa; None if it is absent or its matrices do not fit."""
    if not module.has(*LOHA_ENDINGS):
        return None
    w1_a, w1_b, w2_a, w2_b = (module.tensors[ending] for ending in LOHA_ENDINGS)
    if not (_factor(None, w1_a, w1_b) and _factor(None, w2_a, w2_b)):
        return None
    return LoHa(w1_a, w1_b, w2_a, w2_b, float(w1_b.shape[0]) if alpha is None else alpha)


def oft_of(module: Module, alpha: float | None) -> OFT | None:
    """LyCORIS' diag-oft, cut to a norm of alpha; None if it is absent or not KNN."""
    blocks, rescale = (module.tensors.get(ending) for ending in OFT_ENDINGS)
    if blocks is None or blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2]:
        return None
    return OFT(within_norm(blocks, alpha or 0.0), None if rescale is None else rescale.flatten())


def _factor(matrix: Tensor | None, a: Tensor | None, b: Tensor | None) -> bool:
    """Whether a factor is a matrix, or a product of two that fit."""
    if matrix is not None:
        return matrix.ndim == 2
    if a is None or b is None or not a.ndim == b.ndim == 2:
        return False
    return a.shape[1] == b.shape[0] > 0


def unfuse(delta: LayerDelta, weight: FusedWeight) -> dict[str, LayerDelta]:
    """The delta under diffusers' names; empty if its rows are not a multiple of the parts' shares.

    Of linear1's seven shares of rows four are the MLP's. Types other than LoRA and LoHa keep BFL's name.
    """
    if len(weight.parts) == 1 and not weight.swaps:
        return {weight.parts[0]: delta}
    if not isinstance(delta, LoRA | LoHa):
        return {weight.fused: delta}
    shares = [MLP_RATIO if part.endswith("proj_mlp") else 1 for part in weight.parts]
    outputs = delta.up.shape[0] if isinstance(delta, LoRA) else delta.w1_a.shape[0]
    width, remainder = divmod(outputs, sum(shares))
    if remainder or not width:
        return {}
    if weight.swaps:
        return {weight.parts[0]: on_rows(delta, swap_row_halves)}
    ends = [sum(shares[: number + 1]) * width for number in range(len(shares))]
    starts = [0, *ends[:-1]]
    return {
        part: on_rows(delta, lambda rows, start=start, end=end: rows[start:end])
        for part, start, end in zip(weight.parts, starts, ends, strict=True)
    }


def on_rows(delta: LoRA | LoHa, act: Callable[[Tensor], Tensor]) -> LoRA | LoHa:
    """The delta after `act` (O... -> O...) on the factors that have the weight's rows."""
    if isinstance(delta, LoRA):
        return replace(delta, up=act(delta.up))
    return replace(delta, w1_a=act(delta.w1_a), w2_a=act(delta.w2_a))


def swap_row_halves(rows: Tensor) -> Tensor:
    """The two halves of the rows of a tensor O..., exchanged."""
    first, second = rows.chunk(2)
    return torch.cat([second, first])

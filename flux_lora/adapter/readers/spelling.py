"""The tensors of a file by module and part: which of the field's endings a key has."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from flux_lora.adapter.kinds import OFT, LoHa, LoKr, LoRA

PAIRS: Mapping[str, tuple[str, str]] = {
    "AB": (".lora_A.weight", ".lora_B.weight"),
    "down up": (".lora_down.weight", ".lora_up.weight"),
    "lora.down up": (".lora.down.weight", ".lora.up.weight"),
    "linear_layer": (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    "AB default": (".lora_A.default.weight", ".lora_B.default.weight"),
    "AB bare": (".lora_A", ".lora_B"),
    "processor": (".down.weight", ".up.weight"),
}
"""How `down` and `up` of a LoRA are spelled."""
ALPHA, DORA_SCALE, PEFT_MAGNITUDE = ".alpha", ".dora_scale", ".lora_magnitude_vector"
LOKR_ENDINGS = tuple(f".lokr_{part}" for part in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b"))
LOHA_ENDINGS = tuple(f".hada_{part}" for part in ("w1_a", "w1_b", "w2_a", "w2_b"))
OFT_ENDINGS = (".oft_blocks", ".rescale")
OTHERS = (
    ALPHA,
    DORA_SCALE,
    PEFT_MAGNITUDE,
    f"{PEFT_MAGNITUDE}.weight",
    ".magnitude",
    *LOKR_ENDINGS,
    *LOHA_ENDINGS,
    *OFT_ENDINGS,
)
ENDINGS = frozenset({*OTHERS, *(ending for pair in PAIRS.values() for ending in pair)})
MOST_DOTS = max(ending.count(".") for ending in ENDINGS)


@dataclass(frozen=True)
class Module:
    """The keys of one module of a file, by ending."""

    stem: str
    tensors: Mapping[str, Tensor]

    def keys(self, endings: Iterable[str]) -> set[str]:
        """The file's keys with these endings, as far as they are there."""
        return {f"{self.stem}{ending}" for ending in endings if ending in self.tensors}

    def has(self, *endings: str) -> bool:
        """Whether all of these are there."""
        return all(ending in self.tensors for ending in endings)


def modules_of(tensors: Mapping[str, Tensor]) -> dict[str, Module]:
    """The file's modules by their names in the file. A key without a known ending is a module of its own."""
    found: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        ending = _ending(key)
        found[key.removesuffix(ending)][ending] = tensor
    return {stem: Module(stem, parts) for stem, parts in found.items()}


def _ending(key: str) -> str:
    """The longest ending that is known."""
    pieces = key.rsplit(".", MOST_DOTS)
    endings = (f".{'.'.join(pieces[first:])}" for first in range(1, len(pieces)))
    return next((ending for ending in endings if ending in ENDINGS), "")


def alpha_of(module: Module) -> float | None:
    """The module's own alpha, if it is one number."""
    alpha = module.tensors.get(ALPHA)
    return float(alpha.item()) if alpha is not None and alpha.numel() == 1 else None


def lora_of(module: Module, pair: str, alpha: float | None) -> LoRA | None:
    """The LoRA in this spelling; without an alpha its scale is 1. None if it is not there or not two matrices."""
    below, above = PAIRS[pair]
    if not module.has(below, above):
        return None
    down, up = module.tensors[below], module.tensors[above]
    if not (down.ndim == up.ndim == 2 and down.shape[0] == up.shape[1] > 0):
        return None
    return LoRA(down, up, float(down.shape[0]) if alpha is None else alpha)


def lokr_of(module: Module, alpha: float | None) -> LoKr | None:
    """The LoKr, if it is there and made of matrices that fit."""
    w1, w1_a, w1_b, w2, w2_a, w2_b = (module.tensors.get(ending) for ending in LOKR_ENDINGS)
    if not (_factor(w1, w1_a, w1_b) and _factor(w2, w2_a, w2_b)):
        return None
    change = LoKr(w1, w1_a, w1_b, w2, w2_a, w2_b, 1.0)
    return replace(change, alpha=float(change.rank or 1) if alpha is None else alpha)


def loha_of(module: Module, alpha: float | None) -> LoHa | None:
    """The LoHa, if it is there and made of matrices that fit."""
    if not module.has(*LOHA_ENDINGS):
        return None
    w1_a, w1_b, w2_a, w2_b = (module.tensors[ending] for ending in LOHA_ENDINGS)
    if not (_factor(None, w1_a, w1_b) and _factor(None, w2_a, w2_b)):
        return None
    return LoHa(w1_a, w1_b, w2_a, w2_b, float(w1_b.shape[0]) if alpha is None else alpha)


def oft_of(module: Module, alpha: float | None) -> OFT | None:
    """LyCORIS' OFT, if it is there; its alpha is the limit of the turn."""
    blocks, rescale = (module.tensors.get(ending) for ending in OFT_ENDINGS)
    if blocks is None or blocks.ndim != 3:
        return None
    return OFT(blocks, alpha or 0.0, None if rescale is None else rescale.flatten())


def _factor(whole: Tensor | None, left: Tensor | None, right: Tensor | None) -> bool:
    if whole is not None:
        return whole.ndim == 2
    if left is None or right is None or not left.ndim == right.ndim == 2:
        return False
    return left.shape[1] == right.shape[0] > 0

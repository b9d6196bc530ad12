"""What a program does with a file: the deltas it applies, the keys it leaves unused, what it gets wrong; and alpha from
metadata.
"""

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from flux_lora.adapter.header import usable_number
from flux_lora.adapter.layer_types import LayerDelta, LoRA

CLOSE = 1e-3
"""Relative: alpha may have been rounded to a 16-bit dtype."""


@dataclass(frozen=True)
class LoadResult:
    """What one program does with a file."""

    deltas: Mapping[str, LayerDelta] = field(default_factory=dict)
    """By diffusers' module name; what cannot be split of a fused weight stays under BFL's name."""
    others: frozenset[str] = frozenset()
    """Modules of the file, by their names there, that it changes in ways which no LayerDelta describes."""
    unused: tuple[str, ...] = ()
    """Keys of the file that it does not use."""
    wrong: str = ""
    """What it applies otherwise than trained, as a sentence without its subject."""
    stopped: str = ""
    """Why it stops with an error; then it applies nothing."""


Load = Callable[[Mapping[str, Tensor], Mapping[str, str], Collection[str]], LoadResult]
"""(the file's tensors, its metadata, the linear layers of the base by diffusers' name) -> what the program does"""


@dataclass(frozen=True)
class Loader:
    """A program that loads LoRA files."""

    name: str
    about: str
    load: Load
    flux2: bool = False
    """Whether it knows FLUX.2's layers."""
    without_flux3: str = "does not know FLUX.3"
    """Why it takes no file for FLUX.3; empty where it takes some."""
    without_text_encoders: str = ""
    """What it does with their layers where the text encoders are not loaded; empty where they always are."""


def stopped(reason: str, tensors: Mapping[str, Tensor]) -> LoadResult:
    """The program raises: nothing is used."""
    return LoadResult(unused=tuple(sorted(tensors)), stopped=reason)


def without_dora(tensors: Mapping[str, Tensor], loaded: Callable[[Mapping[str, Tensor]], LoadResult]) -> LoadResult:
    """What a program does that leaves DoRA's magnitudes out; `loaded` says it of all other tensors."""
    kept = {key: tensor for key, tensor in tensors.items() if "dora_scale" not in key}
    result = loaded(kept)
    if len(kept) == len(tensors):
        return result
    wrong = result.wrong or ("leaves DoRA's dora_scale out and applies a plain LoRA" if result.deltas else "")
    return replace(result, unused=tuple(sorted({*result.unused, *(set(tensors) - set(kept))})), wrong=wrong)


def without_trained_alpha(result: LoadResult, scales: Iterable[tuple[float, float]]) -> LoadResult:
    """The result, marked wrong where the program applies another scale than was trained; `scales` are such pairs."""
    off = [(applied, trained) for applied, trained in scales if not math.isclose(applied, trained, rel_tol=CLOSE)]
    if not off:
        return result
    applied, trained = (_range(column) for column in zip(*off, strict=True))
    return replace(result, wrong=f"leaves alpha out: applies strength {applied} where {trained} was trained")


def _range(scales: Sequence[float]) -> str:
    first, last = min(scales), max(scales)
    return f"{first:g}" if first == last else f"{first:g} to {last:g}"


METADATA_KEY = "lora_adapter_metadata"
ROOT = "transformer."


@dataclass(frozen=True)
class MetadataAlpha:
    """The fields of a LoraConfig that decide scales."""

    lora_alpha: float | None = None
    rooted: bool = False
    """rsLoRA: alpha is divided by the square root of the rank."""
    patterns: Mapping[str, float] = field(default_factory=dict)
    """alpha_pattern: matched by peft from the start of a module's name or after a dot."""

    def alpha(self, stem: str, rank: int) -> float | None:
        """The alpha that gives the module its scale as alpha / rank; None if there is none, and the scale is 1."""
        alpha = self._said_of(stem.removeprefix(ROOT))
        return None if alpha is None else alpha * math.sqrt(rank) if self.rooted else alpha

    def _said_of(self, name: str) -> float | None:
        for pattern, alpha in self.patterns.items():
            plain = pattern.removeprefix("^").removesuffix("$").replace("\\", "").removeprefix(ROOT)
            if name == plain or name.endswith(f".{plain}"):
                return alpha
        return self.lora_alpha


NO_METADATA_ALPHA = MetadataAlpha()


def metadata_alpha(metadata: Mapping[str, str]) -> MetadataAlpha | None:
    """Alpha from a file's metadata; None if there is none that is a number."""
    try:
        settings = json.loads(metadata.get(METADATA_KEY, ""))
    except (ValueError, RecursionError):
        return None
    if not isinstance(settings, dict):
        return None
    alpha = settings.get(f"{ROOT}lora_alpha")
    patterns = settings.get(f"{ROOT}alpha_pattern")
    if not usable_number(alpha):
        return None
    numbers = patterns.items() if isinstance(patterns, dict) else ()
    return MetadataAlpha(
        float(alpha),
        settings.get(f"{ROOT}use_rslora") is True,
        {name: float(value) for name, value in numbers if usable_number(value)},
    )


def without_metadata_alpha(result: LoadResult, metadata: Mapping[str, str]) -> LoadResult:
    """The result of a program that ignores the metadata: right only where the tensors give the same scales."""
    trained = metadata_alpha(metadata)
    if trained is None:
        return result
    layers = {name: delta for name, delta in result.deltas.items() if isinstance(delta, LoRA)}
    scales = [
        (layer.scale, alpha / layer.rank)
        for name, layer in layers.items()
        if (alpha := trained.alpha(name, layer.rank)) is not None
    ]
    return without_trained_alpha(result, scales)

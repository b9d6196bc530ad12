"""Strengths that a file tells in its metadata, as recent diffusers reads them: `lora_adapter_metadata`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from flux_lora.adapter.kinds import LoRA
from flux_lora.adapter.readers.consumed import LoadResult, without_trained_alpha

METADATA_KEY = "lora_adapter_metadata"
ROOT = "transformer."


@dataclass(frozen=True)
class MetadataAlpha:
    """peft's settings of a LoRA, as far as they decide strengths."""

    lora_alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    """alpha of single modules, by a pattern that peft matches from the start or after a dot."""

    def alpha(self, stem: str) -> float | None:
        """The module's alpha; None if nothing was told, so that rank counts."""
        name = stem.removeprefix(ROOT)
        for pattern, alpha in self.patterns.items():
            plain = pattern.removeprefix("^").removesuffix("$").replace("\\", "").removeprefix(ROOT)
            if name == plain or name.endswith(f".{plain}"):
                return alpha
        return self.lora_alpha


NO_METADATA_ALPHA = MetadataAlpha()


def metadata_alpha(metadata: Mapping[str, str]) -> MetadataAlpha | None:
    """What the metadata tells; None if it tells nothing, or nothing that makes sense."""
    try:
        settings = json.loads(metadata.get(METADATA_KEY, ""))
    except (ValueError, RecursionError):
        return None
    if not isinstance(settings, dict):
        return None
    alpha = settings.get(f"{ROOT}lora_alpha")
    patterns = settings.get(f"{ROOT}alpha_pattern")
    if not isinstance(alpha, int | float):
        return None
    numbers = patterns.items() if isinstance(patterns, dict) else ()
    return MetadataAlpha(float(alpha), {name: float(each) for name, each in numbers if isinstance(each, int | float)})


def without_metadata_alpha(consumed: LoadResult, metadata: Mapping[str, str]) -> LoadResult:
    """The reading of a program that does not look into the metadata: right only where the tensors tell the same."""
    told = metadata_alpha(metadata)
    if told is None:
        return consumed
    layers = {name: change for name, change in consumed.deltas.items() if isinstance(change, LoRA)}
    meant = {name: alpha / layer.rank for name, layer in layers.items() if (alpha := told.alpha(name)) is not None}
    return without_trained_alpha(consumed, [(layers[name].scale, scale) for name, scale in meant.items()])

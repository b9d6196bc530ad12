"""What an exported file says about itself. Nothing here changes what the adapter does."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from flux_lora.adapter.tensors import Adapter

SCHNELL = "schnell"
IMPLEMENTATION = "https://github.com/black-forest-labs/flux"


@dataclass(frozen=True, kw_only=True)
class Label:
    """The facts that a reader of the file may want years later."""

    title: str
    trigger: str
    base: str
    """What the base model is called: its hub id or name."""
    date: str
    """ISO 8601."""
    resolution: int
    licence: str = ""
    recipe: str = "{}"
    """The whole resolved recipe, as JSON."""
    dataset: str = ""
    """Fingerprint of the training pictures and captions."""
    versions: Mapping[str, str] = field(default_factory=dict)
    scores: str = "{}"
    """What the evaluator found, as JSON."""


def metadata_of(label: Label, adapter: Adapter) -> dict[str, str]:
    """The label in the words of modelspec, of sd-scripts and of this package.

    Never `lora_adapter_metadata`: diffusers would build peft's config from it, and a peft
    of another version stops on fields that it does not know. ss_network_alpha equals the
    rank, because the scale is folded into the tensors; the training's alpha is ours to tell.
    """
    variant = SCHNELL if SCHNELL in label.base.lower() else "dev"
    rank = _one_or_dynamic(adapter.ranks)
    facts = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"flux-1-{variant}/lora",
        "modelspec.implementation": IMPLEMENTATION,
        "modelspec.title": label.title,
        "modelspec.trigger_phrase": label.trigger,
        "modelspec.date": label.date,
        "modelspec.resolution": f"{label.resolution}x{label.resolution}",
        "modelspec.license": label.licence,
        "ss_base_model_version": "flux1",
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
        "ss_output_name": label.title,
        "flux_lora.base": label.base,
        "flux_lora.alpha": _one_or_dynamic(adapter.alphas),
        "flux_lora.recipe": label.recipe,
        "flux_lora.dataset": label.dataset,
        "flux_lora.versions": json.dumps(dict(sorted(label.versions.items()))),
        "flux_lora.scores": label.scores,
    }
    return {key: value for key, value in facts.items() if value}


def _one_or_dynamic(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else "Dynamic"

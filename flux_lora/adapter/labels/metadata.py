"""What an exported file says about itself. Nothing here changes what the adapter does."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from flux_lora.adapter.tensors import Adapter

SCHNELL = "schnell"
IMPLEMENTATION = "https://github.com/black-forest-labs/flux"
"""Forge takes a file for FLUX's by this word, or by the architecture flux-1-dev/lora."""
NON_COMMERCIAL = re.compile(r"non.?commercial|\bnc\b", re.IGNORECASE)
PLACE = re.compile(r"(/|~|\\\\|[A-Za-z]:[\\/]).*", re.DOTALL)
"""A path that means something on one machine alone, and may hold a person's name."""
FROM_RECIPE = {
    "ss_batch_size_per_device": "train.batch_size",
    "ss_caption_dropout_rate": "train.caption_dropout",
    "ss_discrete_flow_shift": "train.time_shift",
    "ss_guidance_scale": "model.train_guidance",
    "ss_learning_rate": "train.learning_rate",
    "ss_lr_scheduler": "train.schedule",
    "ss_lr_warmup_steps": "train.warmup_steps",
    "ss_max_grad_norm": "train.clip",
    "ss_max_train_steps": "train.steps",
    "ss_optimizer": "train.optimizer",
    "ss_seed": "train.seed",
}
"""The words of sd-scripts for settings that mean the same here."""


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
    class_word: str = ""
    author: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    pictures: int = 0
    """How many it was taught from."""
    strength: float = 1.0
    """What to load the file at."""
    thumbnail: str = ""
    """A small JPEG as a data URI; see thumbnail.py."""
    merged_from: tuple[str, ...] = ()
    """Titles of the files that this one was made of."""


def is_non_commercial(licence: str) -> bool:
    """Whether a licence keeps what it is on, and what is made of it, from commercial use."""
    return bool(NON_COMMERCIAL.search(licence))


def metadata_of(label: Label, adapter: Adapter) -> dict[str, str]:
    """The label in the words of modelspec, of sd-scripts and of this package.

    Never `lora_adapter_metadata`: diffusers would build peft's config from it, and a peft
    of another version stops on fields that it does not know. What depends on the tensors as
    they are written, `tell` adds: ss_network_*, hashes.
    """
    facts = {"format": "pt", **_modelspec(label), **_sd_scripts(label), **_ours(label, adapter)}
    return {key: value for key, value in facts.items() if value}


def _modelspec(label: Label) -> dict[str, str]:
    variant = SCHNELL if SCHNELL in label.base.lower() else "dev"
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"flux-1-{variant}/lora",
        "modelspec.implementation": IMPLEMENTATION,
        "modelspec.title": label.title,
        "modelspec.author": label.author,
        "modelspec.description": label.description,
        "modelspec.trigger_phrase": label.trigger,
        "modelspec.tags": ", ".join(label.tags),
        "modelspec.usage_hint": _hint(label),
        "modelspec.date": label.date,
        "modelspec.resolution": f"{label.resolution}x{label.resolution}",
        "modelspec.license": label.licence,
        "modelspec.thumbnail": label.thumbnail,
        "modelspec.merged_from": ", ".join(label.merged_from),
    }


def _hint(label: Label) -> str:
    strength = f"Load it at strength {label.strength:g}"
    if not label.trigger:
        return f"{strength}."
    return f"{strength} and write {f'{label.trigger} {label.class_word}'.strip()!r} in the prompt."


def _sd_scripts(label: Label) -> dict[str, str]:
    recipe = json.loads(label.recipe)
    facts = {
        "ss_base_model_version": "flux1",
        "ss_sd_model_name": label.base,
        "ss_output_name": label.title,
        "ss_resolution": f"({label.resolution}, {label.resolution})",
        "ss_model_prediction_type": "raw",
    }
    for word, key in FROM_RECIPE.items():
        section, knob = key.split(".")
        facts[word] = str(recipe.get(section, {}).get(knob, ""))
    if label.pictures and label.trigger:
        folder = label.class_word or label.title
        facts["ss_num_train_images"] = str(label.pictures)
        facts["ss_dataset_dirs"] = json.dumps({folder: {"n_repeats": 1, "img_count": label.pictures}})
        facts["ss_tag_frequency"] = json.dumps({folder: {label.trigger: label.pictures}})
    return facts


def _ours(label: Label, adapter: Adapter) -> dict[str, str]:
    recipe = _without_places(json.loads(label.recipe))
    licensed = {"flux_lora.non_commercial": str(is_non_commercial(label.licence)).lower()}
    return {
        "flux_lora.base": label.base,
        **(licensed if label.licence else {}),
        "flux_lora.alpha": _one_or_dynamic(adapter.alphas),
        "flux_lora.recipe": json.dumps(recipe, ensure_ascii=False) if recipe else "",
        "flux_lora.dataset": label.dataset,
        "flux_lora.versions": json.dumps(dict(sorted(label.versions.items()))),
        "flux_lora.scores": label.scores if label.scores != "{}" else "",
    }


def _without_places(tree: object) -> object:
    """Of a path on this machine only its last part: /home/jane/photos/mug is nobody's business."""
    if isinstance(tree, Mapping):
        return {key: _without_places(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_without_places(each) for each in tree]
    if isinstance(tree, str) and PLACE.fullmatch(tree):
        return re.split(r"[\\/]", tree.rstrip("\\/"))[-1]
    return tree


def _one_or_dynamic(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else "Dynamic"

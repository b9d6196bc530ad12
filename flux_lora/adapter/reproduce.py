"""The recipe in a file's metadata, and what else training it again needs."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from flux_lora.adapter.header import read_header
from flux_lora.adapter.metadata import FROM_RECIPE
from flux_lora.errors import AdapterFileError
from flux_lora.models.hub import HUB_ID
from flux_lora.models.mini import MINI

LONGEST_RECIPE = 256 * 1024
"""Characters. Ours has two thousand."""
FILES = (
    *("model.transformer", "model.vae", "model.text_encoder", "model.text_encoder_2", "model.scorer"),
    *("model.likeness", "adapter.start", "data.held_out", "data.prompts", "data.mask_folder"),
)
"""Settings that may name a file or folder beside the photos and the base."""
NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?(e-?\d{1,3})?")
SQUARE = re.compile(r"\((\d{2,5}), ?\1\)")
SAME_NUMBERS = {"ss_network_dim": "adapter.rank", "ss_network_alpha": "adapter.alpha"} | {
    word: FROM_RECIPE[word]
    for word in ("ss_max_train_steps", "ss_learning_rate", "ss_batch_size_per_device", "ss_lr_warmup_steps", "ss_seed")
}
"""sd-scripts' key -> our setting that takes the same number."""
NOT_TRAINING = ("modelspec.thumbnail", "modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash", "format")
"""Metadata that describes the file and not its training."""


@dataclass(frozen=True)
class Reproduction:
    """What is known of the run that made a file."""

    recipe: str
    """YAML; empty if the file holds none."""
    needs: tuple[str, ...]
    """What is needed and not in the file, one phrase each."""
    said: Mapping[str, str]
    """Of a file without a recipe: its metadata, as it is."""
    start: tuple[str, ...]
    """Of a file without a recipe: sd-scripts' settings as ours, key=value."""


def read_reproduction(file: Path, installed: Mapping[str, str]) -> Reproduction:
    """How the file was made. `installed`: library -> its version on this machine."""
    metadata = read_header(file).metadata
    if "flux_lora.recipe" in metadata:
        recipe = _table(file, metadata, "flux_lora.recipe")
        needs = tuple(_needs(recipe, _table(file, metadata, "flux_lora.versions"), metadata, installed))
        return Reproduction(_yaml(file, recipe), (*needs, *_shipped_checkpoint(file, metadata)), {}, ())
    training = {key: value for key, value in sorted(metadata.items()) if value and key not in NOT_TRAINING}
    needs = (
        "flux_lora did not make this file, and no recipe is in it",
        "its photos and captions, the base it was trained on, and every setting that it does not say",
    )
    return Reproduction("", needs, training, tuple(_same_settings(metadata)))


def _table(file: Path, metadata: Mapping[str, str], key: str) -> Mapping[str, object]:
    """A JSON object in the metadata; an AdapterFileError where it is none, or too long."""
    text = metadata.get(key, "{}")
    try:
        table = json.loads(text) if len(text) <= LONGEST_RECIPE else None
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise AdapterFileError(
            f"{file} says {key}, and what it says cannot be read", fix="ask its author for the run's recipe.yaml"
        )
    return table


def _yaml(file: Path, recipe: Mapping[str, object]) -> str:
    title = f"# What {file.name!r} was made of. Read it before you run it: its author wrote it.\n"
    try:
        return title + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=120)
    except RecursionError:
        raise AdapterFileError(
            f"{file} holds a recipe without a bottom", fix="ask its author for the run's recipe.yaml"
        ) from None


def _needs(
    recipe: Mapping[str, object],
    versions: Mapping[str, object],
    metadata: Mapping[str, str],
    installed: Mapping[str, str],
) -> Iterator[str]:
    """Photos, base model, library versions and machine."""
    yield _photos(recipe, metadata)
    yield _base(recipe, metadata)
    others = [f"{key} ({value})" for key in FILES if (value := _setting(recipe, *key.split("."))) and _is_local(value)]
    if others:
        yield f"files and folders of its maker's, of whose places only the ends are told: set {', '.join(others)}"
    libraries = (_version(name, str(trained_with), installed) for name, trained_with in versions.items())
    yield "; ".join(libraries) or "the libraries of its day"
    machine = f"{_setting(recipe, 'hardware', 'device')}, {_setting(recipe, 'hardware', 'dtype')}"
    yield f"a machine like its maker's ({machine}): another rounds otherwise, and makes one that is alike, not equal"


def _base(recipe: Mapping[str, object], metadata: Mapping[str, str]) -> str:
    base, path, revision = (_setting(recipe, "model", key) for key in ("name", "path", "revision"))
    if path == MINI:
        return f"the base {base!r}, which ships with flux_lora"
    if _is_local(path):
        return f"the base {base!r}, from a folder of its maker's called {path!r}: set model.path"
    date = metadata.get("modelspec.date", "that day")[:10]
    pinned = f"revision {revision}" if revision else f"the main branch as of {date}, no revision was set"
    return f"the base {base!r}: {path!r}, {pinned}"


def _is_local(place: str) -> bool:
    """Whether a place is on one machine alone: no repository of the hub, and nothing that ships."""
    return place not in ("", MINI, "none") and not HUB_ID.fullmatch(place)


def _photos(recipe: Mapping[str, object], metadata: Mapping[str, str]) -> str:
    count, fingerprint = metadata.get("ss_num_train_images", ""), metadata.get("flux_lora.dataset", "")
    folder = _setting(recipe, "data", "folder")
    photos = f"its {count} photos with captions" if count else "its photos with captions"
    lot = _setting(recipe, "data", "held_out_images")
    photos += f", and those that were held out (up to {lot} of the same folder)" if lot not in ("", "0") else ""
    source = f"{photos}, from a folder called {folder!r}: set data.folder" if folder else photos
    if not fingerprint:
        return source
    return f"{source}; prepared, the first line of dataset/manifest.jsonl has to say {fingerprint[:12]}"


def _version(name: str, trained_with: str, installed: Mapping[str, str]) -> str:
    current = installed.get(name, "not installed")
    return f"{name} {trained_with}" + ("" if current == trained_with else f" (here {current})")


def _shipped_checkpoint(file: Path, metadata: Mapping[str, str]) -> Iterator[str]:
    scores = _table(file, metadata, "flux_lora.scores")
    if "step" in scores and "strength" in scores:
        yield f"the checkpoint of step {scores['step']}, with strength {scores['strength']} folded in, was shipped"


def _same_settings(metadata: Mapping[str, str]) -> Iterator[str]:
    """sd-scripts' settings as key=value of ours."""
    for key, knob in SAME_NUMBERS.items():
        if NUMBER.fullmatch(metadata.get(key, "")):
            yield f"{knob}={metadata[key]}"
    side = SQUARE.fullmatch(metadata.get("ss_resolution", ""))
    if side:
        yield f"data.resolution={side[1]}"


def _setting(recipe: Mapping[str, object], section: str, key: str) -> str:
    settings = recipe.get(section)
    return str(settings.get(key, "")) if isinstance(settings, dict) else ""

"""What a file says of how it was made, and what making it again needs beside."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from flux_lora.adapter.header import read_header
from flux_lora.adapter.labels.metadata import FROM_RECIPE
from flux_lora.errors import AdapterFileError

LONGEST_RECIPE = 256 * 1024
"""Letters. Ours has two thousand."""
NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?(e-?\d{1,3})?")
SQUARE = re.compile(r"\((\d{2,5}), ?\1\)")
SAME_NUMBERS = {"ss_network_dim": "adapter.rank", "ss_network_alpha": "adapter.alpha"} | {
    word: FROM_RECIPE[word]
    for word in ("ss_max_train_steps", "ss_learning_rate", "ss_batch_size_per_device", "ss_lr_warmup_steps", "ss_seed")
}
"""Settings of sd-scripts whose numbers can be taken over as they are."""
NOT_TRAINING = ("modelspec.thumbnail", "modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash", "format")


@dataclass(frozen=True)
class Reproduction:
    """The way back from a file to the run that made it."""

    recipe: str
    """YAML; empty if the file holds none."""
    needs: tuple[str, ...]
    """What is not in the file, a sentence each."""
    said: Mapping[str, str]
    """Of a file without a recipe: all that it says, in its own words."""
    start: tuple[str, ...]
    """Of a file without a recipe: settings that mean the same here, as key=value."""


def read_reproduction(file: Path, here: Mapping[str, str]) -> Reproduction:
    """How the file was made. `here` are the versions of libraries on this machine."""
    metadata = read_header(file).metadata
    if "flux_lora.recipe" in metadata:
        recipe = _table(file, metadata, "flux_lora.recipe")
        needs = tuple(_needs(recipe, _table(file, metadata, "flux_lora.versions"), metadata, here))
        return Reproduction(_yaml(file, recipe), (*needs, *_chosen(file, metadata)), {}, ())
    said = {key: value for key, value in sorted(metadata.items()) if value and key not in NOT_TRAINING}
    needs = (
        "flux_lora did not make this file, and no recipe is in it",
        "its photos and captions, the base it was trained on, and every setting that it does not say",
    )
    return Reproduction("", needs, said, tuple(_start(metadata)))


def _table(file: Path, metadata: Mapping[str, str], key: str) -> Mapping[str, object]:
    text = metadata.get(key, "{}")
    try:
        found = json.loads(text) if len(text) <= LONGEST_RECIPE else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise AdapterFileError(
            f"{file} says {key}, and what it says cannot be read", fix="ask its author for the run's recipe.yaml"
        )
    return found


def _yaml(file: Path, recipe: Mapping[str, object]) -> str:
    title = f"# What {file.name!r} was made of. Read it before you run it: its author wrote it.\n"
    try:
        return title + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=120)
    except RecursionError:
        raise AdapterFileError(
            f"{file} holds a recipe without a bottom", fix="ask its author for the run's recipe.yaml"
        ) from None


def _needs(
    recipe: Mapping[str, object], versions: Mapping[str, object], metadata: Mapping[str, str], here: Mapping[str, str]
) -> Iterator[str]:
    yield _photos(recipe, metadata)
    base, place, revision = (_at(recipe, "model", key) for key in ("name", "path", "revision"))
    when = metadata.get("modelspec.date", "that day")[:10]
    at = f"revision {revision}" if revision else f"the main branch as of {when}, no revision was set"
    yield f"the base {base!r}: {place!r}, {at}"
    yield "; ".join(_version(name, str(then), here) for name, then in versions.items()) or "the libraries of its day"
    machine = f"{_at(recipe, 'hardware', 'device')}, {_at(recipe, 'hardware', 'dtype')}"
    yield f"a machine like its maker's ({machine}): another rounds otherwise, and makes one that is alike, not equal"


def _photos(recipe: Mapping[str, object], metadata: Mapping[str, str]) -> str:
    count, fingerprint = metadata.get("ss_num_train_images", ""), metadata.get("flux_lora.dataset", "")
    folder = _at(recipe, "data", "folder")
    photos = f"its {count} photos with captions" if count else "its photos with captions"
    found = f"{photos}, from a folder called {folder!r}: set data.folder" if folder else photos
    if not fingerprint:
        return found
    return f"{found}; prepared, the first line of dataset/manifest.jsonl has to say {fingerprint[:12]}"


def _version(name: str, then: str, here: Mapping[str, str]) -> str:
    now = here.get(name, "not installed")
    return f"{name} {then}" + ("" if now == then else f" (here {now})")


def _chosen(file: Path, metadata: Mapping[str, str]) -> Iterator[str]:
    scores = _table(file, metadata, "flux_lora.scores")
    if "step" in scores and "strength" in scores:
        yield f"the checkpoint of step {scores['step']}, with strength {scores['strength']} folded in, was shipped"


def _start(metadata: Mapping[str, str]) -> Iterator[str]:
    for word, knob in SAME_NUMBERS.items():
        if NUMBER.fullmatch(metadata.get(word, "")):
            yield f"{knob}={metadata[word]}"
    side = SQUARE.fullmatch(metadata.get("ss_resolution", ""))
    if side:
        yield f"data.resolution={side[1]}"


def _at(recipe: Mapping[str, object], section: str, key: str) -> str:
    found = recipe.get(section)
    return str(found.get(key, "")) if isinstance(found, dict) else ""

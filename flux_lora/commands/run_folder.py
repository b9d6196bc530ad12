"""The run folder: where each thing rests, and whether a command may go on in it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from flux_lora.config.compose import RECIPE_FILE, read_recipe, write_recipe
from flux_lora.config.schema import RunConfig
from flux_lora.errors import RunError

FIXED = ("model", "data", "adapter", "train")
"""The sections that decide what is trained. The others may change from one command to the next."""


@dataclass(frozen=True)
class RunFolder:
    """The places inside runs/<name>/."""

    root: Path

    @property
    def recipe(self) -> Path:
        """Everything the run is made of."""
        return self.root / RECIPE_FILE

    @property
    def summary(self) -> Path:
        """How the run stands, for programs."""
        return self.root / "summary.json"

    @property
    def manifest(self) -> Path:
        """One line a picture: its file, caption, bucket and crop."""
        return self.root / "dataset" / "manifest.jsonl"

    @property
    def cache(self) -> Path:
        """Latents and texts, named by their content; runs side by side share it."""
        return self.root.parent / "cache"

    @property
    def dataset_page(self) -> Path:
        """The pictures, their crops, and what was found in them, for people."""
        return self.root / "dataset" / "report.html"

    @property
    def metrics(self) -> Path:
        """One line a step."""
        return self.root / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """Previews made while training."""
        return self.root / "samples"

    @property
    def evaluation(self) -> Path:
        """Pictures, scores and the choice."""
        return self.root / "evaluation"

    @property
    def export(self) -> Path:
        """The files to ship."""
        return self.root / "export"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.root / "report.html"


def folder_of(config: RunConfig) -> RunFolder:
    """Where this run lives; nothing is created."""
    return RunFolder(Path(config.run.dir))


def open_folder(config: RunConfig) -> RunFolder:
    """The run's folder, created if need be. Going on with other settings than it was begun with is refused."""
    folder = folder_of(config)
    if folder.recipe.is_file():
        _refuse_another_recipe(folder, config)
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        write_recipe(config, folder.recipe)
    except OSError as error:
        raise RunError(
            f"{folder.root} cannot be written to: {error.strerror}",
            fix="make room there, or set run.dir to a folder that you may write to",
        ) from error
    return folder


def write_json(contents: Mapping[str, object], file: Path) -> None:
    """Beside first, then renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half_written = file.with_name(f"{file.name}.partial")
    half_written.write_text(json.dumps(contents, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    half_written.replace(file)


def _refuse_another_recipe(folder: RunFolder, config: RunConfig) -> None:
    before = dict(_flat(asdict(read_recipe(folder.recipe))))
    now = dict(_flat(asdict(config)))
    changed = [key for key in now if key.split(".")[0] in FIXED and now[key] != before.get(key)]
    if changed:
        lines = [f"{key} was {before.get(key)!r} and is now {now[key]!r}" for key in changed]
        raise RunError(
            f"{folder.root} was begun with other settings: {'; '.join(lines)}",
            fix="put them back to go on, or set run.dir to a new folder",
        )


def settings(config: RunConfig) -> dict[str, str | int | float | bool]:
    """The recipe, flat: train.steps -> 1500."""
    plain = _flat(asdict(config))
    return {key: value if isinstance(value, str | int | float | bool) else str(value) for key, value in plain}


def _flat(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

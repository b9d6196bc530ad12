"""The run folder: where each file of a run lies. Importing this waits for no model library."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flux_lora.atomic import write_text
from flux_lora.config.compose import RECIPE_FILE


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
        """One line an image: its file, caption, bucket and crop."""
        return self.root / "dataset" / "manifest.jsonl"

    @property
    def cache(self) -> Path:
        """Latents and texts, named by their content; runs side by side share it."""
        return self.root.parent / "cache"

    @property
    def dataset_page(self) -> Path:
        """The images, their crops, and what was found in them, for people."""
        return self.root / "dataset" / "report.html"

    @property
    def metrics(self) -> Path:
        """One line a step."""
        return self.root / "metrics.jsonl"

    @property
    def non_finite(self) -> Path:
        """One file a step whose loss or gradient was not finite: what it was asked."""
        return self.root / "non_finite"

    @property
    def held_out_loss(self) -> Path:
        """One line each time it was measured: the loss of each held-out photo at each sigma."""
        return self.root / "held_out_loss.jsonl"

    @property
    def photo_losses(self) -> Path:
        """The loss of each photo after the last step, beside the base's."""
        return self.root / "photo_losses.json"

    @property
    def samples(self) -> Path:
        """Previews made while training."""
        return self.root / "samples"

    @property
    def evaluation(self) -> Path:
        """Images, scores and the choice."""
        return self.root / "evaluation"

    @property
    def export(self) -> Path:
        """The files to ship."""
        return self.root / "export"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.root / "report.html"


def write_json(contents: Mapping[str, object], file: Path) -> None:
    """A JSON file, whole or not at all."""
    write_text(json.dumps(contents, indent=2, ensure_ascii=False) + "\n", file)

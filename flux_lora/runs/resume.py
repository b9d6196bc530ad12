"""Which knobs may change between two commands on one run folder.

What decided the steps that were taken may not: the rest would belong to another run. Paths may, where they lead to the
same things (a folder that was moved): manifest.py keeps digests of the images, the captions and the base.
"""

from collections.abc import Container, Iterator
from pathlib import Path

from flux_lora.config.choices import LRScheduler
from flux_lora.config.compose import flat_settings
from flux_lora.config.schema import RunConfig
from flux_lora.errors import RunError

FIXED = ("model", "data", "adapter", "train")
"""The sections that decide what is trained."""
JUDGES = (
    *("model.scorer", "model.likeness", "model.distilled", "model.distilled_steps", "model.distilled_guidance"),
    *("data.held_out", "train.evaluate_every", "train.save_every", "train.max_skipped_steps"),
    "model.learning_rates",
)
"""Knobs in these sections that only watch or judge what is trained."""
PARTS = ("model.transformer", "model.vae", "model.text_encoder", "model.text_encoder_2")
PATHS = ("model.path", *PARTS, "adapter.start", "model.revision", "data.folder", "data.sources")
"""Knobs that say where the base and the images are."""
PROLONGED = "train.steps"
PRECISION = "hardware.quantize"
"""What the base is kept in is part of what is trained on."""


def refuse_another_recipe(root: Path, before: RunConfig, now: RunConfig, known: Container[str]) -> None:
    """Raises RunError where a knob that decided the steps so far has changed.

    `known`: the knobs that there were when the run was begun. An earlier version's run goes on with what it did not
    know yet as the recipe has it now.
    """
    changed = [line for key, line in _changes(before, now) if key in known]
    if changed:
        prolonged = any(line.startswith(PROLONGED) for line in changed)
        constant = "; only with train.lr_scheduler=constant can a run be prolonged" if prolonged else ""
        raise RunError(
            f"{root} was begun with other settings: {'; '.join(changed)}",
            fix=f"put them back to go on, or set run.dir to a new folder{constant}",
        )


def _changes(before: RunConfig, now: RunConfig) -> Iterator[tuple[str, str]]:
    old, new = flat_settings(before), flat_settings(now)
    may_change = {*JUDGES, *PATHS}
    if before.train.lr_scheduler == now.train.lr_scheduler == LRScheduler.constant:
        may_change.add(PROLONGED)  # the rate of a step does not depend on how many will follow
    for key, value in new.items():
        fixed = key.split(".")[0] in FIXED or key == PRECISION
        if fixed and key not in may_change and value != old.get(key):
            yield key, f"{key} was {old.get(key)!r} and is now {value!r}"

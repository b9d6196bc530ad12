"""Which knobs may change between two commands on one run folder.

What decided the steps that were taken may not: the rest would belong to another run. Paths may, where they lead to the
same things (a folder that was moved): manifest.py keeps digests of the images, the captions and the base.
"""

from collections.abc import Container, Iterator
from pathlib import Path

from flux_lora.atomic import write_bytes
from flux_lora.config.choices import LRScheduler
from flux_lora.config.compose import RECIPE_FILE, flat_settings, knobs_in, read_recipe
from flux_lora.config.schema import RunConfig
from flux_lora.errors import RunError
from flux_lora.runs.folder import RunFolder
from flux_lora.train.checkpoints import FOLDER, Checkpoint, checkpoint_in, complete_checkpoints, latest_checkpoint

FIXED = ("model", "data", "adapter", "train")
"""The sections that decide what is trained."""
JUDGES = (
    *("model.scorer", "model.likeness", "model.distilled", "model.distilled_steps", "model.distilled_guidance"),
    *("data.held_out", "train.evaluate_every", "train.save_every", "train.max_skipped_steps", "train.resume"),
    "model.learning_rates",
)
"""Knobs in these sections that only watch or judge what is trained."""
PARTS = ("model.transformer", "model.vae", "model.text_encoder", "model.text_encoder_2")
PATHS = ("model.path", *PARTS, "adapter.start", "model.revision", "data.folder", "data.sources")
"""Knobs that say where the base and the images are."""
PROLONGED = "train.steps"
PRECISION = "hardware.quantize"
"""What the base is kept in is part of what is trained on."""


FRESH, AUTO = "fresh", "auto"
HELD_OUT_BY_LOT = "data.held_out_images"


def refuse_resume(root: Path, config: RunConfig) -> None:
    """Raises RunError where train.resume asks for what cannot be, or would replace checkpoints that are there."""
    resume, kept = config.train.resume, complete_checkpoints(root)
    if resume == FRESH and kept:
        raise RunError(
            f"train.resume is fresh, and {root} holds checkpoints up to step {kept[-1].step}",
            fix="set run.dir to a new folder, or move this one away; train.resume=auto goes on",
        )
    if resume in (AUTO, FRESH) or kept:
        return
    begun = _named(resume).run_dir
    if begun / RECIPE_FILE == root / RECIPE_FILE or not (begun / RECIPE_FILE).is_file():
        return
    changed = _changed(read_recipe(begun / RECIPE_FILE), config, knobs_in(begun / RECIPE_FILE))
    if changed:
        raise RunError(
            f"train.resume names a checkpoint of {begun}, which was begun with other settings: {'; '.join(changed)}",
            fix=f"put them back, or begin with its adapter alone: adapter.start={_named(resume).adapter_file}",
        )


def where_to_go_on(root: Path, resume: str) -> Checkpoint | None:
    """The last checkpoint of the run folder; where it has none, the one that train.resume names; None at the start."""
    return latest_checkpoint(root) or (None if resume in (AUTO, FRESH) else _named(resume))


def begun_elsewhere(root: Path, resume: str) -> RunFolder | None:
    """The run that this one goes on with in a folder of its own."""
    last = where_to_go_on(root, resume)
    return RunFolder(last.run_dir) if last and last.run_dir.resolve() != root.resolve() else None


def begun_without_lots(root: Path, resume: str) -> bool:
    """Whether an earlier version began this run, or the one that it goes on with, and trained on all of its images."""
    folders = (RunFolder(root), begun_elsewhere(root, resume))
    return any(
        folder.manifest.is_file() and folder.recipe.is_file() and HELD_OUT_BY_LOT not in knobs_in(folder.recipe)
        for folder in folders
        if folder
    )


def take_over(checkpoint: Checkpoint, folder: RunFolder) -> None:
    """What was measured on the way to another run's checkpoint is this one's past, too."""
    before = RunFolder(checkpoint.run_dir)
    for theirs, ours in ((before.metrics, folder.metrics), (before.held_out_loss, folder.held_out_loss)):
        if theirs.is_file() and not ours.exists():
            write_bytes(theirs.read_bytes(), ours)


def _named(resume: str) -> Checkpoint:
    place = Path(resume).expanduser()
    found = latest_checkpoint(place) if (place / FOLDER).is_dir() else checkpoint_in(place)
    if not found:
        raise RunError(f"{place} holds no checkpoint", fix="name a folder such as runs/mug/checkpoints/step-000250")
    return found


def refuse_another_recipe(root: Path, before: RunConfig, now: RunConfig, known: Container[str]) -> None:
    """Raises RunError where a knob that decided the steps so far has changed.

    `known`: the knobs that there were when the run was begun. An earlier version's run goes on with what it did not
    know yet as the recipe has it now.
    """
    if changed := _changed(before, now, known):
        prolonged = any(line.startswith(PROLONGED) for line in changed)
        constant = "; only with train.lr_scheduler=constant can a run be prolonged" if prolonged else ""
        raise RunError(
            f"{root} was begun with other settings: {'; '.join(changed)}",
            fix=f"put them back to go on, or set run.dir to a new folder{constant}",
        )


def decides_the_steps(key: str) -> bool:
    """Whether steps before and after a change of this knob belong to different runs."""
    fixed = key.split(".")[0] in FIXED or key == PRECISION
    return fixed and key not in {*JUDGES, *PATHS}


def _changed(before: RunConfig, now: RunConfig, known: Container[str]) -> list[str]:
    return [line for key, line in _changes(before, now) if key in known]


def _changes(before: RunConfig, now: RunConfig) -> Iterator[tuple[str, str]]:
    old, new = flat_settings(before), flat_settings(now)
    prolonged = before.train.lr_scheduler == now.train.lr_scheduler == LRScheduler.constant
    for key, value in new.items():
        if key == PROLONGED and prolonged:
            continue  # the rate of a step does not depend on how many will follow
        if decides_the_steps(key) and value != old.get(key):
            yield key, f"{key} was {old.get(key)!r} and is now {value!r}"

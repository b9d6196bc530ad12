"""What evaluation, export and upload will need, asked for before the first step: they come after hours of training."""

import os

from flux_lora.adapter.write_proven import export_paths
from flux_lora.data.held_out import FEWEST
from flux_lora.errors import DataError, RunError
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.evaluation import load_judges
from flux_lora.runs.exporting import refuse_taken_places
from flux_lora.runs.run import Run
from flux_lora.share.publish import refuse_unpublishable


def refuse_unjudged(run: Run, dataset: RunDataset) -> None:
    """Raises DataError where there are too few held-out images to judge by, and ModelError where there is no model to
    judge with."""
    if len(dataset.held_out) < FEWEST:
        raise DataError(
            f"held-out images: {len(dataset.held_out)}, and judging takes {FEWEST} at least",
            fix="set data.held_out_images=3, or move 3 or 4 images into a folder held_out inside data.folder; to go "
            "without a judgement: flux-lora train, then flux-lora export",
        )
    with run.feedback.status("opening the models that judge"):
        _, left_out = load_judges(run.config.model, run.device.device)
    for line in left_out:
        run.feedback.say(line)


def refuse_unexported(run: Run) -> None:
    """Raises RunError where the files could not be written, or go to the hub."""
    config = run.config
    wanted = export_paths(config.export, run.folder.export, config.data.trigger)
    refuse_taken_places(config, run.folder, tuple(wanted.values()))
    for place in wanted.values():
        above = next(folder for folder in place.absolute().parents if folder.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            key = "export.file" if config.export.file else "export.dir" if config.export.dir else "run.dir"
            problem = f"{place} cannot be written: {above} is not a folder that may be written to"
            raise RunError(problem, fix=f"set {key} to another place")
    if config.export.push_to_hub:
        refuse_unpublishable(config.export.push_to_hub, dry_run=config.export.dry_run)

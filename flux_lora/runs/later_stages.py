"""What evaluation, export and upload will need, asked for before the first step: they come after hours of training."""

import os
from pathlib import Path

from flux_lora.adapter.attach import check_fit
from flux_lora.adapter.files import AdapterContents, only_transformer
from flux_lora.adapter.write_proven import export_paths
from flux_lora.data.checks.duplicates import HELD_OUT_TWIN
from flux_lora.data.held_out import FEWEST, ONE_OF
from flux_lora.errors import ConfigError, DataError, RunError
from flux_lora.runs.dataset import RunDataset, reasons_off, refuse_unpaired
from flux_lora.runs.evaluation import described, load_judges
from flux_lora.runs.exporting import refuse_taken_places, title_of_run
from flux_lora.runs.manifest import images_trained_on, pixels_trained_on
from flux_lora.runs.run import Run
from flux_lora.share.publish import refuse_unpublishable
from flux_lora.train.checkpoints import complete_checkpoints


def refuse_unjudged(run: Run, dataset: RunDataset) -> None:
    """Raises DataError where there are too few held-out images to judge by, or some that were trained on, ConfigError
    where a prompt has no place for evaluate.description, and ModelError where there is no model to judge with."""
    wanted, photos = run.config.data, len(dataset.samples) + len(dataset.held_out)
    if len(dataset.held_out) < FEWEST:
        knob = "set data.held_out_images=3, or " if not wanted.held_out_images and photos >= FEWEST * ONE_OF else ""
        raise DataError(
            f"held-out images: {len(dataset.held_out)}, and judging takes {FEWEST} at least",
            fix=f"{knob}put {FEWEST} or more that are not trained on into a folder held_out inside data.folder; to go "
            "without a judgement: flux-lora train, then flux-lora export",
        )
    trained, pixels = images_trained_on(run.folder), pixels_trained_on(run.folder)
    seen = [one for one in dataset.scanned_held_out if one.stats and one.stats.digest in pixels]
    seen = seen or [one for one in dataset.scanned_held_out if str(one.sample.image) in trained]
    if seen and HELD_OUT_TWIN.id not in reasons_off(run.config.check):
        raise DataError(
            f"{seen[0].sample.image.name} is held out now, and {run.folder.root} was trained on it",
            fix="put data.held_out_images and the photos back to what they were, or judge by photos that it has not "
            "seen, in a folder held_out inside data.folder",
        )
    refuse_unpaired(run, dataset)
    described(run.config, dataset)
    if run.config.data.edits:
        return
    with run.feedback.status("opening the models that judge"):
        _, left_out = load_judges(run.config.model, run.device.device)
    for line in left_out:
        run.feedback.say(line)


def refuse_unfitting(run: Run, contents: AdapterContents) -> None:
    """Raises ConfigError where evaluate.adapter, of these contents, would take the place of the run's own checkpoints,
    and AdapterFileError where it is of another base, or changes text encoders."""
    file = run.config.evaluate.adapter
    if complete_checkpoints(run.folder.root):
        raise ConfigError(
            f"{run.folder.root} holds checkpoints of its own, and {file} would be judged in their place",
            fix=f"write: flux-lora evaluate recipe=... adapter={file}, which has a folder of its own",
        )
    check_fit(run.family.weightless_base(run.source).transformer, only_transformer(contents, Path(file)))


def refuse_unexported(run: Run) -> None:
    """Raises RunError where the files could not be written, or go to the hub."""
    config = run.config
    wanted = export_paths(config.export, run.folder.export, title_of_run(config))
    refuse_taken_places(config, run.folder, tuple(wanted.values()))
    for place in wanted.values():
        above = next(folder for folder in place.absolute().parents if folder.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            key = "export.file" if config.export.file else "export.dir" if config.export.dir else "run.dir"
            problem = f"{place} cannot be written: {above} is not a folder that may be written to"
            raise RunError(problem, fix=f"set {key} to another place")
    if config.export.push_to_hub:
        export = config.export
        refuse_unpublishable(export.push_to_hub, private=not export.public, dry_run=export.dry_run)

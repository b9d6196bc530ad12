"""Encode a run's images, captions and prompts into the cache, so that training needs no encoder."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from flux_lora.data.cache import EncodedDataset, EncodeOptions, EncodeResult, StageProfile, encode_all, encode_share
from flux_lora.data.captioning.captioner import without_trigger
from flux_lora.data.progress import no_progress
from flux_lora.distributed.processes import ProcessGroup
from flux_lora.models.family import PromptEmbeds
from flux_lora.runs.dataset import (
    RunDataset,
    outline_dataset,
    planned_held_out,
    sizes_from_json,
    sizes_to_json,
)
from flux_lora.runs.dataset_report import write_run_dataset_report
from flux_lora.runs.evaluation import described
from flux_lora.runs.later_stages import refuse_unexported, refuse_unjudged
from flux_lora.runs.manifest import (
    Contents,
    class_images_digest,
    fingerprint_of,
    refuse_other_contents,
    write_manifest,
)
from flux_lora.runs.preflight import preflight
from flux_lora.runs.regularization import ClassImage, class_images_of, class_prompts
from flux_lora.runs.resume import begun_elsewhere
from flux_lora.runs.run import Run
from flux_lora.runs.summary import note

GIB = 2**30


@dataclass(frozen=True)
class PreparedRun:
    """All that training and rendering need of images and captions."""

    dataset: RunDataset
    encoded: EncodedDataset
    """One for each of dataset.planned.prepared, in that order."""
    held_out: EncodedDataset
    """One for each held-out photo."""
    empty: PromptEmbeds
    """Of the empty caption."""
    class_images: tuple[ClassImage, ...]
    fingerprint: str
    """Changes with any pixel, crop or caption."""


def encode_dataset(run: Run, dataset: RunDataset) -> PreparedRun:
    """Encode what the cache lacks, and write down what the run is made of. VAE and text encoders are out of memory
    when this returns."""
    folder = run.folder
    made, prepared = _encoded(run, dataset)
    class_images = class_images_digest(prepared.class_images)
    contents = Contents(prepared.fingerprint, run.transformer_fingerprint, class_images)
    refuse_other_contents(folder, contents)
    if begun := begun_elsewhere(folder.root, run.config.train.resume):
        refuse_other_contents(begun, contents)
    write_manifest(folder, dataset, made, prepared.class_images, contents)
    if run.config.check.page:
        write_run_dataset_report(run, dataset)
    note(folder, {"encoding": [_in_numbers(profile) for profile in made.stages]})
    return prepared


def check_together(run: Run, group: ProcessGroup, *, ships: bool = False) -> RunDataset | None:
    """What is learned from; None where strict=true stops at warnings. Rank 0 checks, begins the run folder, and tells
    the others what they need to know. `ships`: whether it will be judged and exported."""
    dataset, goes_on = None, True
    if group.first:
        dataset = preflight(run)
        if ships or run.config.train.evaluate_every:
            refuse_unjudged(run, dataset)
        if ships:
            refuse_unexported(run)
        goes_on = not (run.config.strict and dataset.has_warnings)
        if goes_on:
            run.begin()
    if group.agree(int(not goes_on)):
        return None
    if group.alone:
        return dataset
    sizes = sizes_from_json(group.broadcast(sizes_to_json(dataset) if dataset else "{}"))
    return dataset or outline_dataset(run, sizes)


def encode_together(run: Run, dataset: RunDataset, group: ProcessGroup) -> PreparedRun:
    """Each process encodes its share; then rank 0 finds everything encoded and writes it down, and the others find it
    too."""
    if group.alone:
        return encode_dataset(run, dataset)
    profiles = _encode_share(run, dataset, group)
    group.agree(0)
    with group.first_alone():
        if not group.first:
            return _encoded(run, dataset)[1]
        prepared = encode_dataset(run, dataset)
        note(run.folder, {"encoding": [_in_numbers(profile) for profile in profiles]})
    return prepared


def preview_prompts(run: Run, dataset: RunDataset) -> tuple[str, ...]:
    """The recipe's preview prompts, or the first two that the adapter is judged by."""
    words = {"{trigger}": run.config.data.trigger, "{class}": run.config.data.class_word}
    chosen = []
    for prompt in run.config.preview.prompts:
        for placeholder, word in words.items():
            prompt = prompt.replace(placeholder, word)
        chosen.append(prompt)
    return tuple(chosen) or dataset.suite.trigger[:2]


def _encoded(run: Run, dataset: RunDataset) -> tuple[EncodeResult, PreparedRun]:
    folder, planned = run.folder, dataset.planned
    options, class_images = _encode_options(run, dataset)
    if dataset.subject_boxes:
        dataset.subject_boxes.write(folder.cache)
    with run.feedback.progress("encoding", keeps=True) as progress:
        both = (*planned.prepared, *planned_held_out(run, dataset))
        made = encode_all(both, run.encoders, folder.cache, wanted=options, progress=progress)
    made, held_out = made.split(len(planned.prepared))
    empty, fingerprint = run.encode_prompts([""])[0], fingerprint_of(planned, made.encoded.keys)
    return made, PreparedRun(dataset, made.encoded, held_out, empty, class_images, fingerprint)


def _encode_share(run: Run, dataset: RunDataset, group: ProcessGroup) -> tuple[StageProfile, ...]:
    options, _ = _encode_options(run, dataset)
    shown = run.feedback.progress("encoding", keeps=True) if group.first else nullcontext(no_progress)
    with shown as progress:
        return encode_share(
            dataset.planned.prepared,
            run.encoders,
            run.folder.cache,
            group.share,
            wanted=options,
            progress=progress,
        )


def _encode_options(run: Run, dataset: RunDataset) -> tuple[EncodeOptions, tuple[ClassImage, ...]]:
    """How images are preprocessed, and every caption that a run will need; untriggered ones for preservation only."""
    config = run.config
    prompts = ("", *dataset.suite.prompts, *preview_prompts(run, dataset), *described(config, dataset))
    options = EncodeOptions(
        alpha=config.data.alpha,
        masks=config.data.masks,
        words=prompts,
        pixels_per_token=run.family.pixels_per_token,
    )
    if not config.train.preservation:
        return options, ()
    plain = partial(without_trigger, trigger=config.data.trigger, class_word=config.data.class_word)
    untriggered = [plain(caption) for one in dataset.planned.prepared for caption in one.sample.captions]
    images = class_images_of(run, class_prompts(untriggered, dataset.suite.kept))
    return replace(options, plain=plain, words=(*prompts, *(image.prompt for image in images))), images


def _in_numbers(profile: StageProfile) -> dict[str, object]:
    return {
        "stage": profile.name,
        "seconds": round(profile.seconds, 2),
        "peak_gib": round(profile.peak_bytes / GIB, 2),
        "gpu_peak_gib": round(profile.gpu_bytes / GIB, 2),
    }

"""Gather what a run left behind into the report."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from PIL import Image

from flux_lora.config.schema import RunConfig
from flux_lora.data.images.decode import open_image
from flux_lora.evaluate.choice import score_of
from flux_lora.evaluate.report import (
    Ablation,
    BesidePhoto,
    Compared,
    ComparedPair,
    Report,
    Trio,
    write_report,
)
from flux_lora.evaluate.scores import Score
from flux_lora.render.spec import RenderSpec
from flux_lora.runs.candidates import BASE, candidate_name, compared_photos, limits_of
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.edit_page import write_edit_page
from flux_lora.runs.encoding import preview_prompts
from flux_lora.runs.evaluation import Evaluation, evaluation_spec, rendered_images, specs_of_images
from flux_lora.runs.exporting import Exported
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.report_parts import (
    curve_of,
    dataset_of,
    exported_file,
    file_checks,
    frames_of,
    held_out_loss_of,
    readers_of,
    stages_of,
)
from flux_lora.runs.run import Run
from flux_lora.runs.sharing import base_of
from flux_lora.share.card import DIFFUSERS, read_by_comfyui
from flux_lora.share.snippets import comfy_hint, diffusers_snippet

MOST_TRIOS = 6
MOST_COMPARED = 3
MOST_PAIRS = 8


def write_run_report(
    run: Run, dataset: RunDataset, evaluation: Evaluation, exported: Exported | None, place: Path | None = None
) -> Path:
    """Write the page; in the run folder, unless another place is given."""
    page = place or run.folder.report
    if run.config.data.edits:
        return write_edit_page(run, dataset, evaluation, exported, page)
    return write_report(_report(run, dataset, evaluation, exported), page)


def _report(run: Run, dataset: RunDataset, evaluation: Evaluation, exported: Exported | None) -> Report:
    config, folder = run.config, run.folder
    spec = evaluation_spec(config, dataset)
    chosen = candidate_name(evaluation.choice.step, evaluation.choice.strength)
    base, lora = rendered_images(folder, BASE, spec), rendered_images(folder, chosen, spec)
    prompt = dataset.suite.trigger[0]
    return Report(
        title=f"{config.data.trigger} {config.data.class_word}",
        trigger=config.data.trigger,
        class_word=config.data.class_word,
        base=config.model.name,
        when=f"{datetime.now():%d %B %Y, %H:%M}",
        scorer=config.model.scorer,
        stages=stages_of(folder),
        dataset=dataset_of(config, dataset, folder),
        trios=_trios(config, dataset, spec, base, lora, specs_of_images(folder, chosen, spec)),
        pairs=_pairs(dataset, spec, base, lora, evaluation),
        scores=evaluation.scores,
        doubts=evaluation.record.doubts,
        altered=evaluation.record.altered,
        twins=evaluation.record.twins,
        taken=evaluation.record.taken,
        without_training=evaluation.record.without_training,
        ablation=_ablation(dataset, spec, lora, score_of(evaluation.choice, evaluation.scores)),
        nearest=_nearest(config, dataset, spec, lora, score_of(evaluation.choice, evaluation.scores)),
        dropped=tuple((each.step, each.likeness, each.images) for each in evaluation.record.dropped),
        limits=limits_of(config),
        choice=evaluation.choice,
        curve=curve_of(folder),
        frames=tuple(frames_of(folder)),
        compared=_compared(folder, dataset, spec, _drawn_by(evaluation)),
        on_distilled=evaluation.record.on_distilled,
        compared_on_distilled=_compared(folder, dataset, spec, _drawn_on_distilled(config, evaluation)),
        held_out_loss=held_out_loss_of(folder),
        frames_prompt=preview_prompts(run, dataset)[0],
        file=exported_file(exported) if exported else None,
        checks=file_checks(exported) if exported else (),
        recipe=folder.recipe.read_text(encoding="utf-8"),
        snippet=diffusers_snippet(base_of(run), str(exported.file), prompt, spec)
        if exported and DIFFUSERS in readers_of(exported)
        else "",
        comfy=comfy_hint(base_of(run), exported.file.name, spec)
        if exported and read_by_comfyui(base_of(run), readers_of(exported))
        else "",
    )


def _trios(
    config: RunConfig,
    dataset: RunDataset,
    spec: RenderSpec,
    base: list[Image.Image],
    lora: list[Image.Image],
    made: list[str],
) -> tuple[Trio, ...]:
    """The first seed of the first trigger prompts, beside held-out photos in turn."""
    photos = [open_image(sample.image, config.data.alpha) for sample in dataset.held_out]
    shots, seeds = spec.shots(), len(spec.seeds)
    places = range(0, min(MOST_TRIOS, len(dataset.suite.trigger)) * seeds, seeds)
    return tuple(
        Trio(shots[place].prompt, photos[number % len(photos)], base[place], lora[place], made[place])
        for number, place in enumerate(places)
    )


def _pairs(
    dataset: RunDataset, spec: RenderSpec, base: list[Image.Image], lora: list[Image.Image], evaluation: Evaluation
) -> tuple[ComparedPair, ...]:
    """The first seed of class and unrelated prompts, as many of each."""
    chosen = score_of(evaluation.choice, evaluation.scores)
    suite, seeds, shots = dataset.suite, len(spec.seeds), spec.shots()
    first = len(suite.trigger)
    kinds = ["class"] * len(suite.class_) + ["unrelated"] * len(suite.unrelated)
    picked = [*range(len(suite.class_))][: MOST_PAIRS // 2]
    picked += [len(suite.class_) + number for number in range(len(suite.unrelated))][: MOST_PAIRS // 2]
    pairs = []
    for number in picked:
        place = (first + number) * seeds
        change = chosen["leakage"].each[number][0]
        pairs.append(ComparedPair(shots[place].prompt, kinds[number], base[place], lora[place], change))
    return tuple(pairs)


def _ablation(dataset: RunDataset, spec: RenderSpec, lora: list[Image.Image], chosen: Score) -> Ablation:
    """The first prompt of each kind, with the first seed."""
    suite, shots, seeds = dataset.suite, spec.shots(), len(spec.seeds)
    starts = (0, len(suite.trigger), len(suite.trigger) + len(suite.class_))
    shares = (chosen["likeness"].value, chosen["bleeding"].value, chosen["elsewhere"].value)
    firsts = [start * seeds for start in starts]
    return Ablation(tuple((shots[n].prompt, lora[n], share) for n, share in zip(firsts, shares, strict=True)))


def _nearest(
    config: RunConfig, dataset: RunDataset, spec: RenderSpec, lora: list[Image.Image], chosen: Score
) -> tuple[BesidePhoto, ...]:
    photos, shots = compared_photos(dataset), spec.shots()
    return tuple(
        BesidePhoto(
            shots[each.image].prompt,
            lora[each.image],
            open_image(photos[each.photo].image, config.data.alpha),
            photos[each.photo].image.name,
            each.copied,
        )
        for each in chosen.nearest
    )


def _drawn_by(evaluation: Evaluation) -> Mapping[str, str]:
    """The folder of images of the base and of every candidate that was judged in full, by what the page calls them."""
    return {"Base": BASE, **{each.candidate: candidate_name(each.step, each.strength) for each in evaluation.scores}}


def _drawn_on_distilled(config: RunConfig, evaluation: Evaluation) -> Mapping[str, str]:
    """The same of the distilled model."""
    labels = ("Distilled", *(f"at strength {strength:g}" for strength in config.evaluate.strengths))
    return dict(zip(labels, evaluation.record.distilled_images, strict=False))


def _compared(
    folder: RunFolder, dataset: RunDataset, spec: RenderSpec, drawn_by: Mapping[str, str]
) -> tuple[Compared, ...]:
    """The first trigger prompts with the first seed, by each of these; none where there is nobody."""
    drawn = {label: rendered_images(folder, name, spec) for label, name in drawn_by.items()}
    prompts = dataset.suite.trigger[:MOST_COMPARED] if drawn else ()
    return tuple(
        Compared(prompt, tuple((label, images[number * len(spec.seeds)]) for label, images in drawn.items()))
        for number, prompt in enumerate(prompts)
    )

"""Gather what a run left behind into the report."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from PIL import Image

from flux_lora.adapter.quantized_merge import forecast_in_words
from flux_lora.config.schema import RunConfig
from flux_lora.data.checks.subject_words import subjects
from flux_lora.data.images.decode import open_image
from flux_lora.evaluate.choice import score_of
from flux_lora.evaluate.held_out_loss import read_tables, whole_in_words
from flux_lora.evaluate.report import (
    Ablation,
    BesidePhoto,
    Compared,
    ComparedPair,
    Curve,
    Dataset,
    ExportedFile,
    FileCheck,
    Frame,
    Report,
    StageSeconds,
    Thumbnail,
    Trio,
    write_report,
)
from flux_lora.evaluate.scores import Score
from flux_lora.render.spec import RenderSpec
from flux_lora.runs.candidates import BASE, candidate_name, compared_photos, limits_of
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.encoding import preview_prompts
from flux_lora.runs.evaluation import Evaluation, evaluation_spec, rendered_images, specs_of_images
from flux_lora.runs.exporting import Exported
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.photo_losses import read_photo_losses, standing_out
from flux_lora.runs.run import Run
from flux_lora.runs.sharing import base_of
from flux_lora.runs.summary import read_summary
from flux_lora.share.card import DIFFUSERS, read_by_comfyui
from flux_lora.share.snippets import comfy_hint, diffusers_snippet
from flux_lora.train.checkpoints import complete_checkpoints
from flux_lora.train.reporters import read_metrics

MOST_THUMBNAILS = 24
MOST_TRIOS = 6
MOST_COMPARED = 3
MOST_PAIRS = 8


def write_run_report(
    run: Run, dataset: RunDataset, evaluation: Evaluation, exported: Exported | None, place: Path | None = None
) -> Path:
    """Write the page; in the run folder, unless another place is given."""
    config, folder = run.config, run.folder
    spec = evaluation_spec(config, dataset)
    chosen = candidate_name(evaluation.choice.step, evaluation.choice.strength)
    base, lora = rendered_images(folder, BASE, spec), rendered_images(folder, chosen, spec)
    prompt = dataset.suite.trigger[0]
    report = Report(
        title=f"{config.data.trigger} {config.data.class_word}",
        trigger=config.data.trigger,
        class_word=config.data.class_word,
        base=config.model.name,
        when=f"{datetime.now():%d %B %Y, %H:%M}",
        scorer=config.model.scorer,
        stages=_stages(folder),
        dataset=_dataset(config, dataset, folder),
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
        curve=_curve(folder),
        frames=tuple(_frames(folder)),
        compared=_compared(folder, dataset, spec, _drawn_by(evaluation)),
        on_distilled=evaluation.record.on_distilled,
        compared_on_distilled=_compared(folder, dataset, spec, _drawn_on_distilled(config, evaluation)),
        held_out_loss=_held_out_loss(folder),
        frames_prompt=preview_prompts(run, dataset)[0],
        file=_exported(exported) if exported else None,
        checks=_checks(exported) if exported else (),
        recipe=folder.recipe.read_text(encoding="utf-8"),
        snippet=diffusers_snippet(base_of(run), str(exported.file), prompt, spec)
        if exported and DIFFUSERS in _readers(exported)
        else "",
        comfy=comfy_hint(base_of(run), exported.file.name, spec)
        if exported and read_by_comfyui(base_of(run), _readers(exported))
        else "",
    )
    return write_report(report, place or folder.report)


def _stages(folder: RunFolder) -> tuple[StageSeconds, ...]:
    seconds = read_summary(folder)["seconds"]
    assert isinstance(seconds, dict), "the summary is ours"
    return tuple(StageSeconds(name, float(spent)) for name, spent in seconds.items())


def _dataset(config: RunConfig, dataset: RunDataset, folder: RunFolder) -> Dataset:
    """The photos, those that were learned worst first."""
    losses = read_photo_losses(folder.photo_losses)
    known = {each.image: each for each in sorted(losses, key=lambda each: each.now)}  # the worst of its buckets
    times = {each.image: factor for each, factor in standing_out(losses)}
    images = {str(sample.image): sample for sample in subjects(dataset.samples)}
    shown = sorted(images, key=lambda image: -known[image].now if image in known else 0.0)[:MOST_THUMBNAILS]
    thumbnails = (
        Thumbnail(
            image=open_image(images[image].image, config.data.alpha),
            caption=images[image].caption,
            name=images[image].image.name,
            losses=(known[image].base, known[image].now) if image in known else None,
            times=times.get(image, 0.0),
        )
        for image in shown
    )
    return Dataset(
        count=len(images),
        learned_from=not config.evaluate.adapter,
        thumbnails=tuple(thumbnails),
        findings=tuple(f"{finding.file.name} {finding.problem}; {finding.fix}" for finding in dataset.findings),
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


def _held_out_loss(folder: RunFolder) -> str:
    tables = list(read_tables(folder.held_out_loss))
    return whole_in_words(tables[-1], tables[0]) if len(tables) > 1 else ""


def _curve(folder: RunFolder) -> Curve:
    lines = read_metrics(folder.metrics)
    return Curve(
        losses=tuple((int(line["step"]), line["loss"]) for line in lines if line["loss"] is not None),
        checkpoints=tuple(each.step for each in complete_checkpoints(folder.root)),
    )


def _frames(folder: RunFolder) -> Iterator[Frame]:
    for place in sorted(folder.samples.glob("step-*")):
        images = sorted(place.glob("*.png"))
        if images:
            yield Frame(int(place.name.removeprefix("step-")), Image.open(images[0]).convert("RGB"))


def _readers(exported: Exported) -> frozenset[str]:
    """Programs that the first file was proven for."""
    return frozenset(each.reader for each in exported.proof.readers)


def _exported(exported: Exported) -> ExportedFile:
    proof = exported.proof
    others = [Path(each.file).name for each in exported.proofs[1:]]
    return ExportedFile(
        name=" + ".join([exported.file.name, *others]),
        first=exported.file.name,
        size=proof.bytes,
        sha256=proof.sha256,
        dialect=f"{', '.join(each.dialect for each in exported.proofs)} names, the chosen strength folded in",
        loads_in=tuple(dict.fromkeys(each.reader for one in exported.proofs for each in one.readers)),
        merged=forecast_in_words(exported.forecasts) if exported.forecasts else "",
    )


def _checks(exported: Exported) -> tuple[FileCheck, ...]:
    """One line per file and program; a file that a program would not take whole has not come this far."""
    checks: list[FileCheck] = []
    for proof in exported.proofs:
        named = f"{proof.dialect} names: " if len(exported.proofs) > 1 else ""
        checks += [
            FileCheck(
                f"{named}{each.reader}, {each.how}",
                f"{each.modules} layers, {each.unused} unused keys, {each.missing} missing, "
                f"{each.worst_error:.2%} off what was trained at most",
                each.missing == 0,
            )
            for each in proof.readers
        ]
        checks += [FileCheck(f"{named}known of these names", gap, True) for gap in proof.gaps]
        if proof.output_error is not None:
            answer = f"{named}the base's answer, with the file against with the adapter read out of it"
            checks.append(FileCheck(answer, f"{proof.output_error:.1e} apart" if proof.output_error else "equal", True))
    return tuple(checks)

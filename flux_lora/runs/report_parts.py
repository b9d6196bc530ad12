"""Parts of a run's page that a subject and an edit share: photos, stages, curve, previews, the file and its proof."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from flux_lora.adapter.quantized_merge import forecast_in_words
from flux_lora.config.schema import RunConfig
from flux_lora.data.checks.subject_words import subjects
from flux_lora.data.images.decode import open_image
from flux_lora.evaluate.held_out_loss import read_tables, whole_in_words
from flux_lora.evaluate.report import Curve, Dataset, ExportedFile, FileCheck, Frame, StageSeconds, Thumbnail
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.exporting import Exported
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.photo_losses import read_photo_losses, standing_out
from flux_lora.runs.summary import read_summary
from flux_lora.train.checkpoints import complete_checkpoints
from flux_lora.train.reporters import read_metrics

MOST_THUMBNAILS = 24


def stages_of(folder: RunFolder) -> tuple[StageSeconds, ...]:
    """Of the run so far, in order."""
    seconds = read_summary(folder)["seconds"]
    assert isinstance(seconds, dict), "the summary is ours"
    return tuple(StageSeconds(name, float(spent)) for name, spent in seconds.items())


def dataset_of(config: RunConfig, dataset: RunDataset, folder: RunFolder) -> Dataset:
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


def held_out_loss_of(folder: RunFolder) -> str:
    """What it did, in words; empty where it was not measured twice."""
    tables = list(read_tables(folder.held_out_loss))
    return whole_in_words(tables[-1], tables[0]) if len(tables) > 1 else ""


def curve_of(folder: RunFolder) -> Curve:
    """From metrics.jsonl."""
    lines = read_metrics(folder.metrics)
    return Curve(
        losses=tuple((int(line["step"]), line["loss"]) for line in lines if line["loss"] is not None),
        checkpoints=tuple(each.step for each in complete_checkpoints(folder.root)),
    )


def frames_of(folder: RunFolder) -> Iterator[Frame]:
    """The first preview of each step."""
    for place in sorted(folder.samples.glob("step-*")):
        images = sorted(place.glob("*.png"))
        if images:
            yield Frame(int(place.name.removeprefix("step-")), Image.open(images[0]).convert("RGB"))


def readers_of(exported: Exported) -> frozenset[str]:
    """Programs that the first file was proven for."""
    return frozenset(each.reader for each in exported.proof.readers)


def exported_file(exported: Exported) -> ExportedFile:
    """As the page tells of it."""
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


def file_checks(exported: Exported) -> tuple[FileCheck, ...]:
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

"""What lies beside an exported file: an image it drew, workflow, snippet, card; and the ways out, .zip and Hub."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from flux_lora import __version__
from flux_lora.adapter.attach import load_into
from flux_lora.adapter.dialects.peft import CONFIG, WEIGHTS
from flux_lora.adapter.files import read_adapter, weights_digest
from flux_lora.adapter.proof.prove import Proof
from flux_lora.adapter.quantized_merge import Forecast, forecast_in_words
from flux_lora.adapter.write_proven import disk_explained, title_of
from flux_lora.config.schema import ExportConfig, RunConfig
from flux_lora.evaluate.scores import BY_NAME
from flux_lora.models.family import Pipeline
from flux_lora.render.kept import image_file, save_image
from flux_lora.render.pipeline import render
from flux_lora.render.spec import RenderSpec
from flux_lora.runs.candidates import FIRST_SEED
from flux_lora.runs.edits import before_file, references_of, shown_before
from flux_lora.runs.evaluation import chosen_images_folder, chosen_scores, evaluation_record
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.manifest import captions_trained_on, images_trained_on
from flux_lora.runs.run import Run, spec_of
from flux_lora.runs.summary import read_summary
from flux_lora.share.base_models import BaseModel, base_model, with_part_files
from flux_lora.share.card import Measure, Scores, SharedImage, SharedModel, Training, Variant, example_of
from flux_lora.share.publish import bundle, push
from flux_lora.share.write import write_companions

EXAMPLE = "example.png"
NOT_JUDGED = "an image"
"""In the place of a digest, where there is no image that the example is made from."""
MOST_IMAGES = 4


def write_shared_files(
    run: Run, proofs: Sequence[Proof], forecasts: Sequence[Forecast], pipeline: Pipeline
) -> tuple[Path, ...]:
    """Fill the folder of the exported files; everything in it that is for others."""
    config, folder, place = run.config, run.folder, Path(proofs[0].file).parent
    files = [_weights(each) for each in proofs]
    record = evaluation_record(folder)
    spec = record.spec if record else _usual_spec(run)
    before = shown_before(run) if spec.made_from else None
    images = _images(run, spec, Path(proofs[0].file), pipeline) if record else ()
    product = SharedModel(
        title=title_of(Path(proofs[0].file)),
        file=files[0].name,
        readers=tuple(each.reader for each in proofs[0].readers),
        variants=tuple(
            Variant(file.relative_to(place).as_posix(), loaders_of(each))
            for file, each in zip(files[1:], proofs[1:], strict=True)
        ),
        trigger=config.data.trigger,
        class_word=config.data.class_word,
        base=_shared_base(run),
        spec=spec,
        training=_training(config, folder),
        scores=_scores(config, folder),
        images=images,
        before=before,
        remarks=(forecast_in_words(forecasts),) if forecasts else (),
        author=config.export.author,
        repo=config.export.push_to_hub,
        version=__version__,
    )
    configs = [file.with_name(CONFIG) for file in files if file.parent != place]
    return tuple(sorted([*write_companions(place, product), *configs]))


def _usual_spec(run: Run) -> RenderSpec:
    """Of what was not judged: the subject by its name, or the first edit that was trained."""
    config = run.config
    if config.data.edits:
        prompt = next(iter(captions_trained_on(run.folder)), "")
        return replace(spec_of(config, (prompt,), (FIRST_SEED,)), made_from=NOT_JUDGED)
    return spec_of(config, (f"a {config.data.trigger} {config.data.class_word}",), (FIRST_SEED,))


def bundle_place(first: Path) -> Path:
    """The .zip lies beside the first file, and has its name."""
    return first.with_name(f"{title_of(first)}.zip")


def publish(wanted: ExportConfig, first: Path, files: Sequence[Path]) -> Iterator[str]:
    """The .zip and the upload, where they are asked for; yields a line on each."""
    place = first.parent
    if wanted.bundle:
        with disk_explained(bundle_place(first)):
            yield f"bundle: {bundle(place, files, bundle_place(first))}"
    if wanted.push_to_hub:
        sent = push(place, files, wanted.push_to_hub, private=not wanted.public, dry_run=wanted.dry_run)
        yield f"{'would go to' if wanted.dry_run else 'uploaded to'} {sent.url}: {', '.join(sent.files)}"


def loaders_of(proof: Proof) -> str:
    """The programs that a file was proven for, as a person says it."""
    return ", ".join(each.reader for each in proof.readers)


def base_of(run: Run) -> BaseModel:
    """A run's base, as this machine opens it and as others know it."""
    model = run.config.model
    base = base_model(model.name, model.path, model.licence, run.family, model.transformer)
    return with_part_files(base, model.vae, (model.text_encoder, model.text_encoder_2))


def _shared_base(run: Run) -> BaseModel:
    """The base as others know it where the folder leaves this machine, else as this machine can open it."""
    base = base_of(run)
    return replace(base, place=base.known_to_others) if run.config.export.bundle else base


def _weights(proof: Proof) -> Path:
    """The file with the tensors; peft's lies in a folder of its own."""
    place = Path(proof.file)
    return place / WEIGHTS if place.is_dir() else place


def _images(run: Run, spec: RenderSpec, file: Path, pipeline: Pipeline) -> tuple[SharedImage, ...]:
    """The example as the exported file draws it, which is what the snippet draws; then some that it was judged by."""
    example = example_of(spec)
    load_into(pipeline.transformer, read_adapter(file))
    embeds = run.encode_prompts(example.prompts)
    drawn = run.folder.evaluation / EXAMPLE
    (made,) = example.images(run.weights(weights_digest(file)))
    references = references_of(run, [before_file(run.folder)]) if spec.made_from else ()
    save_image(render(pipeline, embeds, example, references=references)[0], drawn, made)
    return (SharedImage(example.prompts[0], drawn), *_judged(run.folder, spec))


def _judged(folder: RunFolder, spec: RenderSpec) -> tuple[SharedImage, ...]:
    place = chosen_images_folder(folder)
    if place is None or spec.made_from:
        return ()
    others = range(1, min(MOST_IMAGES, len(spec.prompts)))
    files = [(spec.prompts[number], image_file(place, spec, number * len(spec.seeds))) for number in others]
    return tuple(SharedImage(prompt, file) for prompt, file in files if file.is_file())


def _training(config: RunConfig, folder: RunFolder) -> Training:
    chosen = read_summary(folder)["chosen"]
    return Training(
        photos=len(images_trained_on(folder)),
        steps=int(chosen["step"]) if isinstance(chosen, dict) else config.train.steps,
        batch_size=config.train.batch_size * config.train.gradient_accumulation_steps,
        learning_rate=config.train.learning_rate,
        resolutions=(config.data.resolution, *config.data.more_resolutions),
        rank=config.adapter.rank,
        alpha=config.adapter.alpha,
        targets=config.adapter.targets,
    )


def _scores(config: RunConfig, folder: RunFolder) -> Scores | None:
    record, chosen = evaluation_record(folder), chosen_scores(folder)
    if not record or not chosen:
        return None
    return Scores(
        measures=tuple(
            Measure(metric.title, zero=metric.zero, full=metric.full, **chosen[metric.name])
            for metric in BY_NAME.values()
            if metric.name in chosen
        ),
        scorer=config.model.scorer,
        prompts=len(record.spec.prompts),
        seeds=len(record.spec.seeds),
        held_out=record.held_out,
        doubts=record.doubts,
    )

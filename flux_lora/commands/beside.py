"""What lies beside an exported file: a picture it drew, workflow, snippet, card; and the ways out, .zip and Hub."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from flux_lora import __version__
from flux_lora.adapter.attach import load_into
from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.layouts.peft import CONFIG, WEIGHTS
from flux_lora.adapter.proof.prove import Proof
from flux_lora.adapter.quantised.forecast import Forecast, forecast_in_words
from flux_lora.commands.evaluate import FIRST_SEED, chosen_images_folder, chosen_scores, evaluation_record
from flux_lora.commands.machine import DeviceAndDtype
from flux_lora.commands.pictures import Pipeline
from flux_lora.commands.prepare import encoded_prompts
from flux_lora.commands.run_folder import RunFolder
from flux_lora.commands.summary import read_summary
from flux_lora.commands.writing import disk_explained, title_of
from flux_lora.config.schema import ExportConfig, RunConfig
from flux_lora.models.family import stack_prompt_embeds
from flux_lora.render.spec import RenderSpec
from flux_lora.share.bases import BaseModel, base_model
from flux_lora.share.bundle import bundle
from flux_lora.share.fill import write_companions
from flux_lora.share.hub import push
from flux_lora.share.product import Measure, Scores, SharedImage, SharedModel, Training, Variant, example_of

EXAMPLE = "example.png"
MOST_PICTURES = 4


def write_shared_files(
    config: RunConfig,
    folder: RunFolder,
    proofs: Sequence[Proof],
    forecasts: Sequence[Forecast],
    painter: Pipeline,
    machine: DeviceAndDtype,
) -> tuple[Path, ...]:
    """Fill the folder of the exported files; everything in it that is for others."""
    place = Path(proofs[0].file).parent
    files = [_weights(each) for each in proofs]
    record = evaluation_record(folder)
    spec = record.spec if record else _spec_without_evaluation(config)
    pictures = _pictures(config, folder, spec, Path(proofs[0].file), painter, machine) if record else ()
    product = SharedModel(
        title=title_of(Path(proofs[0].file)),
        file=files[0].name,
        variants=tuple(
            Variant(file.relative_to(place).as_posix(), loaders_of(each))
            for file, each in zip(files[1:], proofs[1:], strict=True)
        ),
        trigger=config.data.trigger,
        class_word=config.data.class_word,
        base=_base(config),
        spec=spec,
        training=_training(config, folder),
        scores=_scores(config, folder),
        pictures=pictures,
        remarks=(forecast_in_words(forecasts),) if forecasts else (),
        author=config.export.author,
        repo=config.export.push_to_hub,
        version=__version__,
    )
    configs = [file.with_name(CONFIG) for file in files if file.parent != place]
    return tuple(sorted([*write_companions(place, product), *configs]))


def bundle_place(first: Path) -> Path:
    """The .zip lies beside the first file, and has its name."""
    return first.with_name(f"{title_of(first)}.zip")


def publish(wanted: ExportConfig, first: Path, files: Sequence[Path]) -> None:
    """The .zip and the upload, where they are asked for."""
    terminal, place = Console(soft_wrap=True, highlight=False, markup=False), first.parent
    if wanted.bundle:
        with disk_explained(bundle_place(first)):
            terminal.print(f"bundle: {bundle(place, files, bundle_place(first))}")
    if wanted.push_to_hub:
        sent = push(place, files, wanted.push_to_hub, private=not wanted.public, dry_run=wanted.dry_run)
        terminal.print(f"{'would go to' if wanted.dry_run else 'uploaded to'} {sent.url}: {', '.join(sent.files)}")


def loaders_of(proof: Proof) -> str:
    """The programs that a file was proven for, as a person says it."""
    return ", ".join(each.reader for each in proof.readers)


def _base(config: RunConfig) -> BaseModel:
    """The base as others know it where the folder leaves this machine, else as this machine can open it."""
    base = base_model(config.model.name, config.model.path, config.model.licence)
    return replace(base, place=base.known_to_others) if config.export.bundle else base


def _weights(proof: Proof) -> Path:
    """The file with the tensors; peft's lies in a folder of its own."""
    place = Path(proof.file)
    return place / WEIGHTS if place.is_dir() else place


def _spec_without_evaluation(config: RunConfig) -> RenderSpec:
    return RenderSpec(
        prompts=(f"a {config.data.trigger} {config.data.class_word}",),
        seeds=(FIRST_SEED,),
        width=config.data.resolution,
        height=config.data.resolution,
        text_tokens=config.model.text_tokens,
        guidance=config.model.render_guidance,
    )


def _pictures(
    config: RunConfig, folder: RunFolder, spec: RenderSpec, file: Path, painter: Pipeline, machine: DeviceAndDtype
) -> tuple[SharedImage, ...]:
    """The example as the exported file draws it, which is what the snippet draws; then some that it was judged by."""
    example = example_of(spec)
    load_into(painter.transformer, read_adapter(file))
    text = stack_prompt_embeds(encoded_prompts(config, folder, example.prompts, machine))
    drawn = folder.evaluation / EXAMPLE
    painter.render(text, example)[0].save(drawn)
    return (SharedImage(example.prompts[0], drawn), *_judged(folder, spec))


def _judged(folder: RunFolder, spec: RenderSpec) -> tuple[SharedImage, ...]:
    place = chosen_images_folder(folder)
    if place is None:
        return ()
    others = range(1, min(MOST_PICTURES, len(spec.prompts)))
    files = [(spec.prompts[number], place / f"{number * len(spec.seeds):03d}.png") for number in others]
    return tuple(SharedImage(prompt, file) for prompt, file in files if file.is_file())


def _training(config: RunConfig, folder: RunFolder) -> Training:
    chosen = read_summary(folder)["chosen"]
    return Training(
        photos=len(folder.manifest.read_text(encoding="utf-8").splitlines()) - 1 if folder.manifest.is_file() else 0,
        steps=int(chosen["step"]) if isinstance(chosen, dict) else config.train.steps,
        batch_size=config.train.batch_size,
        learning_rate=config.train.learning_rate,
        resolution=config.data.resolution,
        rank=config.adapter.rank,
        alpha=config.adapter.alpha,
        targets=config.adapter.targets,
    )


def _scores(config: RunConfig, folder: RunFolder) -> Scores | None:
    record, chosen = evaluation_record(folder), chosen_scores(folder)
    if not record or not chosen:
        return None
    return Scores(
        likeness=Measure(**chosen["likeness"]),
        adherence=Measure(**chosen["adherence"]),
        leakage=Measure(**chosen["leakage"]),
        scorer=config.model.scorer,
        prompts=len(record.spec.prompts),
        seeds=len(record.spec.seeds),
        held_out=record.held_out,
        doubts=record.doubts,
    )

"""Export a run: write the chosen adapter in each dialect, prove each file, and put beside it what its users need."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from PIL import Image

from flux_lora import __version__
from flux_lora.adapter.base_weights import open_base, weight_reader
from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.layer_types import Adapter, adapter_at_strength
from flux_lora.adapter.metadata import Label, metadata_of, thumbnail
from flux_lora.adapter.proof.diffusers_load import LoadedBase
from flux_lora.adapter.proof.prove import Proof
from flux_lora.adapter.quantized_merge import Forecast, forecast_in_words, forecasts
from flux_lora.adapter.write_proven import DTYPES, check_room, export_paths, proof_in_words, write_proven
from flux_lora.config.schema import RunConfig
from flux_lora.errors import ModelError, RunError
from flux_lora.evaluate.choice import Verdict
from flux_lora.runs.evaluation import chosen_images_folder, chosen_scores
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.manifest import captions_trained_on, fingerprint_in, images_trained_on
from flux_lora.runs.run import Run
from flux_lora.runs.sharing import bundle_place, write_shared_files
from flux_lora.runs.summary import note, read_summary
from flux_lora.share.card import IMAGES
from flux_lora.share.workflow import BEFORE
from flux_lora.share.write import CANVAS, EXAMPLE, PROMPT
from flux_lora.train.checkpoints import Checkpoint, complete_checkpoints

PACKAGES = ("torch", "diffusers", "transformers", "peft")


@dataclass(frozen=True)
class Exported:
    """The files of one adapter, and what was seen when each was read back."""

    proofs: tuple[Proof, ...]
    forecasts: tuple[Forecast, ...]
    """What quantised bases would keep of it."""
    beside: tuple[Path, ...]
    """Everything in the folder that is for others."""

    @property
    def proof(self) -> Proof:
        """That of the first file."""
        return self.proofs[0]

    @property
    def file(self) -> Path:
        """The first file."""
        return Path(self.proof.file)


def export_run(run: Run) -> Exported:
    """Write each dialect with the chosen strength folded in, so that it is right at 1.0, and prove it.

    The chosen checkpoint, or the last one if none was chosen.
    """
    config, folder, device = run.config, run.folder, run.device
    if not is_worth_exporting(run):
        raise RunError(
            f"{folder.root} has nothing to ship: no checkpoint has learned the subject",
            fix=f"see {_page(folder)}, or export the nearest all the same: export.anyway=true",
        )
    checkpoint, strength = _chosen(folder)
    adapter = adapter_at_strength(read_adapter(checkpoint.adapter_file), strength)
    wanted = export_paths(config.export, folder.export, title_of_run(config))
    refuse_taken_places(config, folder, tuple(wanted.values()))
    check_room(adapter, tuple(wanted), DTYPES[config.export.dtype], (run.family,))
    note(folder, {"places": [str(place.resolve()) for place in wanted.values()]})  # ours, should this break off
    label = _label(run, config.export.name or title_of_run(config))
    pipeline = run.load_pipeline()
    base = LoadedBase(family=run.family, transformer=pipeline.transformer, dtype=device.dtype)
    proofs = [
        write_proven(
            adapter,
            place,
            dialect=dialect,
            dtype=DTYPES[config.export.dtype],
            metadata=metadata_of(label, adapter),
            base=base,
        )
        for dialect, place in wanted.items()
    ]
    expected = _forecasts(run, adapter)
    beside = write_shared_files(run, proofs, expected, pipeline)
    note(folder, {"files": [_record(each, checkpoint, strength) for each in proofs]})
    note(folder, {"quantised": {each.rounding: asdict(each.whole) for each in expected}})
    return Exported(tuple(proofs), expected, beside)


def is_worth_exporting(run: Run) -> bool:
    """Whether something was learned, as far as it was judged, or is wanted anyway."""
    chosen = read_summary(run.folder)["chosen"]
    verdict = chosen.get("verdict") if isinstance(chosen, dict) else None
    return verdict != Verdict.nothing or run.config.export.anyway


def _page(folder: RunFolder) -> Path:
    """What people can read of the judgement: run's page, or that of evaluate alone."""
    return folder.report if folder.report.is_file() else folder.evaluation / folder.report.name


def exported_in_words(shipped: Exported) -> Sequence[str]:
    """What was written, and how each file was proven."""
    lines = []
    for proof in shipped.proofs:
        lines.append(f"{proof.file} ({proof.bytes / 1e6:.1f} MB, {proof.dialect} names, sha256 {proof.sha256[:12]})")
        lines += [f"  {line}" for line in proof_in_words(proof)]
    return [*lines, *([forecast_in_words(shipped.forecasts)] if shipped.forecasts else [])]


def _chosen(folder: RunFolder) -> tuple[Checkpoint, float]:
    kept = {checkpoint.step: checkpoint for checkpoint in complete_checkpoints(folder.root)}
    if not kept:
        raise RunError(f"{folder.root} has no checkpoint to export", fix=f"run: flux-lora train run={folder.root}")
    chosen = read_summary(folder)["chosen"]
    if not isinstance(chosen, dict):
        return kept[max(kept)], 1.0
    if chosen["step"] not in kept:
        raise RunError(
            f"the chosen checkpoint step-{chosen['step']:06d} is not in {folder.root}/checkpoints any more",
            fix=f"choose again: flux-lora evaluate run={folder.root}",
        )
    return kept[chosen["step"]], float(chosen["strength"])


def title_of_run(config: RunConfig) -> str:
    """What files are called where the person names none: the trigger; edits may have none."""
    return config.data.trigger or config.data.kind.value


def refuse_taken_places(config: RunConfig, folder: RunFolder, wanted: Sequence[Path]) -> None:
    """The run's own files are made anew; another's, in a folder that others use too, are left alone."""
    known = read_summary(folder)
    files, places = known["files"], known["places"]
    assert isinstance(files, list) and isinstance(places, list), "the summary is ours"
    ours = {Path(file).resolve() for file in (*(each["file"] for each in files), *places)}
    first, taken = wanted[0].resolve(), {place.resolve() for place in wanted} - ours
    if first.parent not in {place.parent for place in ours}:
        taken |= {first.parent / name for name in (CANVAS, PROMPT, EXAMPLE, IMAGES, BEFORE)}
        taken |= {bundle_place(first)} if config.export.bundle else set()
    for place in sorted(taken):
        if place.exists() and folder.export.resolve() not in place.parents:
            raise RunError(f"{place} is there already, and is not of this run", fix="set export.dir to a new folder")


def _label(run: Run, title: str) -> Label:
    config, folder, family = run.config, run.folder, run.family
    drawn = _chosen_image(folder)
    return Label(
        title=title,
        trigger=config.data.trigger or next(iter(captions_trained_on(folder)), ""),
        class_word=config.data.class_word,
        base=config.model.name,
        architecture=family.release_like(config.model.name).architecture,
        programs=family.programs,
        author=config.export.author,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        resolution=config.data.resolution,
        licence=config.model.licence,
        recipe=json.dumps(asdict(config), default=str),
        dataset=fingerprint_in(folder),
        versions={"flux_lora": __version__, **{name: version(name) for name in PACKAGES}},
        scores=json.dumps(chosen_scores(folder)),
        images=len(images_trained_on(folder)),
        thumbnail=thumbnail(drawn) if drawn else "",
    )


def _chosen_image(folder: RunFolder) -> Image.Image | None:
    """The first image that the chosen checkpoint drew while it was judged."""
    place = chosen_images_folder(folder)
    file = next(iter(sorted(place.glob("**/*.png"))), None) if place else None
    return Image.open(file).convert("RGB") if file else None


def _forecasts(run: Run, adapter: Adapter) -> tuple[Forecast, ...]:
    """From the base's weights; for a base of 12 billion a minute or two of reading. One in 8 bits tells nothing."""
    folder = run.family.transformer_place(run.source)
    try:
        return forecasts(adapter, weight_reader(open_base(folder)))
    except ModelError:
        return ()


def _record(proof: Proof, checkpoint: Checkpoint, strength: float) -> dict[str, object]:
    shipped = {"file": proof.file, "sha256": proof.sha256, "bytes": proof.bytes, "step": checkpoint.step}
    return {**shipped, "strength_folded_in": strength, "verification": asdict(proof)}

"""export: write the adapter in the names of its users' programs, prove each file, and put beside it what they need."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from PIL import Image
from rich.console import Console

from flux_lora import __version__
from flux_lora.adapter.bases.shards import open_base
from flux_lora.adapter.bases.weights import weight_reader
from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.labels.metadata import Label, metadata_of
from flux_lora.adapter.labels.thumbnail import thumbnail
from flux_lora.adapter.proof.loading import LoadedBase
from flux_lora.adapter.proof.prove import Proof
from flux_lora.adapter.quantised.forecast import Forecast, forecast_in_words, forecasts
from flux_lora.adapter.tensors import Adapter, adapter_at_strength
from flux_lora.commands.beside import bundle_place, publish, write_shared_files
from flux_lora.commands.evaluate import chosen_images_folder, chosen_scores
from flux_lora.commands.machine import DeviceAndDtype, device_and_dtype
from flux_lora.commands.pictures import load_pipeline
from flux_lora.commands.run_folder import RunFolder, folder_of
from flux_lora.commands.summary import note, read_summary, stage
from flux_lora.commands.writing import DTYPES, check_room, export_paths, proof_in_words, write_proven
from flux_lora.config.schema import RunConfig
from flux_lora.errors import ModelError, RunError
from flux_lora.models.flux1.places import part_folder
from flux_lora.share.card import PICTURES
from flux_lora.share.fill import CANVAS, EXAMPLE, PROMPT
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


def export(config: RunConfig) -> int:
    """Ship the chosen checkpoint, or the last one if none was chosen."""
    folder = folder_of(config)
    with stage(folder, "export"):
        shipped = export_run(config, folder, device_and_dtype(config.hardware))
    Console(soft_wrap=True, highlight=False, markup=False).print(*exported_in_words(shipped), sep="\n")
    publish(config.export, shipped.file, shipped.beside)
    return 0


def export_run(config: RunConfig, folder: RunFolder, machine: DeviceAndDtype) -> Exported:
    """Write each dialect with the chosen strength folded in, so that it is right at 1.0, and prove it."""
    checkpoint, strength = _chosen(folder)
    adapter = adapter_at_strength(read_adapter(checkpoint.adapter_file), strength)
    wanted = export_paths(config.export, folder.export, config.data.trigger)
    _check_places(config, folder, tuple(wanted.values()))
    check_room(adapter, tuple(wanted), DTYPES[config.export.dtype])
    label = _label(config, folder, config.export.name or config.data.trigger)
    painter = load_pipeline(config, machine)
    base = LoadedBase(transformer=painter.transformer, dtype=machine.dtype)
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
    expected = _forecasts(config, adapter)
    beside = write_shared_files(config, folder, proofs, expected, painter, machine)
    note(folder, {"files": [_record(each, checkpoint, strength) for each in proofs]})
    note(folder, {"quantised": {each.rounding: asdict(each.whole) for each in expected}})
    return Exported(tuple(proofs), expected, beside)


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


def _check_places(config: RunConfig, folder: RunFolder, wanted: Sequence[Path]) -> None:
    """The run's own files are made anew; another's, in a folder that others use too, are left alone."""
    files = read_summary(folder)["files"]
    ours = {Path(each["file"]).resolve() for each in files} if isinstance(files, list) else set()
    first, taken = wanted[0].resolve(), {place.resolve() for place in wanted} - ours
    if first.parent not in {place.parent for place in ours}:
        taken |= {first.parent / name for name in (CANVAS, PROMPT, EXAMPLE, PICTURES)}
        taken |= {bundle_place(first)} if config.export.bundle else set()
    for place in sorted(taken):
        if place.exists() and folder.export.resolve() not in place.parents:
            raise RunError(f"{place} is there already, and is not of this run", fix="set export.dir to a new folder")


def _label(config: RunConfig, folder: RunFolder, title: str) -> Label:
    manifest = folder.manifest.read_text(encoding="utf-8").splitlines() if folder.manifest.is_file() else ["{}"]
    drawn = _chosen_picture(folder)
    return Label(
        title=title,
        trigger=config.data.trigger,
        class_word=config.data.class_word,
        base=config.model.name,
        author=config.export.author,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        resolution=config.data.resolution,
        licence=config.model.licence,
        recipe=json.dumps(asdict(config), default=str),
        dataset=str(json.loads(manifest[0]).get("fingerprint", "")),
        versions={"flux_lora": __version__, **{name: version(name) for name in PACKAGES}},
        scores=json.dumps(chosen_scores(folder)),
        pictures=len(manifest) - 1,
        thumbnail=thumbnail(drawn) if drawn else "",
    )


def _chosen_picture(folder: RunFolder) -> Image.Image | None:
    """The first picture that the chosen checkpoint drew while it was judged."""
    place = chosen_images_folder(folder)
    file = place / "000.png" if place else None
    return Image.open(file).convert("RGB") if file and file.is_file() else None


def _forecasts(config: RunConfig, adapter: Adapter) -> tuple[Forecast, ...]:
    """From the base's weights; for a base of 12 billion a minute or two of reading. One in 8 bits tells nothing."""
    folder = part_folder(config.model.path, "transformer", config.model.revision)
    try:
        return forecasts(adapter, weight_reader(open_base(folder)))
    except ModelError:
        return ()


def _record(proof: Proof, checkpoint: Checkpoint, strength: float) -> dict[str, object]:
    shipped = {"file": proof.file, "sha256": proof.sha256, "bytes": proof.bytes, "step": checkpoint.step}
    return {**shipped, "strength_folded_in": strength, "verification": asdict(proof)}

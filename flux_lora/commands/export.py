"""export: write one .safetensors, and load it back to prove it."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console

from flux_lora import __version__
from flux_lora.adapter.files import read_adapter, write_file
from flux_lora.adapter.metadata import Label, metadata_of
from flux_lora.adapter.prove import Proof, prove
from flux_lora.adapter.tensors import scaled
from flux_lora.commands.machine import Machine, machine_of
from flux_lora.commands.run_folder import RunFolder, folder_of
from flux_lora.commands.summary import note, read_summary, stage
from flux_lora.config.choices import ExportDtype
from flux_lora.config.schema import RunConfig
from flux_lora.errors import RunError
from flux_lora.train.checkpoints import Checkpoint, whole

DTYPES = {
    ExportDtype.bf16: torch.bfloat16,
    ExportDtype.fp16: torch.float16,
    ExportDtype.fp32: torch.float32,
}
PACKAGES = ("torch", "diffusers", "transformers", "peft")


@dataclass(frozen=True)
class Shipped:
    """A file, and what was seen when it was loaded back."""

    file: Path
    sha256: str
    bytes: int
    proof: Proof


def export(config: RunConfig) -> int:
    """Ship the chosen checkpoint, or the last one if none was chosen."""
    folder = folder_of(config)
    with stage(folder, "export"):
        shipped = ship(config, folder, machine_of(config.hardware))
    terminal = Console(soft_wrap=True, highlight=False)
    terminal.print(f"{shipped.file} ({shipped.bytes / 1e6:.1f} MB, sha256 {shipped.sha256[:12]})")
    terminal.print(f"loaded back by diffusers: {proof_in_words(shipped.proof)}")
    return 0


def ship(config: RunConfig, folder: RunFolder, machine: Machine) -> Shipped:
    """Write the file with the chosen strength folded in, so that it is right at 1.0; then prove it."""
    checkpoint, strength = _chosen(folder)
    adapter = scaled(read_adapter(checkpoint.adapter_file), strength)
    file = folder.export / f"{config.export.name or config.data.trigger}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = metadata_of(_label(config, folder, file.stem), adapter)
    write_file(adapter, file, metadata=metadata, dtype=DTYPES[config.export.dtype])
    proof = prove(
        file,
        adapter,
        base=config.model.path,
        dtype=machine.dtype,
        device=machine.device,
        revision=config.model.revision,
    )
    shipped = Shipped(file, sha256(file.read_bytes()).hexdigest(), file.stat().st_size, proof)
    record = {"file": str(file), "sha256": shipped.sha256, "bytes": shipped.bytes, "step": checkpoint.step}
    note(folder, {"files": [{**record, "strength_folded_in": strength, "verification": asdict(proof)}]})
    return shipped


def proof_in_words(proof: Proof) -> str:
    """One line about a proof."""
    return (
        f"{proof.layers} layers, {proof.unused_keys} unused keys, {proof.missing_layers} missing, "
        f"output equal within {proof.output_error:.1e}, rounding {proof.delta_error:.1e} at most"
    )


def _chosen(folder: RunFolder) -> tuple[Checkpoint, float]:
    kept = {checkpoint.step: checkpoint for checkpoint in whole(folder.root)}
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


def _label(config: RunConfig, folder: RunFolder, title: str) -> Label:
    manifest = folder.manifest.read_text(encoding="utf-8").splitlines() if folder.manifest.is_file() else ["{}"]
    chosen = [each for each in _scores(folder) if _is_chosen(each, folder)]
    return Label(
        title=title,
        trigger=config.data.trigger,
        base=config.model.name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        resolution=config.data.resolution,
        licence=config.model.licence,
        recipe=json.dumps(asdict(config), default=str),
        dataset=str(json.loads(manifest[0]).get("fingerprint", "")),
        versions={"flux_lora": __version__, **{name: version(name) for name in PACKAGES}},
        scores=json.dumps(chosen[0] if chosen else {}),
    )


def _scores(folder: RunFolder) -> list[dict[str, object]]:
    scores = read_summary(folder)["scores"]
    assert isinstance(scores, list), "the summary is ours"
    return scores


def _is_chosen(each: dict[str, object], folder: RunFolder) -> bool:
    chosen = read_summary(folder)["chosen"]
    return isinstance(chosen, dict) and (each["step"], each["strength"]) == (chosen["step"], chosen["strength"])

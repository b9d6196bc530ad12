"""LoRA files for the verbs that work on files, and how to look into what they wrote."""

from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux_lora.adapter.files import read_contents, write_dialect
from flux_lora.adapter.header import read_header
from flux_lora.adapter.layer_types import Adapter, delta_of
from flux_lora.commands.convert import convert
from flux_lora.config.choices import AdapterTargets, ExportDialect, FileDtype
from flux_lora.config.file_verbs import ConvertArgs
from tests.adapter.example_adapters import learned, learned_adapter
from tests.adapter.other_trainers import CLIP, DOWN_UP, T5, lora

HANDED_ON = {"modelspec.title": "zorb mug", "modelspec.trigger_phrase": "zorb", "ss_learning_rate": "1e-4"}
STALE = {
    "lora_adapter_metadata": '{"transformer.r": 4, "transformer.lora_alpha": 2, "transformer.target_modules": []}',
    "sshs_model_hash": "0" * 64,
    "sshs_legacy_hash": "0" * 8,
    "modelspec.hash_sha256": "0x" + "0" * 64,
    "ss_network_dim": "99",
    "ss_network_alpha": "99",
    "ss_network_module": "networks.other",
    "ss_network_args": "{}",
    "flux_lora.proof": "[]",
}
"""What is said of the old file's bytes, and would be untrue of another file."""
TEXT = lora(CLIP, "lora_te1_", DOWN_UP, 1.0, flat=True) | lora(T5, "lora_te3_", DOWN_UP, 1.0, flat=True)
"""Changes of CLIP and T5 that have no dtype of their own: float32."""


def adapter(
    rank: int = 4, alpha: float = 2.0, targets: AdapterTargets = AdapterTargets.attention, seed: int = 1
) -> Adapter:
    """A trained adapter for the tiny transformer; with attention alone every dialect has room for it."""
    return learned(learned_adapter(rank, alpha, targets), seed=seed)


def written(
    file: Path,
    given: Adapter,
    *,
    dialect: str = "diffusers",
    dtype: torch.dtype = torch.float32,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A file as some trainer left it."""
    return write_dialect(given, file, dialect=dialect, metadata=metadata or {}, dtype=dtype)


def with_text_encoders(file: Path, given: Adapter) -> Path:
    """A kohya file that also changes CLIP and T5."""
    written(file, given, dialect="kohya")
    save_file(load_file(file) | TEXT, file)
    return file


def deltas(place: Path) -> dict[str, Tensor]:
    """What a file or folder adds to each weight of the transformer."""
    return {name: delta_of(change) for name, change in read_contents(place).adapter.deltas.items()}


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of one module's change, relative to that change; infinite if modules are missing."""
    if one.keys() != other.keys():
        return float("inf")
    return max(((one[name] - other[name]).norm() / other[name].norm()).item() for name in other)


def said_of(file: Path) -> dict[str, str]:
    """A file's metadata."""
    return dict(read_header(file).metadata)


def body_hash(file: Path) -> str:
    """Of everything after the header, as galleries compute it."""
    raw = file.read_bytes()
    return sha256(raw[8 + int.from_bytes(raw[:8], "little") :]).hexdigest()


def names_in(folder: Path) -> list[str]:
    """Everything that lies in a folder, below it too."""
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


def converted(file: Path, to: ExportDialect, dtype: FileDtype = FileDtype.same, name: str = "new") -> Path:
    """The file, or peft's folder, in another dialect."""
    out = file.parent / f"{name}_{to}{'' if to is ExportDialect.peft else '.safetensors'}"
    assert convert(ConvertArgs(file=str(file), to=to, out=str(out), dtype=dtype)) == 0
    return out

"""What the verbs that work on files are asked: key=value, and no recipe."""

from dataclasses import dataclass, field

from flux_lora.config.choices import ExportDialect, FileDtype, PrintFormat
from flux_lora.config.schema import ExportConfig, HardwareConfig


@dataclass(frozen=True, kw_only=True)
class InspectArgs:
    """Say what is in a file."""

    file: str
    """A LoRA file of any tool, or the folder that peft wrote."""
    format: PrintFormat = PrintFormat.text
    """json is for scripts."""


@dataclass(frozen=True, kw_only=True)
class ReproduceArgs:
    """Write the recipe of a file back."""

    file: str
    """A LoRA file that flux_lora exported."""
    out: str = ""
    """Where the recipe goes. Empty means <file>.recipe.yaml beside the file."""


@dataclass(frozen=True, kw_only=True)
class ConvertArgs:
    """Write a file in other names."""

    file: str
    """A LoRA file of any tool, or the folder that peft wrote."""
    to: ExportDialect
    """The names of the new file."""
    out: str
    """The new file. One that exists is never written over."""
    dtype: FileDtype = FileDtype.same
    """bf16 and fp16 round what was finer, and fp16 refuses what it cannot hold."""


@dataclass(frozen=True, kw_only=True)
class MergeArgs:
    """Several LoRAs in one file."""

    files: tuple[str, ...]
    """The files, as [a.safetensors,b.safetensors]; each may have other names and ranks."""
    strengths: tuple[float, ...] = ()
    """One for each file. Empty means 1.0 for each."""
    rank: int = 0
    """Rank to cut the sum down to, the error is said; 0 keeps it exact, ranks add up."""
    to: ExportDialect = ExportDialect.diffusers
    """The names of the new file."""
    out: str
    """The new file. One that exists is never written over."""
    dtype: FileDtype = FileDtype.same
    """bf16 and fp16 round what was finer, and fp16 refuses what it cannot hold."""


@dataclass(frozen=True, kw_only=True)
class ResizeArgs:
    """A file of another rank."""

    file: str
    """A LoRA file of any tool, or the folder that peft wrote."""
    rank: int = 0
    """The new rank of every layer; or give keep."""
    keep: float = 0.0
    """Share of each layer's squared length that has to stay, for instance 0.99; or give rank."""
    base: str = ""
    """The base's transformer, folder or file: a DoRA or OFT becomes a LoRA only beside its weights."""
    to: ExportDialect = ExportDialect.diffusers
    """The names of the new file."""
    out: str
    """The new file. One that exists is never written over."""
    dtype: FileDtype = FileDtype.same
    """bf16 and fp16 round what was finer, and fp16 refuses what it cannot hold."""


@dataclass(frozen=True, kw_only=True)
class ExtractArgs:
    """The difference of two models as a LoRA."""

    before: str
    """The base: a transformer folder in the diffusers layout, or a single .safetensors."""
    after: str
    """The fine-tuned model, in the same layout."""
    rank: int = 32
    """Rank of every layer; the error of each is said."""
    to: ExportDialect = ExportDialect.diffusers
    """The names of the new file."""
    out: str
    """The new file. One that exists is never written over."""
    dtype: FileDtype = FileDtype.bf16
    """fp32 doubles the file."""


@dataclass(frozen=True, kw_only=True)
class FuseArgs:
    """A LoRA inside the weights of its base."""

    base: str
    """A transformer folder in the diffusers layout, or a single .safetensors."""
    file: str
    """A LoRA file of any tool, or the folder that peft wrote."""
    strength: float = 1.0
    """How much of it."""
    out: str
    """The new folder or file. What exists is never written over."""


@dataclass(frozen=True, kw_only=True)
class ExportAdapterArgs:
    """Export an adapter that another tool trained."""

    adapter: str
    """A LoRA file of any tool, or the folder that peft wrote."""
    base: str = ""
    """The base to prove it on: `mini`, a folder or a hub id. Empty proves it by each program's key table alone."""
    export: ExportConfig = field(default_factory=ExportConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)

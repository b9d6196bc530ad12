"""Arguments of the verbs that work on files: key=value, and no recipe."""

from dataclasses import dataclass, field

from flux_lora.config.choices import Control, ExportDialect, FileDtype, PrintFormat
from flux_lora.config.schema import ExportConfig, HardwareConfig


@dataclass(frozen=True, kw_only=True)
class InspectArgs:
    """List what a LoRA file holds and which programs take it."""

    file: str
    """A LoRA file of any tool, or the folder that peft wrote."""
    format: PrintFormat = PrintFormat.text
    """Output format: text for people, json for scripts."""


@dataclass(frozen=True, kw_only=True)
class ReproduceArgs:
    """Write the recipe in a file's metadata as YAML."""

    file: str
    """A LoRA file that flux_lora exported."""
    model: str = ""
    """Another base to train the same photos and settings on, by its model= recipe. Empty keeps the base."""
    out: str = ""
    """Where the recipe goes. Empty means <file>.recipe.yaml beside the file."""


@dataclass(frozen=True, kw_only=True)
class ControlArgs:
    """Talk to a run that trains."""

    run: str
    """The run folder."""
    ask: Control
    """What it is to do after the step that it is at."""
    patience: float = 60.0
    """Seconds to wait until it is taken up."""


@dataclass(frozen=True, kw_only=True)
class ConvertArgs:
    """Write a LoRA in another dialect."""

    file: str
    """A LoRA file of any tool, or the folder that peft wrote."""
    to: ExportDialect
    """Dialect of the new file."""
    out: str
    """The new file. One that exists is never written over."""
    dtype: FileDtype = FileDtype.same
    """bf16 and fp16 round what was finer, and fp16 refuses what it cannot hold."""


@dataclass(frozen=True, kw_only=True)
class MergeArgs:
    """Merge several LoRAs into one."""

    files: tuple[str, ...]
    """The files, as [a.safetensors,b.safetensors]; dialects and ranks may differ."""
    strengths: tuple[float, ...] = ()
    """Strength of each file. Empty means 1.0 for each."""
    rank: int = 0
    """Rank to cut the sum down to, and the error is printed; 0 keeps it exact, and ranks add up."""
    to: ExportDialect = ExportDialect.diffusers
    """Dialect of the new file."""
    out: str
    """The new file. One that exists is never written over."""
    dtype: FileDtype = FileDtype.same
    """bf16 and fp16 round what was finer, and fp16 refuses what it cannot hold."""


@dataclass(frozen=True, kw_only=True)
class ResizeArgs:
    """Change the rank of a LoRA."""

    file: str
    """A LoRA file of any tool, or the folder that peft wrote."""
    rank: int = 0
    """The new rank of every layer; or give keep."""
    keep: float = 0.0
    """Share of each layer's squared Frobenius norm to keep, for instance 0.99; or give rank."""
    base: str = ""
    """The base's transformer, folder or file: a DoRA or OFT becomes a LoRA only with its weights."""
    to: ExportDialect = ExportDialect.diffusers
    """Dialect of the new file."""
    out: str
    """The new file. One that exists is never written over."""
    dtype: FileDtype = FileDtype.same
    """bf16 and fp16 round what was finer, and fp16 refuses what it cannot hold."""


@dataclass(frozen=True, kw_only=True)
class ExtractArgs:
    """Extract the difference of two models as a LoRA."""

    before: str
    """The base: a transformer folder in the diffusers layout, or a single .safetensors."""
    after: str
    """The fine-tuned model, in the same layout."""
    rank: int = 32
    """Rank of every layer; the error of each is printed."""
    to: ExportDialect = ExportDialect.diffusers
    """Dialect of the new file."""
    out: str
    """The new file. One that exists is never written over."""
    dtype: FileDtype = FileDtype.bf16
    """fp32 doubles the file."""


@dataclass(frozen=True, kw_only=True)
class FuseArgs:
    """Fuse a LoRA into the weights of its base."""

    base: str
    """A transformer folder in the diffusers layout, or a single .safetensors."""
    file: str
    """A LoRA file of any tool, or the folder that peft wrote."""
    strength: float = 1.0
    """Strength of the LoRA."""
    out: str
    """The new folder or file. What exists is never written over."""


@dataclass(frozen=True, kw_only=True)
class RenderArgs:
    """Render prompts with a base, and a LoRA of any tool in it."""

    prompts: tuple[str, ...]
    """Each is rendered with each seed."""
    model: str = "flux_dev"
    """A file of recipes/model: mini, flux_dev, flux_schnell."""
    path: str = ""
    """The base, if it is elsewhere than the file of recipes/model says: a folder or a hub id."""
    transformer: str = ""
    """Its transformer out of one file, as model.transformer in training; so are the next three."""
    vae: str = ""
    """Its VAE, such as ae.safetensors."""
    text_encoder: str = ""
    """CLIP of FLUX.1, Qwen3 of FLUX.2."""
    text_encoder_2: str = ""
    """T5 of FLUX.1."""
    adapter: str = ""
    """A LoRA file of any tool, or the folder that peft wrote; empty renders the base."""
    strength: float = 1.0
    """Strength of the LoRA."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the noise, which is drawn on the CPU."""
    width: int = 1024
    """Pixels."""
    height: int = 1024
    """Pixels."""
    steps: int = 20
    """Sampling steps."""
    out: str
    """A new folder: a PNG an image, with how it was made in its text, and sheet.png. One that exists is left alone."""
    hardware: HardwareConfig = field(default_factory=lambda: HardwareConfig(auto=True))


@dataclass(frozen=True, kw_only=True)
class CompareRunsArgs:
    """Compare runs that were evaluated."""

    runs: tuple[str, ...]
    """Run folders, as [runs/a,runs/b]: one page sets what each chose side by side."""
    out: str = "comparison.html"
    """The page."""


@dataclass(frozen=True, kw_only=True)
class ExportAdapterArgs:
    """Export an adapter that another tool trained."""

    adapter: str
    """A LoRA file of any tool, or the folder that peft wrote."""
    base: str = ""
    """The base to prove it on: `mini`, a folder or a hub id. Empty proves it by each program's key table alone."""
    export: ExportConfig = field(default_factory=ExportConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)

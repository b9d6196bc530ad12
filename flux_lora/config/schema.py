"""Every knob of a run, its default and its reason.

A field without a default has to come from a recipe, a group file or the command line.
The names to choose from are in config/choices.py, the knobs of pictures and captions in
config/material.py.
"""

from dataclasses import dataclass, field

from flux_lora.config.choices import (
    AdapterTargets,
    ComputeDtype,
    Device,
    ExportDialect,
    ExportDtype,
    LRScheduler,
    OptimizerName,
    TrackerName,
)
from flux_lora.config.material import CaptionerConfig, CheckConfig, DataConfig


@dataclass(frozen=True, kw_only=True)
class RunSection:
    """Where a run lives."""

    dir: str = ""
    """The run folder. Empty means runs/<recipe name>. The same folder again continues the run."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The base model that is taught."""

    name: str
    """What the exported file and the report call the base."""
    path: str
    """`mini` (ships with the package), a folder in the diffusers layout, or a Hugging Face id."""
    revision: str = ""
    """Branch, tag or commit of a Hugging Face id. Empty takes its main branch."""
    licence: str = ""
    """The base's licence; the exported file repeats it, because a LoRA inherits its limits."""
    text_tokens: int
    """Length of the T5 text, unmasked: 512 for FLUX.1-dev. Another length than the base's answers differently."""
    train_guidance: float = 1.0
    """Embedded guidance in training. 1.0 for a guidance-distilled base: at 3.5 the LoRA unlearns the distillation."""
    render_guidance: float = 3.5
    """Embedded guidance of pictures."""
    scorer: str
    """The CLIP that scores pictures: `mini`, a folder or a Hugging Face id."""


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """The LoRA."""

    rank: int = 16
    """Width of the low-rank path. 16 holds a face or a plain product, 32 labels and texture; above 64 pictures blur."""
    alpha: float = 16.0
    """Strength multiplier: alpha / rank scales the update. Equal to rank, every reader agrees on the strength."""
    targets: AdapterTargets = AdapterTargets.attention_mlp
    """attention is small and leaks least; attention_mlp also holds texture; blocks_all adds the modulation."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the adapter learns."""

    steps: int
    """Optimizer updates. 40 to 120 looks at each picture: looks = steps * batch_size / pictures."""
    learning_rate: float = 1e-4
    """Peak rate. 1e-4 is safe for a 12B base with alpha = rank; 1e-3 burns it."""
    batch_size: int = 1
    """Pictures in one step. Larger is smoother, and costs memory."""
    seed: int = 0
    """Noise, times, order and the adapter's start all follow from it."""
    warmup_steps: int = 0
    """Steps over which the rate climbs from nothing."""
    schedule: LRScheduler = LRScheduler.cosine
    """cosine ends gently at zero; constant lets a run be prolonged."""
    weight_decay: float = 0.01
    """Pull of the adapter towards nothing."""
    clip: float = 1.0
    """Longest gradient that is let through."""
    caption_dropout: float = 0.0
    """Share of looks with an empty caption. 0.05 keeps the trigger from being the only way to the thing."""
    preservation: float = 0.0
    """Weight of staying with the base where the trigger is not said. 1 keeps the class; a step takes twice as long."""
    memories: int = 0
    """Pictures the base makes of ordinary things before the first step; preservation holds the adapter to them too."""
    save_every: int = 250
    """Steps between checkpoints. Each is a candidate to choose from, and a place to continue."""
    optimizer: OptimizerName = OptimizerName.adamw
    """adamw8bit needs bitsandbytes and CUDA, and saves little: only the adapter has optimizer state."""
    time_shift: float = 1.0
    """Above 1 trains more on high noise, where composition is settled: 1 to 1.8 for likeness, 3.16 for a style."""
    time_mean: float = 0.0
    """Middle of the logit-normal times."""
    time_std: float = 1.0
    """Spread of the logit-normal times."""


@dataclass(frozen=True, kw_only=True)
class PreviewConfig:
    """Pictures made while training."""

    every: int = 250
    """Steps between previews; 0 makes none."""
    prompts: tuple[str, ...] = ()
    """What to show, with {trigger} and {class}. Empty takes the first of the evaluation prompts."""
    seed: int = 1
    """The same noise each time, so that two previews differ by what was learned."""
    steps: int = 20
    """Sampling steps of one picture."""
    size: int = 0
    """Side in pixels; 0 means data.resolution."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How checkpoints are compared."""

    strengths: tuple[float, ...] = (1.0,)
    """Each checkpoint is tried at each of these."""
    checkpoints: int = 3
    """How many checkpoints are tried, spread evenly and ending with the last."""
    seeds: int = 2
    """Pictures for each prompt. More makes the intervals narrower, and takes longer."""
    steps: int = 20
    """Sampling steps of one picture."""
    max_leakage: float = 0.25
    """How far pictures without the trigger may move, 0 not at all; a checkpoint above it is not chosen."""
    min_adherence: float = 0.85
    """Prompt following that has to be left, as a share of the base's."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """The file that is shipped."""

    name: str = ""
    """File name without ending. Empty means the trigger."""
    dialects: tuple[ExportDialect, ...] = (ExportDialect.diffusers,)
    """diffusers is read by diffusers and ComfyUI both; each further one is a file of its own beside it."""
    dtype: ExportDtype = ExportDtype.bf16
    """bf16 is what the base computes in; fp32 doubles the file."""
    dir: str = ""
    """Folder of what is exported. Empty means export/ in the run folder."""
    file: str = ""
    """The file itself, where there is one dialect only; it goes before dir and name."""
    author: str = ""
    """Who made it, for the file's metadata and the model card."""
    bundle: bool = False
    """Also one .zip of everything in the folder."""
    push_to_hub: str = ""
    """Hub repository to upload to: org/name. Only what was exported goes there."""
    public: bool = False
    """A repository that is made anew is private otherwise."""
    dry_run: bool = False
    """Show what push_to_hub would upload, and upload nothing."""


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """The machine."""

    device: Device = Device.auto
    """auto takes the GPU if there is one."""
    dtype: ComputeDtype = ComputeDtype.fp32
    """bf16 halves the base's memory, and is fast on a GPU; fp32 is faster on most CPUs."""
    gradient_checkpointing: bool = False
    """Trades a third more time for most of the activations' memory."""
    threads: int = 0
    """CPU threads of torch; 0 leaves torch's own choice."""


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """Where the numbers also go; metrics.jsonl is always written."""

    name: TrackerName = TrackerName.none
    """wandb works without an account too: it then keeps its files in the run folder."""
    project: str = "flux_lora"
    """What the tracker groups runs under."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run is made of."""

    strict: bool = False
    """Warnings stop the command with exit code 1."""
    run: RunSection = field(default_factory=RunSection)
    model: ModelConfig
    data: DataConfig
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    train: TrainConfig
    preview: PreviewConfig = field(default_factory=PreviewConfig)
    check: CheckConfig = field(default_factory=CheckConfig)
    captioner: CaptionerConfig = field(default_factory=CaptionerConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)

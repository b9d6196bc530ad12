"""Every knob of a run, its default and its reason.

A field without a default has to come from a recipe, a group file or the command line.
The names to choose from are in config/choices.py, the knobs of images and captions in
config/data.py.
"""

from dataclasses import dataclass, field

from flux_lora.config.choices import (
    AdapterKind,
    AdapterTargets,
    ComputeDtype,
    Device,
    ExportDialect,
    ExportDtype,
    LossType,
    LossWeighting,
    LRScheduler,
    OptimizerName,
    Quantization,
    SigmaSampling,
    TrackerName,
)
from flux_lora.config.data import CaptionerConfig, CheckConfig, DataConfig


@dataclass(frozen=True, kw_only=True)
class RunSection:
    """The run folder."""

    dir: str = ""
    """The run folder. Empty means runs/<recipe name>. The same folder again resumes the run."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The base model."""

    name: str
    """What the exported file and the report call the base."""
    path: str
    """`mini` (ships with the package), a folder in the diffusers layout, or a Hugging Face id."""
    transformer: str = ""
    """One file to take the transformer from, such as a finetune: safetensors (BFL or diffusers names, 16 bits or fp8)
    or GGUF, made whole and then kept as hardware says. Empty takes that of `path`. Say in `name` what it is."""
    vae: str = ""
    """One safetensors file for the VAE, such as ComfyUI's ae.safetensors. Empty takes that of `path`. Where every part
    is a file of its own, nothing of `path` is fetched."""
    text_encoder: str = ""
    """The same for the text encoder: FLUX.1's CLIP (clip_l.safetensors), FLUX.2's Qwen3 (qwen_3_4b.safetensors)."""
    text_encoder_2: str = ""
    """The same for FLUX.1's T5: t5xxl_fp16.safetensors, or in fp8, plain or scaled."""
    revision: str = ""
    """Branch, tag or commit of a Hugging Face id. Empty takes its main branch."""
    licence: str = ""
    """The base's licence; the exported file repeats it, because a LoRA inherits its limits."""
    max_sequence_length: int
    """Tokens of a prompt, padding among them: 512 for FLUX.1-dev and FLUX.2. Another length than the base's changes its
    images. FLUX.3 pads each caption to the next multiple of 80, and to this at most."""
    train_guidance: float = 1.0
    """Guidance embedding in training. 1.0 for a guidance-distilled base: at 3.5 the LoRA unlearns the distillation."""
    render_guidance: float = 3.5
    """Guidance when images are rendered: the embedding's, or real guidance where the base has none."""
    learning_rates: tuple[float, ...] = ()
    """Lowest and highest effective rate (train.learning_rate * adapter.alpha / adapter.rank) that is known to work with
    AdamW. Said at the start of a run; empty says the rate alone."""
    train_distilled: bool = False
    """Train a base that was distilled to few steps (klein without `base`) all the same; it then needs more."""
    distilled: str = ""
    """What was distilled from this base and is used in its place (FLUX.2-klein-4B): a folder or a Hugging Face id. The
    chosen checkpoint is then shown and judged on it, too. Empty shows the base alone."""
    distilled_steps: int = 4
    """Sampling steps of the distilled model."""
    distilled_guidance: float = 1.0
    """Guidance of the distilled model; 1 is none."""
    scorer: str
    """CLIP model that scores prompt following and leakage: `mini`, a folder or a Hugging Face id."""
    likeness: str = ""
    """Vision model whose patches count for likeness beside colours: a DINOv2 or CLIP folder or id. Empty takes none."""


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """The LoRA."""

    kind: AdapterKind = AdapterKind.lora
    """lora is what every program reads. lokr makes a file of a few MB, and learned next to nothing at LoRA's rates on
    mini; dora and loha take longer and learn as much (benchmarks/results/kinds.md). Who reads them: docs/files.md."""
    rank: int = 16
    """Rank of each layer. 16 holds a face or a plain product, 32 labels and texture; above 64 images blur."""
    alpha: float = 16.0
    """alpha / rank scales the update. Equal to rank, every loader agrees on the strength."""
    targets: AdapterTargets = AdapterTargets.attention_mlp
    """attention is small and leaks least; attention_mlp also holds texture; blocks_all adds the modulation."""
    blocks: tuple[str, ...] = ()
    """Some blocks or parts of them only: double, single.7, single.20-30.out, as [single.7,double.attn]; of FLUX.3
    image, text and single. Empty takes all of them."""
    ranks: tuple[str, ...] = ()
    """Other ranks for some, as [double.attn:16,single:8]; alpha / rank stays. What is not named has adapter.rank."""
    start: str = ""
    """A LoRA file to begin from, in any dialect and of this rank and these layers. Empty begins at the base."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training: optimizer, learning-rate schedule, sigmas, preservation and checkpoints."""

    steps: int
    """Optimizer updates. 40 to 120 exposures of each image: exposures = steps * batch_size *
    gradient_accumulation_steps / images."""
    learning_rate: float = 1e-4
    """Peak learning rate. 1e-4 is safe for a 12B base with alpha = rank; 1e-3 destroys it."""
    batch_size: int = 1
    """Images that are asked about at once. A larger batch has less gradient noise, and costs memory."""
    gradient_accumulation_steps: int = 1
    """Batches in one step: their gradients are summed before the adapter moves. Costs time in place of memory."""
    seed: int = 0
    """Noise, sigmas, data order and the adapter's initial weights all follow from it."""
    warmup_steps: int = 0
    """Warm-up steps: the rate rises linearly from 0."""
    lr_scheduler: LRScheduler = LRScheduler.cosine
    """After the warm-up: cosine, linear and rex fall to 0 at the last step; constant keeps the rate and can be
    prolonged."""
    weight_decay: float = 0.01
    """AdamW weight decay of the adapter's tensors."""
    max_grad_norm: float = 1.0
    """Max gradient norm; longer gradients are scaled to it."""
    max_skipped_steps: int = 0
    """Steps of a run that are skipped because their loss or gradient is not finite; one more stops it. What was asked
    is in non_finite/ of the run folder."""
    caption_dropout: float = 0.0
    """Share of exposures with an empty caption. At 0.05 the trigger is not the only way to the subject."""
    preservation: float = 0.0
    """Weight of the loss that keeps captions without the trigger as they were, and where it begins if max_drift
    moves it. 0 keeps nothing, and saves a third of the time."""
    preservation_every: int = 2
    """Steps from one such question to the next. It then counts for the steps between."""
    max_drift: float = 0.0
    """How far the base's answers may have moved there in the end, as a share of how far its answers to two prompts are
    apart; six times as far at first. The weight of the preservation loss follows it; 0 leaves the weight alone."""
    prior_loss_weight: float = 1.0
    """How much an image of a source with role regularisation counts in the loss, beside one of the subject."""
    class_images: int = 0
    """Class images that the base renders before the first step, for the preservation loss."""
    resume: str = "auto"
    """auto goes on after the last checkpoint of the run folder; fresh refuses a folder that has any. The folder of a
    checkpoint, or of a run, is where a new run begins: with its adapter, optimizer, step and settings."""
    save_every: int = 250
    """Steps between checkpoints. Each is a candidate to choose from, and a run resumes from the last."""
    evaluate_every: int = 0
    """Steps between scores while training, which then ends where more bring nothing; 0 never. Costs images."""
    optimizer: OptimizerName = OptimizerName.adamw
    """prodigy finds the rate itself and wants learning_rate=1. adamw8bit needs bitsandbytes and CUDA, and saves little:
    only the adapter has optimizer state."""
    loss_type: LossType = LossType.l2
    """l2 is the usual one. huber lets large errors pull less; losses are reported as l2 all the same."""
    huber_c: float = 0.1
    """Size of an error from which huber counts it straight and no longer squared."""
    loss_weighting: LossWeighting = LossWeighting.none
    """bell counts middle noise levels most. sigma_sampling and shift do the same by drawing them more often."""
    sigma_sampling: SigmaSampling = SigmaSampling.logit_normal
    """How often each noise level is drawn, before the shift."""
    shift: float = 1.0
    """Shift of the sigmas. Above 1 draws more high ones (composition): 1 to 1.8 for likeness, 3.16 for style."""
    dynamic_shift: bool = False
    """Shift each size as the base's own sampler does: FLUX.1 by 1.6 at 256 x 256 pixels, 3.16 at 1024 x 1024."""
    logit_mean: float = 0.0
    """Mean of logit(sigma) before the shift, where sigmas are logit-normal."""
    logit_std: float = 1.0
    """Standard deviation of logit(sigma) before the shift."""
    mode_scale: float = 1.29
    """Weight of the middle in mode sampling; below 0 favours the ends."""
    beta_alpha: float = 0.6
    """Beta sampling: below 1 favours low sigmas, above 1 leaves them out."""
    beta_beta: float = 0.6
    """Beta sampling: below 1 favours high sigmas, above 1 leaves them out."""
    unshifted_share: float = 0.0
    """Share of the sigmas that are drawn without the shift: 0.3 keeps fine detail in view where the shift is large."""


@dataclass(frozen=True, kw_only=True)
class PreviewConfig:
    """Images rendered while training."""

    every: int = 250
    """Steps between previews; 0 makes none."""
    prompts: tuple[str, ...] = ()
    """Prompts, with {trigger} and {class}. Empty takes the first of the evaluation prompts."""
    seed: int = 1
    """Seed of the noise: the same each time, so that two previews differ by what was learned."""
    steps: int = 20
    """Sampling steps of one image."""
    size: int = 0
    """Width and height in pixels; 0 means data.resolution."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How checkpoints are compared."""

    adapter: str = ""
    """Another tool's LoRA to judge in place of checkpoints, in any dialect: flux-lora evaluate adapter=<file>."""
    description: str = ""
    """The subject in words, a red mug with a white band: the base draws that too, to see whether the LoRA beats it."""
    strengths: tuple[float, ...] = (1.0,)
    """Adapter strengths that each checkpoint is evaluated at."""
    checkpoints: int = 3
    """Checkpoints judged in full. All get a look first, and the less alike half is dropped until so many are left."""
    seeds: int = 2
    """Images for each prompt. More makes the confidence intervals narrower, and takes longer."""
    steps: int = 20
    """Sampling steps of one image."""
    held_out_losses: int = 10
    """How often the loss on held-out photos is measured while training; 0 never. It says whether it learns at all."""
    max_leakage: float = 0.25
    """Leakage, 0 to 1: how far images without the trigger may move. A checkpoint above it is not chosen."""
    min_adherence: float = 0.85
    """Adherence: prompt following that has to be left, as a share of the base's."""
    min_learned: float = 0.2
    """Share of images with the whole subject; below it nothing was learned."""
    min_recognised: float = 0.4
    """Share of images with the whole subject that is asked of a checkpoint to ship."""
    max_bleeding: float = 0.25
    """Class bleeding: how much of the subject may be in images of its class that do not say the trigger."""
    max_copying: float = 0.2
    """Copying: share of images that may be laid out like a training photo."""
    max_artefacts: float = 0.15
    """Artefacts: share of images that may have faults which the base's have not."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """The exported files."""

    name: str = ""
    """File name without ending. Empty means the trigger."""
    dialects: tuple[ExportDialect, ...] = (ExportDialect.diffusers,)
    """Key naming of the files. diffusers and ComfyUI both read diffusers; each further one is a file of its own."""
    dtype: ExportDtype = ExportDtype.bf16
    """Tensor dtype. bf16 is what the base computes in; fp32 doubles the file."""
    dir: str = ""
    """Output folder. Empty means export/ in the run folder."""
    file: str = ""
    """Path of the file, where there is one dialect only; it overrides dir and name."""
    author: str = ""
    """Author, for the file's metadata and the model card."""
    bundle: bool = False
    """Also write one .zip of everything in the folder."""
    push_to_hub: str = ""
    """Hugging Face repository to upload to: org/name. Only what was exported goes there."""
    public: bool = False
    """Whether a repository that is created is public; private otherwise."""
    anyway: bool = False
    """Export the nearest checkpoint although nothing was learned."""
    dry_run: bool = False
    """Show what push_to_hub would upload, and upload nothing."""


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """The machine."""

    device: Device = Device.auto
    """auto takes the GPU if there is one."""
    dtype: ComputeDtype = ComputeDtype.fp32
    """bf16 halves the base's memory, and is fast on a GPU; fp32 is faster on most CPUs."""
    quantize: Quantization = Quantization.none
    """What the base's blocks are kept in: int8 halves their bf16 memory at no loss to speak of, nf4 takes a quarter."""
    offload_modulation: bool = False
    """Keeps the modulation layers, a quarter of the weights, in host memory: a copy for each pass of the model."""
    gradient_checkpointing: bool = False
    """Recomputes activations in the backward pass: most of their memory for a third more time."""
    compile: bool = False
    """torch.compile of the blocks, after a test that they answer as before; where it fails, it is said and left off. A
    minute or two at the start. Not measured on a GPU yet."""
    encode_text_on_cpu: bool = False
    """Keeps text encoders in host memory: FLUX.1's T5 (9 GB) encodes a caption there in some seconds, FLUX.2's weights
    come to the GPU one by one. Either has left the GPU before training."""
    auto: bool = False
    """Chooses dtype, quantize, offload_modulation, gradient_checkpointing and encode_text_on_cpu for the GPU; what is
    set beside it, other than dtype, is kept."""
    gpu_gb: float = 0.0
    """Memory to choose for and to plan with, in GB as cards are sold; 0 takes that of the GPU here."""
    threads: int = 0
    """CPU threads of torch; 0 leaves torch's own choice."""


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """Experiment tracker; metrics.jsonl is always written."""

    name: TrackerName = TrackerName.none
    """Tracker by name. wandb without an account keeps its files in the run folder."""
    project: str = "flux_lora"
    """Project name that the tracker groups runs under."""


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

"""Enums: the knobs that take one of a few names."""

from enum import StrEnum


class AlphaPolicy(StrEnum):
    """What becomes of transparent images. RGB under alpha 0 is never trained on."""

    composite = "composite"
    """Composited on neutral grey."""
    varied = "varied"
    """Composited on one plain colour, another for each image, so that no background is learned."""
    mask = "mask"
    """Composited on neutral grey; alpha is the mask of the loss."""
    refuse = "refuse"


class SourceRole(StrEnum):
    """What a source of images is for."""

    subject = "subject"
    """The new subject; its captions say the trigger."""
    regularisation = "regularisation"
    """Ordinary images, which count train.prior_loss_weight; their captions do not say the trigger."""


class SubjectKind(StrEnum):
    """Kind of subject; the checks differ by it."""

    product = "product"
    character = "character"
    style = "style"
    edit = "edit"
    """Pairs of images, before and after, and what is done between them in words."""
    other = "other"


class CaptionLines(StrEnum):
    """How the lines of a caption file are read."""

    joined = "joined"
    """All lines are one caption."""
    variants = "variants"
    """Each line is a caption of its own; one of them is drawn at each exposure."""


class CropMode(StrEnum):
    """Which part of an image is kept where its aspect ratio is not its bucket's."""

    centre = "centre"
    subject = "subject"
    """The mask or, without one, the most salient part stays inside."""
    random = "random"
    """Another part for each repeat, drawn with counted randomness."""


class MaskMode(StrEnum):
    """Whether masks weight the loss."""

    auto = "auto"
    """Wherever a mask is found: name.mask.png, the mask folder, or transparency under data.alpha=mask."""
    off = "off"


class OutsideMask(StrEnum):
    """What is learned where a mask leaves an image out."""

    photo = "photo"
    """What the photo shows, with the weight of data.mask_floor."""
    base = "base"
    """What the base answers there, with the same weight: a third more time for images with a mask."""


class Severity(StrEnum):
    """Severity of a finding: an error stops training, a warning stops it under strict, a note does not."""

    error = "error"
    warning = "warning"
    note = "note"


class CheckFormat(StrEnum):
    """Output format of check."""

    text = "text"
    json = "json"
    sarif = "sarif"
    junit = "junit"


class AdapterKind(StrEnum):
    """What a layer of the adapter is. Which file can carry which: docs/files.md."""

    lora = "lora"
    """Every program reads it."""
    dora = "dora"
    """A LoRA and a length for each output (Liu et al., 2024); peft reads it."""
    lokr = "lokr"
    """A Kronecker product: a few MB; ComfyUI and Forge read it."""
    loha = "loha"
    """Two low-rank products multiplied by elements: rank * rank; ComfyUI and Forge read it."""


class AdapterTargets(StrEnum):
    """Which linear layers of the blocks get a LoRA. The patterns are in models/flux1/layers.py."""

    attention = "attention"
    attention_mlp = "attention_mlp"
    blocks_all = "blocks_all"


class OptimizerName(StrEnum):
    """Optimizers by name."""

    adamw = "adamw"
    """torch's; the rate that recipes have."""
    adamw8bit = "adamw8bit"
    """The same with its state in 8 bits."""
    adafactor = "adafactor"
    """torch's; its state is a row and a column of each tensor. Rates as AdamW's, or up to three times those."""
    muon = "muon"
    """torch's (2.9 and later); updates of even length in every direction, at rates as AdamW's."""
    lion = "lion"
    """bitsandbytes'; each number moves by the whole rate at each step, so a third to a tenth of AdamW's rates."""
    prodigy = "prodigy"
    """Finds the rate itself; train.learning_rate multiplies it and is 1."""


class Control(StrEnum):
    """Requests to a run that trains."""

    save = "save"
    """Save a checkpoint now, and go on."""
    sample = "sample"
    """Render the previews now, and go on."""
    pause = "pause"
    """Wait after the step until another request; the base stays in memory."""
    resume = "resume"
    """Go on after a pause."""
    stop = "stop"
    """Save a checkpoint and end, as Ctrl-C does."""


class LRScheduler(StrEnum):
    """Learning-rate schedules by name, after the linear warm-up."""

    constant = "constant"
    cosine = "cosine"
    """Half a wave down to 0."""
    linear = "linear"
    """A straight line down to 0."""
    rex = "rex"
    """High for long, then steeply down to 0 (Chen et al., REX, 2021)."""


class ExportDtype(StrEnum):
    """Tensor dtype of the exported file."""

    bf16 = "bf16"
    fp16 = "fp16"
    fp32 = "fp32"


class FileDtype(StrEnum):
    """Tensor dtype of a file made from other files; same takes the finest of theirs."""

    same = "same"
    bf16 = "bf16"
    fp16 = "fp16"
    fp32 = "fp32"


class ExportDialect(StrEnum):
    """Naming schemes for adapter files. Which program reads which: docs/files.md."""

    diffusers = "diffusers"
    """diffusers, old and new, and ComfyUI read all of it; Forge too."""
    comfyui = "comfyui"
    """BFL's names under diffusion_model., with alpha tensors."""
    kohya = "kohya"
    """lora_unet_ names with alpha tensors: sd-scripts, ComfyUI, Forge."""
    bfl = "bfl"
    """BFL's bare names."""
    onetrainer = "onetrainer"
    """lora_transformer_ names with alpha tensors."""
    xlabs = "xlabs"
    """XLabs' processors: attention only."""
    lycoris = "lycoris"
    """lycoris_ names: every layer type, for ComfyUI and Forge."""
    peft = "peft"
    """A folder as peft saves it."""


class PrintFormat(StrEnum):
    """Output format: text for people, json for scripts."""

    text = "text"
    json = "json"


class Device(StrEnum):
    """Device by name; auto takes the GPU if there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class ComputeDtype(StrEnum):
    """Dtype of the forward and backward pass. The adapter's own weights stay fp32."""

    fp32 = "fp32"
    bf16 = "bf16"


class Quantization(StrEnum):
    """What the frozen base's weights are kept in; they are computed with in hardware.dtype."""

    none = "none"
    """hardware.dtype itself."""
    int8 = "int8"
    """A byte for each number, with a scale for each row: as near to fp32 as computing in bf16 is."""
    nf4 = "nf4"
    """Half a byte for each number: bitsandbytes' 4 bits, twelve times as coarse as int8."""


class TrackerName(StrEnum):
    """Experiment trackers by name."""

    none = "none"
    wandb = "wandb"
    tensorboard = "tensorboard"
    trackio = "trackio"


class LossType(StrEnum):
    """How an error of the velocity counts."""

    l2 = "l2"
    huber = "huber"
    """Squared up to huber_c and straight beyond it: photos with odd spots pull less."""


class LossWeighting(StrEnum):
    """How noise levels count beside each other, beyond how often they are drawn."""

    none = "none"
    bell = "bell"
    """Most in the middle."""


class SigmaSampling(StrEnum):
    """How often each noise level is drawn in training."""

    logit_normal = "logit_normal"
    """Mostly the middle."""
    uniform = "uniform"
    """All alike."""
    mode = "mode"
    """More of the middle, with heavy tails."""
    beta = "beta"
    """More of both ends, or of one."""

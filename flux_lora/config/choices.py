"""The knobs that are a choice among a few names."""

from enum import StrEnum


class AlphaPolicy(StrEnum):
    """What happens to a picture with transparency. The hidden colour under it is never trained on."""

    composite = "composite"
    """On neutral grey."""
    varied = "varied"
    """On a plain ground of a colour of its own for each picture, so that no ground is learned."""
    mask = "mask"
    """On neutral grey, and transparent parts count for nothing in the loss."""
    refuse = "refuse"


class SourceRole(StrEnum):
    """What a source of pictures is for."""

    subject = "subject"
    """The new thing; its captions say the trigger."""
    regularisation = "regularisation"
    """Ordinary pictures that keep the base what it is; their captions do not say the trigger."""


class SubjectKind(StrEnum):
    """What is taught."""

    product = "product"
    character = "character"
    style = "style"
    other = "other"


class CaptionLines(StrEnum):
    """How the lines of a caption file are read."""

    joined = "joined"
    """All lines are one caption."""
    variants = "variants"
    """Each line is a caption of its own; one of them is drawn each time the picture is shown."""


class CropMode(StrEnum):
    """Which part of a picture stays where its shape and its bucket's differ."""

    centre = "centre"
    subject = "subject"
    """The mask or, without one, what stands out most stays inside."""
    random = "random"
    """Another part for each repeat, drawn by counted randomness."""


class MaskMode(StrEnum):
    """Whether masks weigh the loss."""

    auto = "auto"
    """Wherever a mask is found: name.mask.png, the mask folder, or transparency under data.alpha=mask."""
    off = "off"


class Severity(StrEnum):
    """How much a finding matters: an error stops training, a warning stops it under strict, a note is only said."""

    error = "error"
    warning = "warning"
    note = "note"


class CheckFormat(StrEnum):
    """How check says what it found."""

    text = "text"
    json = "json"
    sarif = "sarif"
    junit = "junit"


class AdapterTargets(StrEnum):
    """Which linear layers of the blocks learn. The patterns are in adapter/targets.py."""

    attention = "attention"
    attention_mlp = "attention_mlp"
    blocks_all = "blocks_all"


class OptimizerName(StrEnum):
    """Who turns gradients into updates."""

    adamw = "adamw"
    adamw8bit = "adamw8bit"


class LRScheduler(StrEnum):
    """How the learning rate goes on after the warm-up."""

    constant = "constant"
    cosine = "cosine"


class ExportDtype(StrEnum):
    """The number format of the exported file."""

    bf16 = "bf16"
    fp16 = "fp16"
    fp32 = "fp32"


class FileDtype(StrEnum):
    """The number format of a file that is made from other files; same takes the finest of theirs."""

    same = "same"
    bf16 = "bf16"
    fp16 = "fp16"
    fp32 = "fp32"


class ExportDialect(StrEnum):
    """What the layers of an exported file are called. Which program reads which: docs/files.md."""

    diffusers = "diffusers"
    """diffusers, old and new, and ComfyUI read all of it; Forge too."""
    comfyui = "comfyui"
    """BFL's names under diffusion_model., alpha beside."""
    kohya = "kohya"
    """lora_unet_ names, alpha beside: sd-scripts, ComfyUI, Forge."""
    bfl = "bfl"
    """BFL's bare names."""
    onetrainer = "onetrainer"
    """lora_transformer_ names, alpha beside."""
    xlabs = "xlabs"
    """XLabs' processors: attention only."""
    lycoris = "lycoris"
    """lycoris_ names: every kind of change, for ComfyUI and Forge."""
    peft = "peft"
    """A folder as peft saves it."""


class PrintFormat(StrEnum):
    """For a person or for a script."""

    text = "text"
    json = "json"


class Device(StrEnum):
    """Where the work is done; auto takes the GPU if there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class ComputeDtype(StrEnum):
    """The number format of the forward and backward pass. The adapter's own weights stay fp32."""

    fp32 = "fp32"
    bf16 = "bf16"


class TrackerName(StrEnum):
    """Who else is told about a run."""

    none = "none"
    wandb = "wandb"
    tensorboard = "tensorboard"
    trackio = "trackio"

"""The knobs that are a choice among a few names."""

from enum import StrEnum


class AlphaPolicy(StrEnum):
    """What happens to a picture with transparency."""

    composite = "composite"
    refuse = "refuse"


class AdapterTargets(StrEnum):
    """Which linear layers of the blocks learn. The patterns are in adapter/targets.py."""

    attention = "attention"
    attention_mlp = "attention_mlp"
    blocks_all = "blocks_all"


class OptimizerName(StrEnum):
    """Who turns gradients into updates."""

    adamw = "adamw"
    adamw8bit = "adamw8bit"


class Schedule(StrEnum):
    """How the learning rate goes on after the warm-up."""

    constant = "constant"
    cosine = "cosine"


class ExportDtype(StrEnum):
    """The number format of the exported file."""

    bf16 = "bf16"
    fp16 = "fp16"
    fp32 = "fp32"


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

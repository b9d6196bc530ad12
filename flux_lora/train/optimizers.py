"""Who turns gradients into updates, and how fast. The only importer of bitsandbytes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor
from torch.optim import Adafactor, AdamW, Optimizer

from flux_lora.config.choices import LRScheduler, OptimizerName
from flux_lora.config.schema import TrainConfig
from flux_lora.errors import ConfigError

BETAS = (0.9, 0.999)
LION_BETAS = (0.9, 0.99)
ABSOLUTE = 1.0
"""The least size of a tensor that Adafactor's steps are relative to: an adapter's numbers are smaller."""
Build = Callable[[Sequence[Tensor], TrainConfig], Optimizer]


def adamw(masters: Sequence[Tensor], config: TrainConfig) -> Optimizer:
    """torch's own, with its state in float32, all tensors in one kernel."""
    return AdamW(masters, lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay, fused=True)


def adamw8bit(masters: Sequence[Tensor], config: TrainConfig) -> Optimizer:
    """AdamW with its state in 8 bits."""
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise ConfigError(
            "train.optimizer is adamw8bit, and bitsandbytes is not installed",
            fix="run: pip install bitsandbytes, or set train.optimizer=adamw",
        ) from None
    return AdamW8bit(masters, lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay)


def adafactor(masters: Sequence[Tensor], config: TrainConfig) -> Optimizer:
    """torch's own, with steps as long as the rate says: relative to the tensors' size, as is its default, an adapter
    that begins at 0 would hardly begin."""
    return Adafactor(masters, lr=config.learning_rate, eps=(None, ABSOLUTE), weight_decay=config.weight_decay)


def muon(masters: Sequence[Tensor], config: TrainConfig) -> Optimizer:
    """torch's own, with updates as long as AdamW's. All tensors of an adapter are matrices."""
    try:
        from torch.optim import Muon
    except ImportError:
        raise ConfigError(
            "train.optimizer is muon, and this torch has none", fix="update torch to 2.9, or set train.optimizer=adamw"
        ) from None
    rate, decay = config.learning_rate, config.weight_decay
    return Muon(masters, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")


def lion(masters: Sequence[Tensor], config: TrainConfig) -> Optimizer:
    """Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, by bitsandbytes in float32. Every number
    moves by the whole rate at each step, so rates are a third to a tenth of AdamW's."""
    try:
        from bitsandbytes.optim import Lion
    except ImportError:
        raise ConfigError(
            "train.optimizer is lion, and bitsandbytes is not installed",
            fix="run: pip install bitsandbytes, or set train.optimizer=adamw",
        ) from None
    return Lion(masters, lr=config.learning_rate, betas=LION_BETAS, weight_decay=cast(int, config.weight_decay))


def prodigy(masters: Sequence[Tensor], config: TrainConfig) -> Optimizer:
    """Mishchenko and Defazio, "Prodigy", 2023, by its authors' package, with what they advise for diffusion models."""
    try:
        from prodigyopt import Prodigy
    except ImportError:
        raise ConfigError(
            "train.optimizer is prodigy, and prodigyopt is not installed",
            fix="run: pip install prodigyopt, or set train.optimizer=adamw",
        ) from None
    return Prodigy(
        masters,
        lr=config.learning_rate,
        weight_decay=cast(int, config.weight_decay),
        use_bias_correction=True,
        safeguard_warmup=True,
    )


OPTIMIZERS: Mapping[OptimizerName, Build] = {
    OptimizerName.adamw: adamw,
    OptimizerName.adamw8bit: adamw8bit,
    OptimizerName.adafactor: adafactor,
    OptimizerName.muon: muon,
    OptimizerName.lion: lion,
    OptimizerName.prodigy: prodigy,
}


def optimizer_for(masters: Sequence[Tensor], config: TrainConfig) -> Optimizer:
    """The optimizer of the recipe, over the float32 masters. Weight decay draws matrices to 0, and not a DoRA's
    magnitudes, which are as long as the base's rows."""
    matrices, vectors = ([each for each in masters if (each.ndim > 1) is whole] for whole in (True, False))
    optimizer = OPTIMIZERS[config.optimizer](matrices or vectors, config)
    if matrices and vectors:
        optimizer.add_param_group({"params": vectors, "weight_decay": 0.0})
    return optimizer


def step_if_finite(optimizer: Optimizer, finite: Tensor) -> None:
    """Step, unless `finite` (one truth, on the masters' device) says otherwise: then nothing moves.

    Fused optimizers ask the device themselves, by the way that torch's GradScaler goes; for the others it is waited
    for.
    """
    if optimizer.defaults.get("fused"):
        fused = cast(Any, optimizer)
        fused.grad_scale, fused.found_inf = None, (~finite).float()
        optimizer.step()
        del fused.grad_scale, fused.found_inf
    elif finite:
        optimizer.step()


def learning_rate_at(done: int, config: TrainConfig) -> float:
    """The rate of the update that follows `done` updates: linear warm-up, then the schedule's share of the peak."""
    warm = min(1.0, (done + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    way = (done - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * warm * _share_of_peak(config.lr_scheduler, min(1.0, max(0.0, way)))


def _share_of_peak(schedule: LRScheduler, way: float) -> float:
    """Of the peak rate, after this share of the steps behind the warm-up."""
    match schedule:
        case LRScheduler.constant:
            return 1.0
        case LRScheduler.cosine:
            return 0.5 * (1 + math.cos(math.pi * way))
        case LRScheduler.linear:
            return 1 - way
        case LRScheduler.rex:
            return (1 - way) / (0.5 + 0.5 * (1 - way))

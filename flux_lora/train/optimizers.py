"""Who turns gradients into updates, and how fast. The only importer of bitsandbytes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor
from torch.optim import AdamW, Optimizer

from flux_lora.config.choices import LRScheduler, OptimizerName
from flux_lora.config.schema import TrainConfig
from flux_lora.errors import ConfigError

BETAS = (0.9, 0.999)
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


OPTIMIZERS: Mapping[OptimizerName, Build] = {OptimizerName.adamw: adamw, OptimizerName.adamw8bit: adamw8bit}


def optimizer_for(masters: Sequence[Tensor], config: TrainConfig) -> Optimizer:
    """The optimizer of the recipe, over the float32 masters."""
    return OPTIMIZERS[config.optimizer](masters, config)


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
    """The rate of the update that follows `done` updates: a climb, then a cosine or a plain."""
    climb = min(1.0, (done + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.lr_scheduler is LRScheduler.constant:
        return config.learning_rate * climb
    way = (done - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * climb * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, way))))

"""The adapter in training: parameters in the model, float32 masters, accumulation and optimizer steps.

The model computes in its own dtype. Small updates would vanish in bfloat16, so the optimizer
works on float32 masters: gradients are copied up to them, and new values down. Where the model
computes in float32, the parameters are the masters. A step may follow several accumulations.

Processes that train together each add the gradients of their part of a batch. A step first makes
them those of the whole, and so all of them move by the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from flux_lora.adapter.layer_types import Adapter
from flux_lora.adapter.trainable import TrainableLayer
from flux_lora.config.schema import TrainConfig
from flux_lora.data.batches import Batch
from flux_lora.distributed.processes import ALONE, ProcessGroup
from flux_lora.flow.points import FlowPoint
from flux_lora.models.family import Velocity
from flux_lora.train.optimizers import learning_rate_at, optimizer_for, step_if_finite


@dataclass(frozen=True)
class Update:
    """What one update did. Its numbers may still be on their way: nothing has waited for them."""

    number: int
    """Updates done, this one included."""
    loss: Tensor
    grad_norm: Tensor
    """Before clipping."""
    learning_rate: float
    numbers: Tensor = field(compare=False)
    """What was handed in, summed over all processes."""


class Learner:
    """A velocity function and the parameters that make it better."""

    def __init__(
        self,
        predict: Velocity,
        start: Adapter,
        layers: Mapping[str, TrainableLayer],
        config: TrainConfig,
        group: ProcessGroup = ALONE,
        *,
        base: Velocity | None = None,
    ) -> None:
        """`start` is the float32 truth; `layers` hold its parameters inside the model that `predict` calls. `group`:
        the processes that train it together. `base` is the same model without them; it is asked where a mask leaves
        the answer to it."""
        assert set(layers) == set(start.deltas), "the model holds the adapter that starts"
        self.predict = predict
        self._base = base
        self.config = config
        self.group = group
        self.layers = {name: layers[name] for name in sorted(layers)}
        self.parameters = [parameter for layer in self.layers.values() for parameter in layer.parameters]
        self.masters = [_master(parameter) for parameter in self.parameters]
        self.optimizer = optimizer_for(self.masters, config)
        self._losses: list[Tensor] = []
        self.load(start)

    @property
    def base(self) -> Velocity:
        """The same model without the adapter."""
        assert self._base, "nobody asks a learner for its base that was not given one"
        return self._base

    @torch.no_grad()
    def answered_outside(self, batch: Batch, point: FlowPoint) -> FlowPoint:
        """The question with the base's own answer where the batch's masks leave a photo out."""
        if batch.masks is None:
            return point
        own = self.base(point.noisy, point.sigma, batch.prompt_embeds, references=batch.references).float()
        return replace(point, velocity=torch.lerp(own, point.velocity, batch.masks))

    def accumulate(self, loss: Tensor) -> None:
        """Add the gradients of `loss` (one number) to those of the next step."""
        loss.backward()
        self._losses.append(loss.detach().float())
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            assert parameter.grad is not None, "every layer of the adapter takes part in every prediction"
            if master is not parameter:
                gradient = parameter.grad.float()
                master.grad = gradient if master.grad is None else master.grad + gradient
                parameter.grad = None

    def step(self, done: int, numbers: Tensor | None = None) -> Update:
        """Move by the accumulated gradients, unless something is not finite. `done` steps were taken before.

        Nothing waits for the device: that a loss or gradient is not finite is found there, and said by the update.
        `numbers`, N, are summed over all processes on the way.
        """
        mean = torch.stack(self._losses).sum() / self.group.share.world_size
        self._losses.clear()
        known = mean[None] if numbers is None else torch.cat([mean[None], numbers])
        loss, summed = self._of_all(known).split([1, len(known) - 1])
        loss = loss[0]
        norm = get_total_norm([master.grad for master in self.masters if master.grad is not None])
        clip_grads_with_norm_(self.masters, self.config.max_grad_norm, norm)
        rate = learning_rate_at(done, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        step_if_finite(self.optimizer, torch.isfinite(loss) & torch.isfinite(norm))
        for master in self.masters:
            master.grad = None
        self._copy_to_model()
        return Update(number=done + 1, loss=loss, grad_norm=norm, learning_rate=rate, numbers=summed)

    def _of_all(self, numbers: Tensor) -> Tensor:
        """Make the gradients the mean of those of all processes, and give the sum of their `numbers`, N: one all-reduce
        of one flat float32 buffer."""
        if self.group.alone:
            return numbers
        gradients = [master.grad for master in self.masters if master.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), numbers.float()])
        self.group.add_up(flat)
        *means, summed = flat.split([*(gradient.numel() for gradient in gradients), len(numbers)])
        for master, mean in zip(self.masters, means, strict=True):
            master.grad = mean.view_as(master).div_(self.group.share.world_size)
        return summed

    def adapter(self) -> Adapter:
        """The masters as they are now, copied to the CPU."""
        copies = iter([master.detach().to("cpu", copy=True) for master in self.masters])
        return Adapter(
            {name: layer.delta([next(copies) for _ in layer.parameters]) for name, layer in self.layers.items()}
        )

    @torch.no_grad()
    def load(self, adapter: Adapter) -> None:
        """Hold this adapter's values, in the masters and in the model."""
        values = [value for name, layer in self.layers.items() for value in layer.values(adapter.deltas[name])]
        for master, value in zip(self.masters, values, strict=True):
            master.copy_(value)
        self._copy_to_model()

    @torch.no_grad()
    def _copy_to_model(self) -> None:
        if self.masters[0] is not self.parameters[0]:
            held, truth = (cast(list[Tensor], each) for each in (self.parameters, self.masters))
            torch._foreach_copy_(held, truth)  # one kernel for hundreds of tensors


def _master(parameter: nn.Parameter) -> nn.Parameter:
    if parameter.dtype == torch.float32:
        return parameter
    return nn.Parameter(parameter.detach().float())

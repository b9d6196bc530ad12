"""The adapter while it learns: parameters in the model, float32 masters, and one update at a time.

The model computes in its own dtype. Small updates would vanish in bfloat16, so the optimizer
works on float32 masters: gradients are copied up to them, and new values down. Where the model
computes in float32, the parameters are the masters.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from flux_lora.adapter.attach import Pair
from flux_lora.adapter.tensors import Adapter, LoRA
from flux_lora.config.schema import TrainConfig
from flux_lora.errors import RunError
from flux_lora.models.family import Velocity
from flux_lora.train.optimizers import learning_rate_at, optimizer_for


@dataclass(frozen=True)
class Update:
    """What one update did."""

    loss: float
    grad_norm: float
    """Before clipping."""
    learning_rate: float


class Learner:
    """A velocity function and the parameters that make it better."""

    def __init__(self, predict: Velocity, start: Adapter, pairs: Mapping[str, Pair], config: TrainConfig) -> None:
        """`start` is the float32 truth; `pairs` are its parameters inside the model that `predict` calls."""
        assert set(pairs) == set(start.layers), "the model holds the adapter that starts"
        self.predict = predict
        self.config = config
        self.names = tuple(sorted(pairs))
        self.alphas = {name: start.layers[name].alpha for name in self.names}
        self.parameters: list[nn.Parameter] = [
            parameter for name in self.names for parameter in (pairs[name].down, pairs[name].up)
        ]
        self.masters: list[nn.Parameter] = [_master(parameter) for parameter in self.parameters]
        self.optimizer = optimizer_for(self.masters, config)
        self.load(start)

    def update(self, done: int, loss: Tensor) -> Update:
        """Take the gradients of `loss` (one number) and move, unless something is not finite."""
        loss.backward()
        gradients = self._gradients()
        norm = get_total_norm(gradients)
        seen_loss, seen_norm = torch.stack([loss.detach().float(), norm.to(loss.device)]).tolist()
        self._refuse_non_finite(done + 1, seen_loss, seen_norm)
        clip_grads_with_norm_(self.masters, self.config.clip, norm)
        rate = learning_rate_at(done, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self._clear_gradients()
        self._copy_to_model()
        return Update(loss=seen_loss, grad_norm=seen_norm, learning_rate=rate)

    def adapter(self) -> Adapter:
        """The masters as they are now, copied to the CPU."""
        copies = [master.detach().to("cpu", copy=True) for master in self.masters]
        downs, ups = copies[::2], copies[1::2]
        return Adapter(
            {name: LoRA(down, up, self.alphas[name]) for name, down, up in zip(self.names, downs, ups, strict=True)}
        )

    @torch.no_grad()
    def load(self, adapter: Adapter) -> None:
        """Hold this adapter's values, in the masters and in the model."""
        layers = [adapter.layers[name] for name in self.names]
        values = [value for layer in layers for value in (layer.down, layer.up)]
        for master, value in zip(self.masters, values, strict=True):
            master.copy_(value)
        self._copy_to_model()

    def _gradients(self) -> list[Tensor]:
        gradients = []
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            assert parameter.grad is not None, "every layer of the adapter takes part in every prediction"
            if master is not parameter:
                master.grad = parameter.grad.float()
                parameter.grad = None
            assert master.grad is not None
            gradients.append(master.grad)
        return gradients

    def _refuse_non_finite(self, number: int, loss: float, norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        self._clear_gradients()
        raise RunError(
            f"step {number}: the loss is {loss:g} and the gradient's length {norm:g}; the adapter was not moved",
            fix="lower train.learning_rate, or set hardware.dtype=fp32; the last checkpoint is sound",
        )

    def _clear_gradients(self) -> None:
        for master in self.masters:
            master.grad = None

    @torch.no_grad()
    def _copy_to_model(self) -> None:
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if master is not parameter:
                parameter.copy_(master)


def _master(parameter: nn.Parameter) -> nn.Parameter:
    if parameter.dtype == torch.float32:
        return parameter
    return nn.Parameter(parameter.detach().float())

"""Whether a run learns, and not far too fast: seen after a twentieth of its steps, not when it is over.

Two sizes tell. The update as a share of the weights it is added to, |dW| / |W| over all trained layers; and how far the
base's answers about the training images moved, as a share of those answers. The second is what LEAST and MOST are of,
since it means the same on any base. On mini, 20 steps of LoRA at the demo's rate of 3e-3 moved them by 35 %, at 3e-5 by
0.7 % and at 9e-2 by 103 % (40 steps: 38, 1.7 and 100 %). bf16 alone moves them by 0.8 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flux_lora.adapter.attach import adapter_modules, without_adapter
from flux_lora.adapter.inspection import norm_of
from flux_lora.adapter.layer_types import Adapter, delta_of
from flux_lora.adapter.peft_modules import whole_weight
from flux_lora.config.choices import AdapterKind, OptimizerName
from flux_lora.config.schema import RunConfig
from flux_lora.data.batches import Batch
from flux_lora.data.cache import EncodedSample
from flux_lora.flow.points import point_at
from flux_lora.flow.randomness import generator_for
from flux_lora.models.family import Velocity, stack_prompt_embeds
from flux_lora.runs.run import Feedback
from flux_lora.train.learner import Learner

WHEN = 0.05
"""Share of the steps after which it is looked; but not before twice the warm-up."""
FEWEST_STEPS = 100
"""Of a run that is looked at."""
SIGMAS = (0.3, 0.6, 0.9)
IMAGES = 4
LEAST, MOST = 0.01, 0.7
"""Movement of the base's answers below which nothing is being learned, and above which it is destroyed."""
BANDS: dict[OptimizerName, tuple[float, float]] = {
    OptimizerName.adamw: (1.0, 1.0), OptimizerName.adamw8bit: (1.0, 1.0), OptimizerName.muon: (1.0, 1.0),
    OptimizerName.adafactor: (1.0, 3.0), OptimizerName.lion: (0.1, 1 / 3),
}  # fmt: skip
"""The ends of the rates that work, as multiples of those with AdamW. Prodigy finds its own."""
LOKR_LEARNS_LITTLE = "; with LoRA, that is: LoKr learned next to nothing there (benchmarks/results/kinds.md)"


@dataclass(frozen=True)
class Moved:
    """How far the base has been moved."""

    update: float
    """|dW| / |W|."""
    answers: float
    """Root mean square of the change of the velocity, as a share of the base's own."""


def rate_in_words(config: RunConfig) -> str:
    """The effective rate, and the band that is known to work on this base; empty where the optimizer finds it."""
    train, adapter, band = config.train, config.adapter, config.model.learning_rates
    if train.optimizer not in BANDS:
        return ""
    effective = train.learning_rate * adapter.alpha / adapter.rank
    said = f"effective rate {effective:.1e} (train.learning_rate * adapter.alpha / adapter.rank)"
    if len(band) != 2:
        return said
    low, high = (end * times for end, times in zip(band, BANDS[train.optimizer], strict=True))
    where = "below" if effective < low else "above" if effective > high else "within"
    said += f", {where} the {low:.1e} to {high:.1e} known to work with {train.optimizer} on {config.model.name}"
    return f"{said}{LOKR_LEARNS_LITTLE}" if adapter.kind is AdapterKind.lokr else said


class LearningCheck:
    """Looks once, and says what it saw. Training's own random numbers are not touched."""

    def __init__(
        self, config: RunConfig, samples: Sequence[EncodedSample], transformer: nn.Module, feedback: Feedback
    ) -> None:
        steps, warmup = config.train.steps, config.train.warmup_steps
        self._step = max(round(WHEN * steps), 2 * warmup) if steps >= FEWEST_STEPS else 0
        self._samples, self._transformer, self._feedback = samples[:IMAGES], transformer, feedback

    def due(self, number: int) -> bool:
        """Whether this is the step after which it looks."""
        return number == self._step

    def after(self, number: int, learner: Learner) -> dict[str, float]:
        """Look if it is time; what trackers get."""
        if not self.due(number):
            return {}
        moved = moved_by(learner, self._samples, self._transformer)
        self._feedback.say(moved_in_words(moved, number))
        return {"relative_update": moved.update, "answers_moved": moved.answers}


def moved_in_words(moved: Moved, step: int) -> str:
    """Both sizes, and what to do where they are far off."""
    said = (
        f"after {step} steps the update is {moved.update:.2%} of the weights it changes, "
        f"and the base's answers moved by {moved.answers:.2%}"
    )
    if moved.answers < LEAST:
        return f"{said}: nothing is being learned; raise train.learning_rate, ten times or more"
    if not moved.answers <= MOST:
        return f"{said}: far too fast, the base is being destroyed; lower train.learning_rate, ten times or more"
    return said


@torch.no_grad()
def moved_by(learner: Learner, samples: Sequence[EncodedSample], transformer: nn.Module) -> Moved:
    """What the adapter as it is now does to the base."""
    parameter = learner.parameters[0]
    questions = [_question(number, sample) for number, sample in enumerate(samples)]
    base = without_adapter(transformer, learner.predict)
    with_it, without = (
        [_answer(predict, each, noise, parameter) for each, noise in questions] for predict in (learner.predict, base)
    )
    change = sum(float((one - other).square().mean()) for one, other in zip(with_it, without, strict=True))
    whole = sum(float(one.square().mean()) for one in without)
    return Moved(relative_update(transformer, learner.adapter()), (change / whole) ** 0.5)


def relative_update(transformer: nn.Module, adapter: Adapter) -> float:
    """|dW| / |W|, Frobenius norms over all layers of the adapter, which the transformer holds."""
    weights = updates = 0.0
    for name, module in adapter_modules(transformer).items():
        base, delta = module.get_base_layer(), adapter.deltas[name]
        assert isinstance(base, nn.Linear), "only linear layers are trained"
        weight_OI = whole_weight(base)
        known = norm_of(delta)
        norm = float(delta_of(delta, weight_OI.cpu()).norm()) if known is None else known
        weights, updates = weights + float(weight_OI.square().sum()), updates + norm**2
    return (updates / weights) ** 0.5


def _question(number: int, sample: EncodedSample) -> tuple[Batch, Tensor]:
    """An image at each of SIGMAS, and its noise, BCHW."""
    latents = sample.latent[None].expand(len(SIGMAS), -1, -1, -1)
    noise = torch.randn(latents.shape, generator=generator_for(0, number, "learning check"))
    references = tuple(each[None].expand(len(SIGMAS), -1, -1, -1) for each in sample.references)
    return Batch(latents, stack_prompt_embeds([sample.prompt_embeds[0]] * len(SIGMAS)), references=references), noise


def _answer(predict: Velocity, batch: Batch, noise: Tensor, place: Tensor) -> Tensor:
    """The velocity, BCHW, in float32."""
    batch = batch.to(place.device, place.dtype)
    point = point_at(batch.latents, noise.to(place), torch.tensor(SIGMAS))
    return predict(point.noisy, point.sigma, batch.prompt_embeds, references=batch.references).float()

"""The held-out loss of a run while it trains: measured a few times, kept in held_out_loss.jsonl, said as it comes."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from flux_lora.atomic import write_text
from flux_lora.data.batches import Batch
from flux_lora.data.cache import EncodedDataset, EncodedSample
from flux_lora.evaluate.held_out_loss import SIGMAS, LossTable, expected_loss, fall, fall_in_words, read_tables
from flux_lora.flow.points import point_at
from flux_lora.flow.randomness import generator_for
from flux_lora.models.family import Velocity, stack_prompt_embeds
from flux_lora.runs.run import Run
from flux_lora.train.learner import Learner
from flux_lora.train.loss import flow_loss

EARLY = 0.15
"""Share of the steps after which a loss that has not clearly fallen is worth a word."""


class HeldOutLoss:
    """Measures at step 0 and then evaluate.held_out_losses times. Training's own random numbers are not touched."""

    def __init__(self, run: Run, photos: EncodedDataset, learner: Learner, *, start: int) -> None:
        self._run, self._photos, self._predict = run, photos, learner.predict
        self._names = tuple(f"{keys.latent} {keys.texts[0]}" for keys in photos.keys)
        steps, times = run.config.train.steps, run.config.evaluate.held_out_losses
        self._every = max(1, steps // times) if times and len(photos) > 1 else 0
        self._file = run.folder.held_out_loss
        before = [table for table in read_tables(self._file) if table.step <= start]
        self._tables = [table for table in before if self._is_of_these(table)]
        self._warned = start > EARLY * steps
        if not self._every or self._tables:
            return
        if before:
            run.feedback.say("the held-out photos are others than before: their loss is compared with the base's anew")
        if before or start == 0:
            self._keep(self._measured(0, learner.base))

    def _is_of_these(self, table: LossTable) -> bool:
        return table.photos == self._names if table.photos else len(table.losses) == len(self._photos)

    @property
    def expected(self) -> Callable[[Tensor], Tensor] | None:
        """The base's loss at a sigma; None where it was not measured."""
        return expected_loss(self._tables[0]) if self._tables else None

    def due(self, step: int) -> bool:
        """Whether it is time to measure."""
        if not self._every or not self._tables:
            return False
        return step % self._every == 0 or step == self._run.config.train.steps

    def after(self, step: int) -> dict[str, float]:
        """Measure if it is time; what trackers get."""
        if not self.due(step):
            return {}
        table, base, last = self._measured(step, self._predict), self._tables[0], self._tables[-1]
        self._keep(table)
        found = fall(table, base)
        self._run.feedback.say(fall_in_words(table, base, last))
        if not self._warned and step >= EARLY * self._run.config.train.steps:
            self._warned = True
            if found.low <= 0:
                self._run.feedback.say(
                    f"after {step} steps the held-out photos are not clearly better predicted than by the base: "
                    "see that captions say the trigger, or raise train.learning_rate"
                )
        return {"held_out_loss": float(table.losses.mean()), "held_out_fall": found.value}

    def _keep(self, table: LossTable) -> None:
        self._tables.append(table)
        text = "".join(f"{each.to_json()}\n" for each in self._tables)
        write_text(text, self._file)

    def _measured(self, step: int, predict: Velocity) -> LossTable:
        losses = [
            losses_at(SIGMAS, photo, predict, generator_for(0, number, "held-out loss"), self._run)
            for number, photo in enumerate(self._photos)
        ]
        return LossTable(step, torch.stack(losses), self._names)


@torch.no_grad()
def losses_at(sigmas: Sequence[float], photo: EncodedSample, predict: Velocity, noise: Generator, run: Run) -> Tensor:
    """The flow loss of a photo at each sigma with its first caption, S on the CPU; where it has a mask, weighed as in
    training."""
    latents = photo.latent[None].expand(len(sigmas), -1, -1, -1)
    floor, weights = run.config.data.mask_floor, None
    if photo.mask is not None:
        weights = (floor + (1 - floor) * photo.mask.float()).expand(len(sigmas), -1, -1, -1)
    embeds = stack_prompt_embeds([photo.prompt_embeds[0]] * len(sigmas))
    references = tuple(each[None].expand(len(sigmas), -1, -1, -1) for each in photo.references)
    batch = Batch(latents, embeds, loss_weights=weights, references=references).to(run.device.device, run.device.dtype)
    end = torch.randn(latents.shape, generator=noise).to(run.device.device)
    return flow_loss(predict, batch, point_at(batch.latents, end, torch.tensor(sigmas))).cpu()

"""Steps whose loss or gradient is not finite: what they were asked is written down, and so many may be skipped."""

import math

from flux_lora.errors import RunError
from flux_lora.runs.encoding import PreparedRun
from flux_lora.runs.folder import write_json
from flux_lora.runs.run import Run
from flux_lora.train.loop import Step


class NonFiniteSteps:
    """Counts them over the whole run, those before this command among them. The adapter did not move in any."""

    def __init__(self, run: Run, prepared: PreparedRun, *, start: int) -> None:
        self._run, self._shown = run, [one.sample for one in prepared.dataset.planned.prepared]
        before = [file.stem.removeprefix("step-") for file in run.folder.non_finite.glob("step-*.json")]
        self._count = sum(number.isdecimal() and int(number) <= start for number in before)

    def look_at(self, step: Step) -> None:
        """Raises RunError at the first one that is more than train.max_skipped_steps."""
        if step.finite:
            return
        self._count += 1
        file = self._run.folder.non_finite / f"step-{step.number:06d}.json"
        write_json(self._asked(step), file)
        names = ", ".join(self._shown[number].image.name for number in step.samples)
        allowed = self._run.config.train.max_skipped_steps
        problem = (
            f"step {step.number}: the loss is {step.loss:g} and the gradient's length {step.grad_norm:g}; the adapter "
            f"was not moved. It was asked about {names}: see {file}"
        )
        if self._count <= allowed:
            self._run.feedback.say(f"{problem}; skipped, {self._count} of {allowed} that may be")
            return
        raise RunError(
            problem,
            fix="lower train.learning_rate, or set hardware.dtype=fp32; the last checkpoint is sound. "
            f"train.max_skipped_steps={self._count} skips such a step",
        )

    def _asked(self, step: Step) -> dict[str, object]:
        train, told = self._run.config.train, zip(step.samples, step.sigmas, step.sample_losses, strict=True)
        together = train.gradient_accumulation_steps
        return {
            "step": step.number,
            "seed": train.seed,
            "batches": list(range((step.number - 1) * together, step.number * together)),
            "learning_rate": step.learning_rate,
            "loss": _number(step.loss),
            "grad_norm": _number(step.grad_norm),
            "images": [
                {
                    "file": str(self._shown[number].image),
                    "captions": list(self._shown[number].captions),
                    "sigma": sigma,
                    "loss": _number(loss),
                }
                for number, sigma, loss in told
            ],
        }


def _number(value: float) -> float | str:
    """JSON has no other."""
    return value if math.isfinite(value) else str(value)

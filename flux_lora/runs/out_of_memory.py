"""What a run that did not fit its GPU is told: which setting buys how much, by the plan's numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from flux_lora.config.schema import HardwareConfig
from flux_lora.errors import RunError
from flux_lora.runs.auto_hardware import planner_of, smaller_recipes, ways_that_train
from flux_lora.runs.plan import GIB, Planner, Way
from flux_lora.runs.resume import decides_the_steps
from flux_lora.runs.run import Run

GOES_ON = "the same command goes on from the last checkpoint, with one of these:"
BEGINS_AGAIN = "it begins again in a new run.dir, with one of these:"


@contextmanager
def memory_in_words(run: Run) -> Iterator[None]:
    """Raises RunError in place of CUDA's own complaint, which names no setting."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise out_of_memory(planner_of(run.config), way_of(run.config.hardware), _card()) from error


@contextmanager
def judging_memory_in_words() -> Iterator[None]:
    """The same of an evaluation: what was trained is there, and is judged again by a command of its own."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"the GPU's {_card():.1f} GB did not hold the evaluation; other programs on the card count, too",
            fix="free the card, or judge on a coarser base: flux-lora evaluate run=<dir> hardware.quantize=int8",
        ) from error


def _card() -> float:
    """GiB of the GPU that is computed on."""
    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / GIB


def way_of(hardware: HardwareConfig) -> Way:
    """How this recipe keeps the base."""
    return Way(hardware.quantize, hardware.offload_modulation, hardware.gradient_checkpointing)


def out_of_memory(planner: Planner, way: Way, card: float) -> RunError:
    """Every change that takes less, the least of what it costs first, with the peak that the plan counts for it."""
    plan = planner.plan(way)
    bought: dict[str, list[str]] = {GOES_ON: [], BEGINS_AGAIN: []}
    for changes, peak in _cheaper(planner, way, plan.peak.bytes):
        another_run = any(decides_the_steps(word.partition("=")[0]) for word in changes)
        bought[BEGINS_AGAIN if another_run else GOES_ON].append(f"{' '.join(changes)}: {peak / GIB:.1f} GB")
    told = ["\n       ".join((head, *lines)) for head, lines in bought.items() if lines]
    return RunError(
        f"the GPU's {card:.1f} GB did not hold this run, which was planned to take {plan.peak.bytes / GIB:.1f} "
        f"({plan.peak.name}); other programs on the card count, too",
        fix="\n     ".join(told) or "take a smaller base, or a larger card",
    )


def _cheaper(planner: Planner, way: Way, now: float) -> Iterator[tuple[tuple[str, ...], float]]:
    for other in ways_that_train(planner):
        changes = tuple(word for word in other.overrides if word not in way.overrides)
        if changes and (peak := planner.plan(other).peak.bytes) < now:
            yield changes, peak
    for words, smaller in smaller_recipes(planner.config):
        if (peak := planner_of(smaller).plan(way).peak.bytes) < now:
            yield words, peak

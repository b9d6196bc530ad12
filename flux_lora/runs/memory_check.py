"""Before step 0: one step on the largest bucket and one preview, and their memory beside the planned.

What has no room is found here, and not when that bucket or the first preview comes by. Nothing of it is kept: the step
is taken by a learner of its own, and the one that trains begins after it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from flux_lora.data.batches import BatchOptions, Groups, apart_by_traits, batch_at
from flux_lora.errors import RunError
from flux_lora.flow.points import Draw
from flux_lora.models.family import Pipeline
from flux_lora.runs.auto_hardware import ways_that_train
from flux_lora.runs.encoding import PreparedRun
from flux_lora.runs.out_of_memory import way_of
from flux_lora.runs.plan import CONTEXT, GIB, Plan, Planner, Way, planner_for
from flux_lora.runs.previews import previews_of
from flux_lora.runs.run import Run
from flux_lora.train.learner import Learner
from flux_lora.train.loop import launched_steps

SIDE = 64
"""Pixels that a smaller resolution is a multiple of."""
MUCH_MORE = 1.05
"""Of the planned memory; above it the plan is called wrong."""


@dataclass(frozen=True)
class Memory:
    """Of a GPU, in bytes."""

    peak: float
    """Most that tensors took, and CUDA itself."""
    held: float
    """Most that was held of it, for tensors or for the next ones."""
    card: float
    """All that it has."""

    @property
    def spills(self) -> bool:
        """Whether more is held than there is: a driver may put the rest into system memory instead of refusing."""
        return self.held > self.card


class Meter(Protocol):
    """What measures."""

    def begin(self) -> None:
        """Forget what was before."""
        ...

    def read(self) -> Memory:
        """Of what was done since."""
        ...


class GpuMeter:
    """torch's own counts."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> None:
        """With nothing held that is not used."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)

    def read(self) -> Memory:
        """Since begin."""
        return Memory(
            peak=torch.cuda.max_memory_allocated(self._device) + CONTEXT,
            held=torch.cuda.max_memory_reserved(self._device) + CONTEXT,
            card=float(torch.cuda.get_device_properties(self._device).total_memory),
        )


def meter_of(device: torch.device) -> Meter | None:
    """Of a GPU; a CPU has none, and no need: what it lacks is told by its system."""
    return GpuMeter(device) if device.type == "cuda" else None


def check_memory(run: Run, works: Sequence[Callable[[], None]], meter: Meter) -> None:
    """Do the works, and say what they took beside what was planned. Raises RunError where one has no room."""
    planner = planner_for(run.config, run.family, run.source)
    way = way_of(run.config.hardware)
    meter.begin()
    try:
        for work in works:
            work()
    except torch.OutOfMemoryError as error:
        taken = meter.read()
        raise RunError(
            f"a step on the largest images, or a preview, has no room in {taken.card / GIB:.1f} GB",
            fix=_way_out(planner, way),
        ) from error
    for line in memory_in_words(meter.read(), planner.plan(way), _way_out(planner, way)):
        run.feedback.say(line)


def memory_in_words(taken: Memory, plan: Plan, way_out: str) -> Iterator[str]:
    """What was taken and planned; then what is wrong with it."""
    planned = max(stage.bytes for stage in plan.stages if stage.name != "encode")
    yield (
        f"memory: a step on the largest images and a preview take {taken.peak / GIB:.1f} GB, "
        f"{planned / GIB:.1f} were planned, {taken.card / GIB:.1f} are here"
    )
    if taken.spills:
        yield f"memory: the driver keeps a part of it in system memory, and steps take many times as long: {way_out}"
    elif taken.peak > MUCH_MORE * planned:
        yield f"memory: that is {taken.peak / planned - 1:.0%} more than planned; hardware.gpu_gb plans for less"


def _way_out(planner: Planner, way: Way) -> str:
    """The first way that takes less, else fewer pixels."""
    now, side = planner.plan(way).peak.bytes, planner.config.data.resolution // SIDE * 3 // 4 * SIDE
    less = next((each for each in ways_that_train(planner) if planner.plan(each).peak.bytes < now), None)
    changes = " ".join(less.overrides) if less else f"data.resolution={side}"
    return f"begin again, in a new run.dir, with {changes}"


def largest_batch(groups: Groups, sides: Sequence[tuple[int, int]], batch_size: int) -> Groups:
    """The group whose batches have most pixels, alone. `sides` are width and height of each sample."""

    def pixels(group: tuple[int, ...]) -> int:
        width, height = sides[group[0]]
        return width * height * min(len(group), batch_size)

    return (max(groups, key=pixels),)


def step_on_largest(prepared: PreparedRun, options: BatchOptions, draw: Draw, learner: Learner) -> None:
    """One update on the batch with most pixels."""
    planned = prepared.dataset.planned
    sides = [(one.bucket.width, one.bucket.height) for one in planned.prepared]
    groups = largest_batch(apart_by_traits(planned.groups, prepared.encoded.traits()), sides, options.batch_size)
    batch = batch_at(prepared.encoded, prepared.empty, options, groups, 0)
    several = iter([batch] * learner.config.gradient_accumulation_steps)
    for launched in launched_steps(learner, several, draw):
        launched.read()


def one_preview(run: Run, prepared: PreparedRun, pipeline: Pipeline) -> None:
    """The first one, in one step; it is thrown away."""
    previews_of(run, prepared)[0].tried(pipeline)

"""What one step costs besides its arithmetic: ours beside the diffusers script's, on one CPU thread.

    python -m benchmarks.step            # prints the tables
    python -m benchmarks.step --write    # and keeps them under benchmarks/results/

The steps take turns in one run, so that a busy machine is as busy for each of them.
"""

import argparse
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import process_time

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.ground import (
    NARROW,
    RANK,
    TARGETS,
    Case,
    OurStep,
    Way,
    described,
    mini_numbers,
    publish,
    random_flux,
    table,
    today,
)
from benchmarks.script_step import ScriptStep

CPU = torch.device("cpu")
COLUMNS = ("step", "CPU s", "x ours", "kernels, whole step", "kernels, loss and gradients", "saved for backward, MiB")
ALLOCATIONS = ("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::new_empty_strided")
MIB = 2**20
OURS = "ours"


@dataclass(frozen=True)
class Cost:
    """What one step takes."""

    seconds: float
    """CPU time, the median."""
    ratio: float
    """To ours in the same turn, the median."""
    kernels: int
    """Of a whole step."""
    kernels_of_loss: int
    """Of the loss and its gradients alone."""
    saved_mib: float
    """Kept from forward to backward, weights not counted."""


class Kernels(TorchDispatchMode):
    """Counts the operators that do work: no views, no bare allocations. Each is a launch on a GPU."""

    def __init__(self) -> None:
        """Starts at none."""
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001  (torch's own signature)
        """Let it run, and count it."""
        self.count += not (func.is_view or func.name().split(".")[0] in ALLOCATIONS)
        return func(*args, **(kwargs or {}))


class Saved:
    """Adds up what autograd keeps, each piece of memory once."""

    def __init__(self, transformer: FluxTransformer2DModel) -> None:
        """The transformer's own weights are there anyway."""
        self._weights = {parameter.untyped_storage().data_ptr() for parameter in transformer.parameters()}
        self._sizes: dict[int, int] = {}

    def keep(self, tensor: Tensor) -> Tensor:
        """Hears of a tensor that backward will want."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights:
            self._sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def mib(self) -> float:
        """The sum."""
        return sum(self._sizes.values()) / MIB


def measure(case: Case, rounds: int) -> dict[str, Cost]:
    """The cost of each way, by name."""
    ways: dict[str, Way] = {}
    counts: dict[str, tuple[int, int, float]] = {}
    for name, build in ways_for(case).items():
        transformer = random_flux(case.numbers, case.dtype, CPU)
        ways[name] = build(transformer)
        counts[name] = _counted(transformer, ways[name])
    turns = [{name: _cpu_seconds(way) for name, way in ways.items()} for _ in range(rounds)]
    return {
        name: Cost(
            median(turn[name] for turn in turns), median(turn[name] / turn[OURS] for turn in turns), *counts[name]
        )
        for name in ways
    }


def ways_for(case: Case) -> Mapping[str, Callable[[FluxTransformer2DModel], Way]]:
    """The steps that take turns, in their order. The script mixes precisions only where the base is not float32."""
    autocast = case.dtype is not torch.float32
    script = f"script, mixed_precision={'bf16' if autocast else 'no'}"
    return {
        OURS: lambda transformer: OurStep(transformer, case),
        f"{script}, checkpointing": lambda transformer: ScriptStep(transformer, case, autocast=autocast),
        script: lambda transformer: ScriptStep(transformer, case, autocast=autocast, checkpointing=False),
    }


def page(cases: Mapping[str, Case], rounds: int) -> str:
    """All tables, with what a reader has to know of the machine."""
    before = os.getloadavg()[0]
    tables = [f"## {title}\n\n{described(case)}\n\n{_rows(measure(case, rounds))}\n" for title, case in cases.items()]
    return "\n".join([_heading(rounds, before), *tables])


def _rows(costs: Mapping[str, Cost]) -> str:
    rows = [
        (
            name,
            f"{cost.seconds:.3f}",
            f"{cost.ratio:.2f}",
            f"{cost.kernels}",
            f"{cost.kernels_of_loss}",
            f"{cost.saved_mib:.1f}",
        )
        for name, cost in costs.items()
    ]
    return table(COLUMNS, rows)


def _heading(rounds: int, busy: float) -> str:
    return f"""# One step on a CPU, {today()}

`python -m benchmarks.step`: {platform.machine()}, {os.cpu_count()} CPUs, one thread, torch {torch.__version__}.
Load average {busy:.1f} at the start and {os.getloadavg()[0]:.1f} at the end: above {os.cpu_count()}, the machine
was busy with other work. The steps took turns in one run ({rounds} turns, medians), so the ratios hold better than
the seconds, which are CPU time. Kernels and bytes are counted, and do not depend on how busy it is.
They are a CPU's: there autocast leaves the norms in bf16, on CUDA it takes them to float32, so what autocast costs
on a GPU (bytes above all) does not show here.

Both train rank {RANK} on the same layers (our `{TARGETS}`), from cached latents and text. The script's
adapter is in the base's dtype; ours has float32 masters. On a CPU the script's AdamW runs parameter by
parameter and ours is fused; "loss and gradients" leaves both out. Our next batch is made by another thread, whose
kernels are not counted.
"""


def _counted(transformer: FluxTransformer2DModel, way: Way) -> tuple[int, int, float]:
    """The first step is not counted: it makes the optimizer's state."""
    way.step()
    with Kernels() as whole:
        way.step()
    saved = Saved(transformer)
    with Kernels() as part:
        with saved_tensors_hooks(saved.keep, lambda tensor: tensor):
            loss = way.loss()
        loss.backward()
    transformer.zero_grad()
    return whole.count, part.count, saved.mib


def _cpu_seconds(way: Way) -> float:
    began = process_time()
    way.step()
    return process_time() - began


def main() -> None:
    """Measure, print, and keep the page if asked to."""
    parser = argparse.ArgumentParser(description="our step beside the diffusers script's, on one CPU thread")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each step (default 7)")
    parser.add_argument("--write", action="store_true", help="keep the tables under benchmarks/results/")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    mini = Case(mini_numbers(), pixels=128, text_tokens=32, batch_size=4, dtype=torch.float32)
    narrow = Case(NARROW, pixels=128, text_tokens=32, batch_size=1, dtype=torch.bfloat16)
    text = page({"The mini base, as `recipe=demo` trains it": mini, "57 narrow blocks": narrow}, asked.rounds)
    print(text)
    if asked.write:
        publish(text, "step", f"{platform.machine()}-{os.cpu_count()}cpu")


if __name__ == "__main__":
    main()

"""How near a GPU comes to its limit: seconds, memory and useful work of one step on a 12B FLUX of random weights.

    python -m benchmarks.gpu --write    # on a machine with one NVIDIA GPU of 40 GB or more
    python -m benchmarks.gpu --small    # the same program on a tiny FLUX, on the CPU

Useful work is what the step needs where nothing is computed twice: recomputing for checkpointing
makes a step slower, and earns nothing here. The limit is that work at the rate of a large bf16 matrix product.

Shape letters: S tokens (text and image), D width.
"""

import argparse
import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from statistics import median
from time import perf_counter

import torch
from diffusers import FluxTransformer2DModel

from benchmarks.ground import (
    FLUX_DEV,
    NARROW,
    PIXELS_PER_TOKEN,
    RANK,
    TARGETS,
    Case,
    Numbers,
    OurStep,
    Way,
    described,
    int_of,
    publish,
    quantised,
    random_flux,
    table,
    today,
)
from benchmarks.script_step import ScriptStep
from flux_lora.adapter.attach import detach
from flux_lora.config.choices import Quantization
from flux_lora.config.compose import compose_config
from flux_lora.runs import plan
from flux_lora.runs.auto_hardware import planner_of
from flux_lora.runs.plan import CONTEXT, GIB

COLUMNS = ("step", "s", "peak, GiB", "planned, GiB", "useful TFLOP/s", "share of the limit")
RATES_TFLOPS: Mapping[str, float] = {"H200": 790} | {
    name: plan.CARDS[name][1] for name in ("H100", "A100", "RTX 5090", "RTX 4090")
}
"""Dense bf16, as published or measured on a large product. Another GPU is measured on the spot."""

WARM_UP = 3
TERA = 1e12
LINEAR, ATTENTION = 24, 4
"""FLOPs of one block's forward: 24 D^2 for each token, 4 S^2 D in all. The same for double and single blocks."""
LINEAR_STEP, ATTENTION_STEP = 2.0, 3.5
"""Forward and backward, in forwards: frozen weights want no gradient of their own; flash attention recomputes once."""


@dataclass(frozen=True)
class Size:
    """What to build, and which images to show it."""

    numbers: Numbers
    sides: tuple[int, ...]
    """Pixels of square images."""
    text_tokens: int
    matmul: int
    """Side of the product that measures the machine's rate."""


FLUX = Size(FLUX_DEV, sides=(512, 1024), text_tokens=512, matmul=8192)
SMALL = Size({**NARROW, "num_layers": 1, "num_single_layers": 2}, sides=(32, 64), text_tokens=16, matmul=256)


@dataclass(frozen=True)
class Cost:
    """What one step takes."""

    seconds: float
    peak_gib: float


def forward_flops(numbers: Numbers, tokens: int) -> float:
    """Of the base at batch 1. The embedders and the modulation (0.03 %) and the adapter (0.2 %) are left out."""
    linear, attention = _flops(numbers, tokens)
    return linear + attention


def step_flops(numbers: Numbers, tokens: int) -> float:
    """Forward and backward of a step that computes nothing twice."""
    linear, attention = _flops(numbers, tokens)
    return LINEAR_STEP * linear + ATTENTION_STEP * attention


def _flops(numbers: Numbers, tokens: int) -> tuple[float, float]:
    blocks = int_of(numbers, "num_layers") + int_of(numbers, "num_single_layers")
    D = int_of(numbers, "attention_head_dim") * int_of(numbers, "num_attention_heads")
    return blocks * LINEAR * D * D * tokens, blocks * ATTENTION * tokens * tokens * D


def page(size: Size, device: torch.device, *, steps: int) -> str:
    """All tables. The weights are drawn once; each step attaches its own adapter and leaves."""
    measured = matmul_tflops(device, size.matmul)
    known = [rate for name, rate in RATES_TFLOPS.items() if name in device_name(device)]
    rate = known[0] if known else measured
    cases = [_case(size, side) for side in size.sides]
    rows: list[list[tuple[str, ...]]] = [[] for _ in cases]
    for how in Quantization:
        if how is not Quantization.nf4 or find_spec("bitsandbytes"):
            transformer = random_flux(size.numbers, torch.bfloat16, device)
            if how is not Quantization.none:
                transformer = quantised(transformer, how)
            for of_case, case in zip(rows, cases, strict=True):
                of_case += _rows(transformer, case, rate, steps, how)
            del transformer
            _empty(device)
    tables = [_table(case, rate, of_case) for case, of_case in zip(cases, rows, strict=True)]
    return "\n".join([_heading(device, measured, rate, steps), *tables])


def _case(size: Size, side: int) -> Case:
    return Case(size.numbers, pixels=side, text_tokens=size.text_tokens, batch_size=1, dtype=torch.bfloat16)


def _useful(case: Case) -> float:
    """TFLOP of one step that computes nothing twice."""
    tokens = case.text_tokens + (case.pixels // PIXELS_PER_TOKEN) ** 2
    return step_flops(case.numbers, tokens) / TERA


def _rows(
    transformer: FluxTransformer2DModel, case: Case, rate: float, steps: int, how: Quantization
) -> Iterator[tuple[str, ...]]:
    for name, build in ways_for(case, how).items():
        cost = cost_of(transformer, build, steps)
        yield (name, *_cells(cost, _planned(case, how, "checkpointing" in name), _useful(case), rate))


def _planned(case: Case, how: Quantization, checkpointing: bool) -> str:
    """What `flux-lora plan` says of the step, less what CUDA takes beside the allocator; for FLUX.1-dev only."""
    if case.numbers is not FLUX_DEV:
        return ""
    train = _planner(case.pixels).plan(plan.Way(how, gradient_checkpointing=checkpointing)).stage("train")
    return f"{(train.bytes - CONTEXT) / GIB:.1f}"


@cache
def _planner(pixels: int) -> plan.Planner:
    """Of the step that is measured."""
    words = ["recipe=product", "data.folder=photos", "data.trigger=zorb", "data.class_word=mug", "train.batch_size=1"]
    words += [f"data.resolution={pixels}", f"adapter.rank={RANK}", f"adapter.targets={TARGETS}"]
    return planner_of(compose_config(words))


def _table(case: Case, rate: float, rows: Sequence[tuple[str, ...]]) -> str:
    useful = _useful(case)
    limit = f"{useful:.4g} TFLOP of useful work, {useful / rate:.4g} s at {rate:.4g} TFLOP/s"
    return f"## {case.pixels} x {case.pixels}\n\n{described(case)}. {limit}.\n\n{table(COLUMNS, rows)}\n"


def _cells(cost: Cost | None, planned: str, useful: float, rate: float) -> tuple[str, ...]:
    if cost is None:
        return "out of memory", "", planned, "", ""
    speed = useful / cost.seconds
    peak = f"{cost.peak_gib:.1f}" if cost.peak_gib else "not measured"
    return f"{cost.seconds:.4f}", peak, planned, f"{speed:.4g}", f"{speed / rate:.1%}"


def ways_for(case: Case, how: Quantization) -> Mapping[str, Callable[[FluxTransformer2DModel], Way]]:
    """The steps, each on a transformer without an adapter."""
    if how is not Quantization.none:
        return {
            f"ours, {how.value}": lambda transformer: OurStep(transformer, case),
            f"ours, {how.value}, checkpointing": lambda transformer: OurStep(transformer, case, checkpointing=True),
        }
    return {
        "ours": lambda transformer: OurStep(transformer, case),
        "ours, checkpointing": lambda transformer: OurStep(transformer, case, checkpointing=True),
        "script, checkpointing": lambda transformer: ScriptStep(transformer, case),
        "script": lambda transformer: ScriptStep(transformer, case, checkpointing=False),
    }


def cost_of(
    transformer: FluxTransformer2DModel, build: Callable[[FluxTransformer2DModel], Way], steps: int
) -> Cost | None:
    """Median seconds and peak memory, weights included; None where memory ran out. The transformer is left bare."""
    _forget(transformer)
    try:
        return _measured(build(transformer), transformer.device, steps)
    except torch.OutOfMemoryError:
        return None
    finally:
        _forget(transformer)


def _measured(way: Way, device: torch.device, steps: int) -> Cost:
    for _ in range(WARM_UP):
        way.step()
    if device.type != "cuda":
        return Cost(median(_cpu_seconds(way, steps)), 0.0)
    torch.cuda.reset_peak_memory_stats(device)
    seconds = median(_gpu_seconds(way, steps))
    return Cost(seconds, torch.cuda.max_memory_allocated(device) / GIB)


def _gpu_seconds(way: Way, steps: int) -> list[float]:
    """From event to event, so that what the CPU does between steps counts too."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        way.step()
        event.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) / 1000 for start, end in zip(events, events[1:], strict=False)]


def _cpu_seconds(way: Way, steps: int) -> Iterator[float]:
    for _ in range(steps):
        began = perf_counter()
        way.step()
        yield perf_counter() - began


def _forget(transformer: FluxTransformer2DModel) -> None:
    detach(transformer)
    transformer.disable_gradient_checkpointing()
    transformer.eval()
    _empty(transformer.device)


def _empty(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def matmul_tflops(device: torch.device, side: int, repeats: int = 20) -> float:
    """What this machine reaches on one large bf16 product."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(WARM_UP):
        torch.mm(left, right)
    _wait(device)
    began = perf_counter()
    for _ in range(repeats):
        torch.mm(left, right)
    _wait(device)
    return 2 * side**3 * repeats / (perf_counter() - began) / TERA


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_name(device: torch.device) -> str:
    """As the maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _heading(device: torch.device, measured: float, rate: float, steps: int) -> str:
    return f"""# One step on {device_name(device)}, {today()}

`python -m benchmarks.gpu`: torch {torch.__version__}, random weights, rank {RANK} on the same layers (our `{TARGETS}`)
in every row, medians of {steps} steps after {WARM_UP}. Limit at {rate:.4g} TFLOP/s; a large bf16 matrix product
reached {measured:.4g} here. Useful work does not count what checkpointing computes again.
"""


def main() -> int:
    """Measure, print, and keep the page if asked to."""
    parser = argparse.ArgumentParser(description="our step and the diffusers script's on a 12B FLUX of random weights")
    parser.add_argument("--small", action="store_true", help="a tiny FLUX on the CPU, to see that the program runs")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each row (default 10)")
    parser.add_argument("--write", action="store_true", help="keep the tables under benchmarks/results/")
    asked = parser.parse_args()
    if not asked.small and not torch.cuda.is_available():
        print("torch sees no GPU here\nfix: run it where there is one, or add --small", file=sys.stderr)
        return 2
    device = torch.device("cpu" if asked.small else "cuda")
    try:
        text = page(SMALL if asked.small else FLUX, device, steps=asked.steps)
    except torch.OutOfMemoryError:
        print("the weights alone, 22.2 GiB, do not fit\nfix: take a GPU with 40 GB or more", file=sys.stderr)
        return 2
    print(text)
    if asked.write:
        publish(text, "gpu-small" if asked.small else "gpu", device_name(device).lower().replace(" ", "-"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

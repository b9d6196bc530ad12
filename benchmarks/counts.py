"""What a step of FLUX.1-dev takes by setting, counted on the meta device: no GPU, no weights.

python -m benchmarks.counts          prints the table
python -m benchmarks.counts --write  and keeps it in benchmarks/results/counts.md

Batch 1, 512 text tokens, bf16. A kernel is an operation that makes a new tensor or changes one; views are none.
"""

import sys
from pathlib import Path

from benchmarks.ground import table
from flux_lora.config.choices import AdapterTargets, Quantization
from flux_lora.config.compose import compose_config
from flux_lora.runs.auto_hardware import planner_of
from flux_lora.runs.plan import GIB, Planner, Way

RESULT = Path(__file__).parent / "results" / "counts.md"
SIDES = (512, 768, 1024)
WORDS = ("recipe=product", "data.folder=photos", "data.trigger=zorb", "data.class_word=mug", "train.preservation=0")
COLUMNS = ("targets, rank", "size", "checkpointing", "trained", "TFLOP", "kernels", "activations at most, GiB")
ABOUT = (
    "`python -m benchmarks.counts`. FLUX.1-dev's 57 blocks with LoRAs of rank 16, batch 1, 512 text tokens, bf16: "
    "one step, forward and backward."
)
WEIGHTS = ("base", "on the GPU, GiB", "with modulation offloaded, GiB")


def main() -> None:
    """Print the tables, and keep them if asked to."""
    rows = [row for targets in AdapterTargets for side in SIDES for row in _rows(targets, side)]
    planner = _planner(AdapterTargets.attention, 512)
    weights = [
        (how.value, *(f"{_weights(planner, how, offload=each):.2f}" for each in (False, True))) for how in Quantization
    ]
    text = "\n\n".join(("# Counts", ABOUT, table(COLUMNS, rows), table(WEIGHTS, weights))) + "\n"
    print(text)
    if "--write" in sys.argv:
        RESULT.write_text(text)


def _rows(targets: AdapterTargets, side: int) -> list[tuple[str, ...]]:
    planner = _planner(targets, side)
    return [
        (
            f"{targets.value}, 16",
            str(side),
            "yes" if checkpointing else "no",
            f"{planner.trained:,}",
            f"{count.flops / 1e12:.1f}",
            f"{count.kernels:,.0f}",
            f"{count.peak / GIB:.2f}",
        )
        for checkpointing, count in planner.steps.items()
    ]


def _planner(targets: AdapterTargets, side: int) -> Planner:
    words = [f"adapter.targets={targets.value}", "adapter.rank=16", f"data.resolution={side}"]
    return planner_of(compose_config([*WORDS, *words]))


def _weights(planner: Planner, how: Quantization, *, offload: bool) -> float:
    return planner.plan(Way(how, offload_modulation=offload)).stage("train").parts["base"] / GIB


if __name__ == "__main__":
    main()

"""Say in numbers what the demo's LoRA learned, by a judge that knows the product and took no part in training.

    python -m scripts.judge_demo runs/demo

The pictures are those of the evaluation: prompts that no training picture shows, fixed seeds.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from flux_lora.commands.check import read_material
from flux_lora.commands.evaluate import BASE, evaluation_spec
from flux_lora.config.compose import read_recipe
from scripts.mini.captions import ground_words
from scripts.mini.judge import Seen, load_judge
from scripts.mini.world import GROUNDS

PRODUCT = "product"
BARS = {"show the product": 0.8, "follow the background": 0.8, "without the trigger, judged as the base's": 0.9}


def main() -> None:
    """Print the table for a finished run of the demo."""
    run_dir = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    config = read_recipe(run_dir / "recipe.yaml")
    material = read_material(config.data)
    shots = evaluation_spec(config, material).shots()
    chosen = json.loads((run_dir / "evaluation" / "choice.json").read_text())
    judge = load_judge()
    base = judge.see(_pictures(run_dir / "evaluation" / BASE))
    name = f"step-{chosen['step']:06d}-strength-{chosen['strength']:g}"
    lora = judge.see(_pictures(run_dir / "evaluation" / name))
    told = len(material.suite.trigger) * config.evaluate.seeds
    grounds = [_ground(shot.prompt) for shot in shots[:told]]
    shares = {
        "show the product": _share([PRODUCT in seen.kinds for seen in lora[:told]]),
        "follow the background": _share([seen.ground == ground for seen, ground in zip(lora, grounds, strict=False)]),
        "without the trigger, judged as the base's": _share(
            [_same(one, other) for one, other in zip(base[told:], lora[told:], strict=True)]
        ),
    }
    print(f"{name}: {told} pictures with the trigger, {len(lora) - told} without")
    print(f"base, with the trigger: {_share([PRODUCT in seen.kinds for seen in base[:told]]):.0%} show the product")
    for what, share in shares.items():
        print(f"{share:4.0%} {what} (bar {BARS[what]:.0%}: {'reached' if share >= BARS[what] else 'MISSED'})")


def _pictures(folder: Path) -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in sorted(folder.glob("*.png"))]


def _ground(prompt: str) -> tuple[str, str]:
    return next(ground for ground in GROUNDS if ground_words(ground) in prompt)


def _same(one: Seen, other: Seen) -> bool:
    """The same things in the same colours at the same places on the same ground."""
    return one == other


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)


if __name__ == "__main__":
    main()

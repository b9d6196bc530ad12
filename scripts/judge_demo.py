"""Say in numbers what the demo's LoRA learned, by a judge that knows the product and took no part in training.

    python -m scripts.judge_demo runs/demo

The images are those of the evaluation: prompts that no training image shows, fixed seeds.
"""

import json
import sys
from pathlib import Path

from flux_lora.config.compose import read_recipe
from flux_lora.runs.candidates import BASE, candidate_name
from flux_lora.runs.dataset import read_dataset
from flux_lora.runs.evaluation import evaluation_spec, rendered_images
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.run import Run
from scripts.mini.captions import ground_words
from scripts.mini.judge import Seen, load_judge, share
from scripts.mini.world import GROUNDS

PRODUCT = "product"
BARS = {"show the product": 0.8, "follow the background": 0.8, "without the trigger, judged as the base's": 0.9}


def main() -> None:
    """Print the table for a finished run of the demo."""
    folder = RunFolder(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
    config = read_recipe(folder.recipe)
    material = read_dataset(Run(config))
    spec = evaluation_spec(config, material)
    shots = spec.shots()
    chosen = json.loads((folder.evaluation / "choice.json").read_text())
    judge = load_judge()
    base = judge.see(rendered_images(folder, BASE, spec))
    name = candidate_name(chosen["step"], chosen["strength"])
    lora = judge.see(rendered_images(folder, name, spec))
    told = len(material.suite.trigger) * config.evaluate.seeds
    grounds = [_ground(shot.prompt) for shot in shots[:told]]
    shares = {
        "show the product": share([PRODUCT in seen.kinds for seen in lora[:told]]),
        "follow the background": share([seen.ground == ground for seen, ground in zip(lora, grounds, strict=False)]),
        "without the trigger, judged as the base's": share(
            [_same(one, other) for one, other in zip(base[told:], lora[told:], strict=True)]
        ),
    }
    print(f"{name}: {told} images with the trigger, {len(lora) - told} without")
    print(f"base, with the trigger: {share([PRODUCT in seen.kinds for seen in base[:told]]):.0%} show the product")
    for what, part in shares.items():
        print(f"{part:4.0%} {what} (bar {BARS[what]:.0%}: {'reached' if part >= BARS[what] else 'MISSED'})")


def _ground(prompt: str) -> tuple[str, str]:
    return next(ground for ground in GROUNDS if ground_words(ground) in prompt)


def _same(one: Seen, other: Seen) -> bool:
    """The same things in the same colours at the same places on the same ground."""
    return one == other


if __name__ == "__main__":
    main()

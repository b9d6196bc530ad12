"""Make the mini base from nothing, on two CPU cores: tokenizers, VAE, CLIP, transformer with T5, guidance.

    python -m scripts.make_mini_base                make it, or go on where it stopped
    python -m scripts.make_mini_base --report       print the quality of what is in the package

Every part keeps a state file in --work and is skipped once it is finished.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from scripts.mini import clip, flow, tokenizers, vae
from scripts.mini.assemble import assemble
from scripts.mini.judge import WEIGHTS as JUDGE
from scripts.mini.judge import train_judge
from scripts.mini.quality import measure, table
from scripts.mini.scenery import sceneries

VAE_STEPS, DECODER_STEPS, CLIP_STEPS, JUDGE_STEPS = 2800, 2000, 1000, 1000
FLOW_STEPS, GUIDANCE_STEPS, BATCH = 6000, 300, 64
SCENES = 24_000


def main() -> None:
    """Make, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/mini"), help="where states and latents are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", action="store_true", help="measure the weights in the package")
    wanted = parser.parse_args()
    if not wanted.report:
        make(wanted.work, wanted.seed)
    bars = []
    for bar in measure():
        print(f"{bar.name}: {bar.value:.3g}", flush=True)
        bars.append(bar)
    print(f"\n{table(bars)}")


def make(work: Path, seed: int) -> None:
    """Train each part that is not finished, then put them together."""
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(os.cpu_count() or 1)
    tokenizers.write_clip_tokenizer(work / "tokenizer")
    tokenizers.write_t5_tokenizer(work / "tokenizer_2")
    encoder = _kept_vae(work / "vae", lambda: vae.balance(_first_vae(work, seed), seed=seed))
    if not (work / "scorer").exists():
        scorer = clip.train_clip(work, steps=CLIP_STEPS, batch=64, seed=seed)
        clip.text_half(scorer).save_pretrained(work / "text_encoder")
        scorer.save_pretrained(work / "scorer")
    scenes = sceneries(work, encoder, count=SCENES, seed=seed)
    painter = flow.train_flow(work, scenes, steps=FLOW_STEPS, batch=BATCH, seed=seed)
    guided = flow.distil_guidance(work, painter, scenes, steps=GUIDANCE_STEPS, batch=BATCH, seed=seed)
    finished = _kept_vae(
        work / "vae-polished", lambda: vae.polish(work, encoder, steps=DECODER_STEPS, batch=8, seed=seed)
    )
    if not JUDGE.exists():
        train_judge(steps=JUDGE_STEPS, batch=64, seed=seed)
    assemble(work, guided, finished)


def _first_vae(work: Path, seed: int) -> AutoencoderKL:
    return vae.train_vae(work, steps=VAE_STEPS, batch=8, seed=seed)


def _kept_vae(folder: Path, make_one: Callable[[], AutoencoderKL]) -> AutoencoderKL:
    if not folder.exists():
        make_one().save_pretrained(folder)
    return AutoencoderKL.from_pretrained(folder)


if __name__ == "__main__":
    main()

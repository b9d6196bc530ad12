"""The judge's accuracy as a table; or, given a folder, every subject as a folder to train on."""

import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from benchmarks.subjects.folder import test_scenes, write_subject
from benchmarks.subjects.gallery import reported_subjects, tuned_subjects
from benchmarks.subjects.judge import judge_image
from benchmarks.subjects.subject import Part, Subject, draw_subject
from benchmarks.subjects.twins import near_twins
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.latents import encode_pixels
from flux_lora.models.flux1.load import load_vae
from flux_lora.render.sheets import contact_sheet
from scripts.mini.captions import random_scene
from scripts.mini.world import Scene, Thing, draw_scene

SCENES = 12


def main() -> None:
    """Print the table, or write the folders."""
    if len(sys.argv) > 1:
        _write_all(Path(sys.argv[1]))
        return
    vae = load_vae("mini", device=torch.device("cpu"))
    print("| subjects | images | shown, strict | shown, mild | near-twin taken for it | other thing: strict | mild |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name, subjects in (("tuned", tuned_subjects()), ("reported", reported_subjects())):
        for how in ("drawn", "VAE-softened"):
            print(f"| {name} | {how} | {' | '.join(f'{share:.1%}' for share in _accuracy(subjects, how, vae))} |")


def _accuracy(subjects: Sequence[Subject], how: str, vae: AutoencoderKL) -> list[float]:
    hits: list[list[bool]] = [[], [], [], [], []]
    for subject in subjects:
        scenes = test_scenes(subject, SCENES)
        own = [judge_image(image, subject.parts) for image in _images(subject.parts, scenes, how, vae)]
        twins = [
            judge_image(image, subject.parts)
            for parts in near_twins(subject).values()
            for image in _images(parts, scenes[: SCENES // 4], how, vae)
        ]
        other = [judge_image(image, subject.parts) for image in _softened(_others(subject), how, vae)]
        found = (
            [each.strict for each in own],
            [each.mild for each in own],
            [each.strict for each in twins],
            [each.strict for each in other],
            [each.mild for each in other],
        )
        for one, more in zip(hits, found, strict=True):
            one += more
    return [sum(each) / len(each) for each in hits]


def _images(parts: Sequence[Part], scenes: Sequence[Scene], how: str, vae: AutoencoderKL) -> list[Image.Image]:
    return _softened([draw_subject(parts, scene) for scene in scenes], how, vae)


def _others(subject: Subject) -> list[Image.Image]:
    """Things of the world, half of them of the subject's class."""
    random = Random(f"others {subject.number}")
    scenes = [random_scene(random, two_things=0.25) for _ in range(SCENES)]
    own_class = [
        Scene((Thing(subject.class_word, s.things[0].colour, s.things[0].place),), s.ground, s.seed)
        for s in scenes[::2]
    ]
    return [draw_scene(scene) for scene in (*own_class, *scenes[1::2])]


@torch.no_grad()
def _softened(images: list[Image.Image], how: str, vae: AutoencoderKL) -> list[Image.Image]:
    """Through the base's VAE and back, as renders are."""
    if how == "drawn":
        return images
    pixels = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images]) / 127.5 - 1
    return Flux1().decode(vae, encode_pixels(vae, pixels))


def _write_all(folder: Path) -> None:
    rows, labels = [], []
    for subject in (*tuned_subjects(), *reported_subjects()):
        place = write_subject(subject, folder)
        twins = sorted(place.parent.glob(f"{place.name}-*/*/{subject.trigger}_17.png"))
        rows.append([Image.open(file) for file in (*sorted(place.glob("*.png"))[:6], *twins)])
        labels.append(f"{subject.name}: {subject.facts}")
        print(place)
    contact_sheet(rows, labels, tile=128).save(folder / "subjects.png")


if __name__ == "__main__":
    main()

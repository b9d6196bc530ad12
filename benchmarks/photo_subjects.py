"""Likeness and recognition on photographs: a cup, a cat's face and a portrait, cut out and pasted on other photographs.

    python -m benchmarks.photo_subjects

Each stands somewhere else, in another size, turned by up to 10 degrees and lit otherwise, 12 times to train on and 3
times held out. New ones are to be recognised; other things, other colours and the same upside down are not. The other
two stand for what the base draws. By colours alone, without a vision model; nothing was tuned on these.
"""

from collections.abc import Sequence
from random import Random

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from benchmarks.photographs import photograph
from flux_lora.evaluate.baseline import RECOGNISED
from flux_lora.evaluate.features import PlaceFeatures, centred_on, colour_tokens
from flux_lora.evaluate.identity import Identity, learn_identity
from flux_lora.evaluate.negatives import altered_copies, near_twins

CUTS = {
    "cup": ("coffee.png", (150, 60, 480, 330)),
    "cat": ("chelsea.png", (90, 20, 330, 260)),
    "portrait": ("astronaut.png", (150, 0, 300, 210)),
}
"""Photograph and box, of which the inscribed ellipse is taken."""
GROUNDS = (
    *("grass.png", "brick.png", "gravel.png", "rocket.jpg", "motorcycle_left.png"),
    *("moon.png", "coins.png", "ihc.png", "retina.jpg", "hubble_deep_field.jpg"),
)
SIDE, TRAINING, NEW, BASE = 256, 12, 12, 24


def main() -> None:
    """Print the table."""
    print("| subject | images | likeness | recognised |")
    print("| --- | --- | ---: | ---: |")
    for name in CUTS:
        for label, shown in _judged(name):
            print(f"| {name} | {label} | {shown} |")


def _judged(name: str) -> Sequence[tuple[str, str]]:
    random, subject = Random(1), _cut(name)
    others = [_cut(other) for other in CUTS if other != name]
    training = [_pasted(subject, random, GROUNDS[number % len(GROUNDS)]) for number in range(TRAINING)]
    held_out = [_pasted(subject, random, ground) for ground in GROUNDS[1::3]]
    base = [_pasted(random.choice(others), random, random.choice(GROUNDS)) for _ in range(BASE)]
    features = centred_on(base, (colour_tokens,))
    identity = learn_identity(features(held_out), features(training), features(base), slice(0, BASE))
    turned, _, upside_down = altered_copies([subject])
    sets = {
        "new ones": [subject],
        "other things": others,
        "in other colours": [turned],
        "upside down": [upside_down],
    }
    drawn = {
        label: [_pasted(random.choice(these), random, random.choice(GROUNDS)) for _ in range(NEW)]
        for label, these in sets.items()
    }
    drawn["near-twins of the held-out ones"] = near_twins(held_out, identity)
    return [(label, _in_numbers(identity, features, images)) for label, images in drawn.items()]


def _in_numbers(identity: Identity, features: PlaceFeatures, images: Sequence[Image.Image]) -> str:
    found = identity.likeness(features(images))
    return f"{found.share.clamp(0, 1).mean():.0%} | {(found.whole >= RECOGNISED).float().mean():.0%} of {len(images)}"


def _cut(name: str) -> Image.Image:
    file, box = CUTS[name]
    return photograph(file).crop(box)


def _pasted(subject: Image.Image, random: Random, ground: str) -> Image.Image:
    """Somewhere, in some size, turned a little and lit otherwise, on a photograph."""
    canvas = photograph(ground).resize((SIDE, SIDE))
    scale = random.uniform(0.4, 0.7) * SIDE / max(subject.size)
    width, height = (round(side * scale) for side in subject.size)
    turn = random.uniform(-10, 10)
    mask = Image.new("L", subject.size, 0)
    ImageDraw.Draw(mask).ellipse((0, 0, subject.width - 1, subject.height - 1), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(3)).resize((width, height)).rotate(turn)
    lit = ImageEnhance.Brightness(subject).enhance(random.uniform(0.85, 1.15))
    lit = lit.resize((width, height)).rotate(turn, Image.Resampling.BICUBIC)
    canvas.paste(lit, (random.randint(0, SIDE - width), random.randint(0, SIDE - height)), mask)
    return canvas


if __name__ == "__main__":
    main()

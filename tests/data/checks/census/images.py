"""What is in images: one by one, as a set, and as they fit their buckets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from benchmarks.photographs import (
    Change,
    as_screenshot,
    barred,
    beside,
    blurred,
    cropped,
    enlarged,
    exposed,
    faded,
    filled,
    jpeg,
    noisy,
    same,
    shaken,
    signed,
)
from flux_lora.data.bucketing.crops import Box
from flux_lora.data.bucketing.plan import BucketOptions, plan
from flux_lora.data.checks.bucket_fit import judge_bucket_fit
from flux_lora.data.checks.dataset import judge_dataset
from flux_lora.data.checks.duplicates import judge_duplicates
from flux_lora.data.checks.image_quality import judge_image_quality, judge_shared_marks, judge_watermarks
from flux_lora.data.checks.subject_words import SubjectWords
from flux_lora.data.findings import Finding
from flux_lora.data.image_stats.lettering import Line
from flux_lora.data.samples import Sample
from tests.data.scenes import look, product, scene

Case = Callable[[], Sequence[Finding]]
MUG = SubjectWords("zubo", "mug", "product")
GROUNDS = ((250, 250, 250), (30, 30, 30), (200, 60, 50), (60, 120, 200), (230, 200, 90), (120, 170, 110))
PHOTO = Path("photos/a.png")


def one(change: Change, image: Image.Image | None = None) -> Case:
    """An image after something was done to it."""
    return lambda: list(judge_image_quality([look(change(image or scene(4)))]))


def two(change: Change, *, alike: float = 0.0) -> Case:
    """An image, and the same after something was done to it; and how alike a network finds them."""

    def judged() -> list[Finding]:
        looks = [look(scene(1), "a.png"), look(change(scene(1)), "b.png")]
        rows = [(1.0, 0.0), (alike, (1 - alike**2) ** 0.5)]
        return list(
            judge_duplicates(looks, vectors={each.image: np.array(row) for each, row in zip(looks, rows, strict=True)})
        )

    return judged


def held_out(change: Change) -> Case:
    """An image, and one that is held out."""
    return lambda: list(judge_duplicates([look(scene(1), "a.png")], [look(change(scene(1)), "b.png")], vectors={}))


def whole(images: Callable[[], Sequence[Image.Image]], copies: int = 1) -> Case:
    """A set, each of its images so many times under other names."""

    def judged() -> list[Finding]:
        seen = [look(each) for each in images()]
        looks = [replace(each, image=Path(f"photos/{at}.png")) for at, each in enumerate(seen * copies)]
        return list(judge_dataset(looks, [Sample(image=each.image, caption="a zubo mug") for each in looks], MUG))

    return judged


def fitted(
    *sizes: tuple[int, int],
    batch_size: int = 1,
    keep: Box | None = None,
    box: Box | None = None,
) -> Case:
    """Images of these sizes, each brought to its bucket at 512."""

    def judged() -> list[Finding]:
        files = {Path(f"{number}.png"): size for number, size in enumerate(sizes)}
        listed = [Sample(image=file, caption="", mask=Path("mask.png") if keep else None, box=box) for file in files]
        made = plan(
            listed, BucketOptions(16, (512,), batch_size=batch_size), sizes=files.__getitem__, keep=lambda _: keep
        )
        return list(judge_bucket_fit(made))

    return judged


def read(*lines: str) -> Case:
    """An image with these words in it."""
    found = tuple(Line(line, 0.1, 0.9, 0.4, 0.95) for line in lines)
    return lambda: list(judge_watermarks([PHOTO], {PHOTO: found}))


def clipped(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * 6.0).clip(0, 255).astype(np.uint8))


def grey(image: Image.Image) -> Image.Image:
    return image.convert("L").convert("RGB")


def walled(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).copy()
    pixels[:80], pixels[200:] = (200, 190, 170), (120, 80, 50)
    return Image.fromarray(pixels)


def one_pixel_off(image: Image.Image) -> Image.Image:
    other = image.copy()
    other.putpixel((5, 5), (1, 2, 3))
    return other


def varied(count: int) -> list[Image.Image]:
    """Other grounds, places and sizes."""
    return [
        product(GROUNDS[at % 6], at=(0.35 + 0.15 * (at % 3), 0.5), size=0.3 + 0.05 * (at % 7)) for at in range(count)
    ]


def lit(count: int) -> list[Image.Image]:
    """One thing on white in one place, in more and more light."""
    shots = [np.asarray(product(seed=at)) * (0.4 + 0.05 * at) for at in range(count)]
    return [Image.fromarray(each.astype(np.uint8)) for each in shots]


def moved(count: int) -> list[Image.Image]:
    """One thing on white in one light, here and there."""
    return [product(at=(0.3 + 0.04 * at, 0.5), seed=at) for at in range(count)]


def on_white(some: int, others: int) -> list[Image.Image]:
    return [*moved(some), *(product(GROUNDS[1 + at % 5], seed=at) for at in range(others))]


def stamped(count: int) -> Case:
    """Photos with one faint mark in the middle."""

    def judged() -> list[Finding]:
        photos = [scene(seed) for seed in range(count)]
        for photo in photos:
            mark = Image.new("L", photo.size, 0)
            ImageDraw.Draw(mark).text((90, 100), "PROOF COPY", font=ImageFont.load_default(26), fill=90)
            photo.paste((255, 255, 255), mask=mark)
        return list(judge_shared_marks([look(photo, f"{number}.png") for number, photo in enumerate(photos)]))

    return judged


crop = cropped(0.2, 0.05, 0.1, 0.15)
SQUARES = [(3000, 3000)] * 4

IMAGES: Mapping[str, tuple[Case, Case]] = {
    "blurred": (one(shaken(30)), one(blurred(0.4))),
    "enlarged-before": (one(enlarged(2)), one(same, product((200, 60, 50)))),
    "noisy": (one(noisy(30)), one(noisy(3))),
    "collage": (one(beside(scene(5))), one(same)),
    "blurred-sides": (one(filled(0.6)), one(same)),
    "dark": (one(exposed(0.02)), one(exposed(0.5))),
    "overexposed": (one(clipped), one(exposed(1.4))),
    "low-contrast": (one(faded(0.12)), one(faded(0.5))),
    "jpeg-blocks": (one(jpeg(10)), one(jpeg(80))),
    "borders": (one(barred(0.1)), one(walled)),
    "screen-bars": (one(as_screenshot), one(lambda image: jpeg(60)(barred(0.1)(image)))),
    "lettering": (one(signed), one(same, product())),
    "extreme-aspect": (one(lambda image: image.resize((960, 240))), one(lambda each: each.resize((700, 240)))),
    "same-picture": (two(same), two(one_pixel_off)),
    "near-picture": (two(lambda image: jpeg(60)(ImageOps.mirror(image))), two(lambda _: scene(2))),
    "same-photo": (two(crop, alike=0.8), two(lambda _: crop(scene(2)), alike=0.8)),
    "held-out-twin": (held_out(jpeg(50)), held_out(crop)),
    "crops-not-compared": (lambda: list(judge_duplicates([look(scene(1))])), two(crop)),
    "few-pictures": (whole(lambda: varied(9)), whole(lambda: varied(10))),
    "many-pictures": (whole(lambda: varied(3), copies=27), whole(lambda: varied(4), copies=20)),
    "shared-ground": (whole(lambda: on_white(5, 2)), whole(lambda: on_white(4, 4))),
    "same-light": (whole(lambda: moved(7)), whole(lambda: lit(7))),
    "same-framing": (whole(lambda: lit(7)), whole(lambda: moved(7))),
    "without-colour": (whole(lambda: [*varied(9), grey(varied(1)[0])]), whole(lambda: varied(10))),
    "shared-mark": (stamped(6), stamped(3)),
    "watermark": (read("(c) studio north"), read("since 1924", "12:41", "a@b")),
    "letters-not-read": (lambda: list(judge_watermarks([PHOTO], None)), read("since 1924")),
    "small": (fitted((200, 200)), fitted((460, 460))),
    "below-resolution": (fitted((460, 460)), fitted((500, 500))),
    "cropped": (fitted((4700, 1000)), fitted((4400, 1000))),
    "cropped-away": (fitted((8000, 1000)), fitted((4700, 1000))),
    "mask-cropped": (
        fitted((4700, 1000), keep=Box(0, 0, 4600, 1000)),
        fitted((4700, 1000), keep=Box(0, 0, 2000, 1000)),
    ),
    "box-cropped": (
        fitted((4700, 1000), box=Box(0, 0, 4600, 1000)),
        fitted((4700, 1000), box=Box(0, 0, 2000, 1000)),
    ),
    "lone-bucket": (fitted(*SQUARES, (4000, 1100), batch_size=4), fitted(*SQUARES, (4000, 1100))),
}

"""Makes tests/broken: photographs of one drawn mug before real places, with one thing wrong in most of them.

    python -m tests.broken_folder

The places are photographs that scikit-image ships: in the public domain (clock_motion; astronaut, moon and
hubble_deep_field by NASA), without known restrictions (coins, ihc), or CC0 (brick, camera, chelsea, coffee, grass,
gravel, rocket). The mug is drawn here.
What is wrong with which file, and which rules say so, is in tests/broken_truth.py.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tests.broken_captions import CAPTIONS, HELD_OUT, STRAY

FOLDER = Path(__file__).parent / "broken"
SHARPER = 4
"""The mug is drawn this many times larger, and scaled down."""
TURNED_RIGHT = 6
"""The EXIF orientation of a camera that was held upright."""
WIDE, TALL = (320, 240), (240, 320)


@dataclass(frozen=True)
class Place:
    """Where a mug was photographed: a piece of a photograph, and where in it the mug stands."""

    photo: str
    left: int
    top: int
    at: tuple[float, float]
    """Middle of the mug, in shares of the image."""
    height: float
    """Of the mug, as a share of the image's."""
    tint: tuple[float, float, float] = (1, 1, 1)
    size: tuple[int, int] = WIDE
    faces: int = 1
    """Which side the handle is on: 1 right, -1 left."""


BRICK, MOSS, SAND, SLATE = (1.05, 0.72, 0.6), (0.75, 1.0, 0.55), (1.1, 0.98, 0.75), (0.75, 0.88, 1.05)
PLACES = {
    "mug_01": Place("coffee.png", 10, 5, (0.75, 0.62), 0.5),
    "mug_02": Place("chelsea.png", 100, 30, (0.2, 0.66), 0.42, faces=-1),
    "mug_03": Place("rocket.jpg", 20, 150, (0.3, 0.6), 0.5),
    "mug_04": Place("astronaut.png", 150, 150, (0.8, 0.68), 0.4, faces=-1),
    "mug_05": Place("brick.png", 0, 0, (0.5, 0.6), 0.5, BRICK),
    "mug_06": Place("coffee.png", 270, 150, (0.2, 0.3), 0.38),
    "mug_07": Place("grass.png", 0, 0, (0.48, 0.55), 0.5, MOSS, TALL),
    "mug_08": Place("coins.png", 40, 30, (0.7, 0.5), 0.45, SAND),
    "mug_09": Place("camera.png", 30, 60, (0.24, 0.7), 0.44, SLATE),
    "mug_10": Place("ihc.png", 20, 30, (0.5, 0.5), 0.7),
    "mug_11": Place("gravel.png", 10, 10, (0.66, 0.4), 0.4, SAND),
    "mug_12": Place("rocket.jpg", 300, 20, (0.6, 0.74), 0.36, size=TALL),
    "mug_13": Place("hubble_deep_field.jpg", 100, 100, (0.5, 0.66), 0.55),
    "mug_14": Place("brick.png", 190, 260, (0.24, 0.42), 0.6, SLATE, faces=-1),
    "mug_15": Place("brick.png", 180, 10, (0.7, 0.55), 0.46, SAND),
    "mug_16": Place("astronaut.png", 260, 10, (0.3, 0.76), 0.3, size=TALL),
    "mug_19": Place("clock_motion.png", 40, 30, (0.78, 0.6), 0.5, SAND),
    "mug_20": Place("grass.png", 190, 260, (0.6, 0.6), 0.44, MOSS),
    "mug_21": Place("rocket.jpg", 300, 180, (0.5, 0.5), 0.5, faces=-1),
    "mug_22": Place("gravel.png", 180, 270, (0.4, 0.5), 0.5, SLATE),
    "mug_23": Place("coffee.png", 0, 240, (0.6, 0.5), 0.8, size=(520, 140)),
    "mug_24": Place("camera.png", 190, 200, (0.72, 0.6), 0.4, SAND),
    "mug_26": Place("moon.png", 100, 30, (0.3, 0.52), 0.6, faces=-1),
    "mug_27": Place("ihc.png", 180, 260, (0.7, 0.42), 0.36, SAND, faces=-1),
    "mug_28": Place("hubble_deep_field.jpg", 520, 420, (0.3, 0.4), 0.6, faces=-1),
    "mug_30": Place("astronaut.png", 10, 240, (0.5, 0.6), 0.5, faces=-1),
}


def mug(height: int, faces: int = 1) -> Image.Image:
    """Teal, with a cream band and lit from one side; on nothing."""
    tall = height * SHARPER
    wide, middle = round(tall * 1.15), tall * 0.45
    drawn = Image.new("RGBA", (wide, tall), (18, 92, 96, 0))
    pen = ImageDraw.Draw(drawn)
    left, right, lip = middle - tall * 0.36, middle + tall * 0.36, tall * 0.1
    pen.arc(
        (right - tall * 0.2, tall * 0.26, right + tall * 0.24, tall * 0.72), -100, 100, (20, 104, 108, 255), 9 * SHARPER
    )
    pen.rectangle((left, lip, right, tall - lip), (26, 128, 130, 255))
    pen.ellipse((left, tall - 2 * lip, right, tall - 1), (26, 128, 130, 255))
    pen.rectangle((left, tall * 0.42, right, tall * 0.6), (240, 226, 190, 255))
    pen.ellipse((left, 0, right, 2 * lip), (40, 150, 150, 255))
    pen.ellipse((left + lip * 0.4, lip * 0.35, right - lip * 0.4, lip * 1.75), (12, 48, 52, 255))
    lit = np.asarray(drawn).astype(float)
    across = np.clip((np.arange(wide) - left) / (right - left), 0, 1)
    lit[..., :3] *= (0.55 + 0.75 * np.sin(np.pi * (0.2 + 0.75 * across)) ** 2)[None, :, None]
    shaded = Image.fromarray(lit.clip(0, 255).astype(np.uint8)).resize(
        (wide // SHARPER, height), Image.Resampling.LANCZOS
    )
    return shaded if faces > 0 else shaded.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def photograph(place: Place) -> Image.Image:
    """The mug in its place, with a shadow under it and a sensor's noise over everything."""
    found = find_spec("skimage")
    assert found and found.origin, "scikit-image is not installed"
    with Image.open(Path(found.origin).parent / "data" / place.photo) as opened:
        width, height = place.size
        scene = opened.convert("RGB").crop((place.left, place.top, place.left + width, place.top + height))
    scene = Image.fromarray((np.asarray(scene) * np.array(place.tint)).clip(0, 255).astype(np.uint8))
    thing = mug(round(place.height * height), place.faces)
    corner = (round(place.at[0] * width - thing.width / 2), round(place.at[1] * height - thing.height / 2))
    shadow = Image.new("L", place.size, 0)
    foot = corner[1] + thing.height
    ImageDraw.Draw(shadow).ellipse((corner[0] - 8, foot - 14, corner[0] + thing.width + 8, foot + 8), 130)
    scene.paste((12, 12, 16), mask=shadow.filter(ImageFilter.GaussianBlur(5)))
    scene.paste(thing, corner, thing)
    noise = np.random.default_rng(sum(place.photo.encode()) + place.left).normal(0, 1, (height, width, 1))
    return Image.fromarray((np.asarray(scene) + noise).clip(0, 255).astype(np.uint8))


def letterboxed(image: Image.Image) -> Image.Image:
    """As from a film: black bars above and below."""
    framed = Image.new("RGB", (320, 240), "black")
    framed.paste(image.crop((0, 48, 320, 192)), (0, 48))
    return framed


def with_hidden_colour(height: int) -> Image.Image:
    """A cut-out product. Under what is transparent lies the pink of a studio's wall."""
    thing = mug(height)
    out = Image.new("RGBA", (272, 272), (255, 0, 190, 0))
    solid = thing.getchannel("A").point(lambda level: 255 if level > 127 else 0)
    out.paste(thing, ((272 - thing.width) // 2, 20), solid)
    return out


def sixteen_bit(image: Image.Image) -> Image.Image:
    """As a scanner saves grey."""
    return Image.fromarray(
        np.asarray(image.convert("L").filter(ImageFilter.MedianFilter(3))).astype(np.uint16) // 8 * 2056
    )


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mug_19": lambda image: image.filter(ImageFilter.GaussianBlur(3.5)),
    "mug_20": lambda image: image.point(lambda level: level // 9),
    "mug_21": letterboxed,
    "mug_22": lambda image: image.resize((128, 96), Image.Resampling.LANCZOS),
    "mug_26": sixteen_bit,
    "mug_28": lambda image: image.resize((92, 69), Image.Resampling.BOX).resize(WIDE, Image.Resampling.BICUBIC),
}
ENDINGS = {"mug_26": ".png"} | dict.fromkeys(("mug_07", "mug_08", "mug_09", "mug_11"), ".webp")


def write_images(folder: Path) -> None:
    """All 30."""
    for name, place in PLACES.items():
        image = CHANGES.get(name, lambda each: each)(photograph(place))
        home = folder / "held_out" if name in HELD_OUT else folder
        _save(image, home / f"{name}{ENDINGS.get(name, '.jpg')}")
    whole = (folder / "mug_03.jpg").read_bytes()
    (folder / "mug_03.jpg").write_bytes(whole[: len(whole) // 2])
    shutil.copy(folder / "mug_09.webp", folder / "mug_17.webp")
    with Image.open(folder / "mug_02.jpg") as original:
        original.resize((300, 225), Image.Resampling.LANCZOS).save(folder / "mug_18.jpg", quality=78)
    _turned(folder / "mug_24.jpg")
    with_hidden_colour(230).save(folder / "mug_25.png", optimize=True)
    shutil.copy(folder / "mug_01.jpg", folder / "held_out" / "mug_29.jpg")
    Image.new("L", (24, 18), 255).save(folder / "mug_77.mask.png")


def _turned(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = TURNED_RIGHT
    with Image.open(file) as opened:
        lying = opened.transpose(Image.Transpose.ROTATE_90)
    lying.save(file, quality=82, exif=exif)


def _save(image: Image.Image, file: Path) -> None:
    if file.suffix == ".png":
        image.save(file, optimize=True)
        return
    image.save(file, quality=70 if file.suffix == ".webp" else 82)


def write_words(folder: Path) -> None:
    """Captions in the bytes that they are found in, and files that belong to no image."""
    for name, content in {**CAPTIONS, **STRAY}.items():
        (folder / name).write_bytes(content)


def main() -> None:
    """Make it anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "held_out").mkdir(parents=True)
    write_images(FOLDER)
    write_words(FOLDER)


if __name__ == "__main__":
    main()

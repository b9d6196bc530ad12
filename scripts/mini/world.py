"""The world the mini base knows: captioned scenes of simple things, drawn by code.

A scene is one thing, or two, at named places on a named ground. The ground's tints have other
names than the things' colours, so a caption never uses one word for two jobs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from PIL import Image, ImageDraw

from scripts.mini.things import OUTLINES, OVERSAMPLING, PARTS, Colour, Layer, mixed

COLOURS = {
    "red": (214, 44, 48),
    "orange": (240, 140, 30),
    "yellow": (248, 214, 48),
    "green": (44, 150, 70),
    "blue": (40, 90, 205),
    "purple": (130, 60, 165),
    "black": (32, 32, 36),
    "white": (250, 250, 250),
}
TINTS = {
    "cream": (238, 224, 190),
    "gray": (168, 170, 176),
    "mint": (170, 218, 190),
    "sky": (165, 205, 240),
    "rose": (240, 186, 194),
}
THINGS = ("ball", "box", "mug", "bottle", "house", "robot", "fish", "star")
PLACES = {"left": 0.27, "middle": 0.5, "right": 0.73}
SIZES = {"small": 0.17, "": 0.215, "large": 0.26}
"""Half a thing's height as a share of the picture's shorter side."""
GROUNDS = tuple((kind, tint) for kind in ("plain", "table", "striped", "checked") for tint in TINTS) + (
    ("meadow", ""),
    ("night", ""),
)
SHAPES = ((128, 128), (144, 112), (112, 144), (160, 96))
"""Widths and heights of about 128 x 128 pixels, all multiples of 16."""

UNIT = 16 * OVERSAMPLING
WOOD, GRASS, NOON, NAVY = (186, 132, 84), (120, 178, 92), (176, 214, 244), (36, 42, 84)


@dataclass(frozen=True)
class Thing:
    """One object of a scene: what, in which colour and size, where, and with which part."""

    kind: str
    colour: str
    place: str
    size: str = ""
    part: str = ""
    part_colour: str = ""


@dataclass(frozen=True)
class Scene:
    """What a picture shows. `seed` decides all that the caption leaves open."""

    things: tuple[Thing, ...]
    ground: tuple[str, str]
    seed: int
    width: int = 128
    height: int = 128

    @property
    def held_out(self) -> bool:
        """One combination in twenty of kind, colour and ground is never trained on."""
        return any(sha256(f"{t.kind} {t.colour} {self.ground}".encode()).digest()[0] % 20 == 0 for t in self.things)


def draw_scene(scene: Scene, *, enlargement: int = 1) -> Image.Image:
    """The picture of a scene, RGB, width x height."""
    random = Random(scene.seed)
    canvas = draw_ground(scene.ground, scene.width, scene.height)
    for thing in scene.things:
        x, y, half = spot(thing, scene, random)
        draw_thing(canvas, thing, (x, y), half, random)
    return canvas.reduce(OVERSAMPLING // enlargement)


def spot(thing: Thing, scene: Scene, random: Random) -> tuple[float, float, float]:
    """Where a thing is, and half its height: x, y, half in pixels."""
    half = SIZES[thing.size] * min(scene.width, scene.height) * random.uniform(0.96, 1.04)
    if len(scene.things) > 1:
        half *= 0.9
    x = scene.width * (PLACES[thing.place] + random.uniform(-0.03, 0.03))
    y = scene.height * random.uniform(0.52, 0.62)
    return x, y, half


def draw_ground(ground: tuple[str, str], width: int, height: int) -> Image.Image:
    """An empty ground, OVERSAMPLING times larger than asked."""
    kind, tint = ground
    back = {"meadow": NOON, "night": NAVY}.get(kind) or TINTS[tint]
    canvas = Image.new("RGB", (width * OVERSAMPLING, height * OVERSAMPLING), back)
    PATTERNS[kind](canvas, mixed(back, (255, 255, 255), 0.55))
    return canvas


def _plain(canvas: Image.Image, light: Colour) -> None:
    """Nothing on it."""


def _table(canvas: Image.Image, _: Colour) -> None:
    ImageDraw.Draw(canvas).rectangle((0, int(canvas.height * 0.66), *canvas.size), fill=WOOD)


def _meadow(canvas: Image.Image, _: Colour) -> None:
    ImageDraw.Draw(canvas).rectangle((0, int(canvas.height * 0.6), *canvas.size), fill=GRASS)


def _night(canvas: Image.Image, _: Colour) -> None:
    moon = _box(canvas.width - 1.1 * UNIT, 1.1 * UNIT, 0.55 * UNIT)
    ImageDraw.Draw(canvas).ellipse(moon, fill=(240, 236, 200))


def _striped(canvas: Image.Image, light: Colour) -> None:
    for left in range(0, canvas.width, 2 * UNIT):
        ImageDraw.Draw(canvas).rectangle((left, 0, left + UNIT - 1, canvas.height), fill=light)


def _checked(canvas: Image.Image, light: Colour) -> None:
    for left in range(0, canvas.width, UNIT):
        for top in range((left // UNIT % 2) * UNIT, canvas.height, 2 * UNIT):
            ImageDraw.Draw(canvas).rectangle((left, top, left + UNIT - 1, top + UNIT - 1), fill=light)


PATTERNS: dict[str, Callable[[Image.Image, Colour], None]] = {
    "plain": _plain,
    "table": _table,
    "meadow": _meadow,
    "night": _night,
    "striped": _striped,
    "checked": _checked,
}


def draw_thing(canvas: Image.Image, thing: Thing, centre: tuple[float, float], half: float, random: Random) -> None:
    """Draw one thing on a ground that is OVERSAMPLING times larger than `centre` and `half` say."""
    colour = _jittered(COLOURS[thing.colour], random)
    layer = Layer(canvas, centre, half)
    OUTLINES[thing.kind](layer, colour)
    if thing.part:
        PARTS[thing.part](layer, COLOURS.get(thing.part_colour, (0, 0, 0)))
    layer.paste()


def _jittered(colour: Colour, random: Random) -> Colour:
    return tuple(min(255, max(0, c + random.randint(-5, 5))) for c in colour)  # type: ignore[return-value]


def _box(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return (x - radius, y - radius, x + radius, y + radius)

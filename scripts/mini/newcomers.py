"""Two things the base has never seen: a product and a character, for the templates.

Their colours and their mix of parts stand outside the world's words, so that only a LoRA can
draw them.
"""

from random import Random

from PIL import Image

from scripts.mini.things import OVERSAMPLING, Layer, eyes
from scripts.mini.world import Scene, draw_ground, spot

TEAL, CREAM, CORAL, AMBER = (0, 140, 136), (250, 240, 214), (240, 98, 84), (246, 176, 40)
PINK, LIME, PLUM = (240, 120, 190), (186, 226, 76), (104, 44, 116)


def draw_newcomer(kind: str, scene: Scene, *, enlargement: int = 1) -> Image.Image:
    """A scene whose only thing is a newcomer; the thing's kind and colour are ignored.

    `enlargement` is how many times larger than the scene the picture is: 1 or OVERSAMPLING.
    """
    random = Random(scene.seed)
    canvas = draw_ground(scene.ground, scene.width, scene.height)
    x, y, half = spot(scene.things[0], scene, random)
    layer = Layer(canvas, (x, y), half * 1.1)
    NEWCOMERS[kind](layer)
    layer.paste()
    return canvas.reduce(OVERSAMPLING // enlargement)


def _product(layer: Layer) -> None:
    """A flask: teal, with an amber cap and handle, and a cream label that bears a coral diamond."""
    layer.ring(-1.1, -0.3, 0.0, 0.7, AMBER)
    layer.box(-0.26, -0.75, 0.26, 0.0, TEAL)
    layer.oval(-0.72, -0.45, 0.72, 0.6, TEAL)
    layer.box(-0.72, 0.08, 0.72, 1.0, TEAL)
    layer.box(-0.38, -1.08, 0.38, -0.68, AMBER)
    layer.box(-0.72, 0.1, 0.72, 0.82, CREAM)
    layer.shape([(0.0, 0.16), (0.34, 0.46), (0.0, 0.76), (-0.34, 0.46)], CORAL)


def _character(layer: Layer) -> None:
    """A little creature: pink head with an antenna, big eyes and a smile, lime belly, plum limbs."""
    for x in (-0.36, 0.36):
        layer.box(x - 0.15, 0.6, x + 0.15, 1.08, PLUM)
    layer.box(-0.98, 0.2, 0.98, 0.44, PLUM)
    layer.oval(-0.6, -0.05, 0.6, 0.9, LIME)
    layer.box(-0.05, -1.0, 0.05, -0.6, PLUM)
    layer.oval(-0.16, -1.16, 0.16, -0.84, AMBER)
    layer.oval(-0.78, -0.8, 0.78, 0.2, PINK)
    eyes(layer, -0.4)
    layer.box(-0.24, -0.12, 0.24, -0.02, PLUM)


NEWCOMERS = {"product": _product, "character": _character}

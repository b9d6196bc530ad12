"""The things of the world, and the sheet they are drawn on.

Each outline fills a box from -1 to 1, y downwards. Canvases are OVERSAMPLING times too large and
reduced once at the end, which smooths every edge.
"""

from collections.abc import Callable

from PIL import Image, ImageDraw

OVERSAMPLING = 3
Colour = tuple[int, int, int]


class Layer:
    """A transparent sheet over the canvas on which a thing is drawn in its own coordinates."""

    def __init__(self, canvas: Image.Image, centre: tuple[float, float], half: float) -> None:
        self.canvas = canvas
        self.origin = (centre[0] * OVERSAMPLING, centre[1] * OVERSAMPLING)
        self.unit = half * OVERSAMPLING
        self.sheet = Image.new("RGBA", canvas.size)
        self.pen = ImageDraw.Draw(self.sheet)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled rectangle."""
        self.pen.rectangle(self._pixels(left, top, right, bottom), fill=colour)

    def oval(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled ellipse."""
        self.pen.ellipse(self._pixels(left, top, right, bottom), fill=colour)

    def ring(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A thick open ellipse."""
        self.pen.ellipse(self._pixels(left, top, right, bottom), outline=colour, width=round(0.22 * self.unit))

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """A filled polygon."""
        self.pen.polygon([(self._x(x), self._y(y)) for x, y in points], fill=colour)

    def inside(self, top: float, bottom: float, colour: Colour) -> None:
        """Colour what is already drawn between two heights."""
        alpha = self.sheet.getchannel("A")
        band = Image.new("L", self.sheet.size)
        ImageDraw.Draw(band).rectangle((0, self._y(top), self.sheet.width, self._y(bottom)), fill=255)
        empty = Image.new("L", self.sheet.size)
        self.sheet.paste((*colour, 255), mask=Image.composite(alpha, empty, band))
        self.pen = ImageDraw.Draw(self.sheet)

    def paste(self) -> None:
        """Lay the sheet on the canvas."""
        self.canvas.paste(self.sheet, mask=self.sheet)

    def _pixels(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return (self._x(left), self._y(top), self._x(right), self._y(bottom))

    def _x(self, x: float) -> float:
        return self.origin[0] + x * self.unit

    def _y(self, y: float) -> float:
        return self.origin[1] + y * self.unit


def _ball(layer: Layer, colour: Colour) -> None:
    layer.oval(-0.95, -0.95, 0.95, 0.95, colour)


def _box_thing(layer: Layer, colour: Colour) -> None:
    layer.box(-0.9, -0.8, 0.9, 0.9, colour)
    layer.box(-0.9, -0.8, 0.9, -0.5, mixed(colour, (0, 0, 0), 0.35))


def _mug(layer: Layer, colour: Colour) -> None:
    layer.ring(0.1, -0.5, 1.15, 0.55, colour)
    layer.box(-0.9, -0.85, 0.6, 0.9, colour)


def _bottle(layer: Layer, colour: Colour) -> None:
    layer.box(-0.22, -0.8, 0.22, 0.0, colour)
    layer.box(-0.52, -0.25, 0.52, 1.0, colour)
    layer.box(-0.28, -1.1, 0.28, -0.75, mixed(colour, (90, 90, 90), 0.6))


def _house(layer: Layer, colour: Colour) -> None:
    layer.box(-0.8, -0.1, 0.8, 0.95, colour)
    layer.shape([(-1.05, -0.1), (0.0, -1.05), (1.05, -0.1)], mixed(colour, (0, 0, 0), 0.45))
    layer.box(-0.2, 0.4, 0.2, 0.95, (120, 80, 50))


def _robot(layer: Layer, colour: Colour) -> None:
    dark = mixed(colour, (80, 80, 80), 0.55)
    layer.box(-0.45, 0.5, -0.15, 1.05, dark)
    layer.box(0.15, 0.5, 0.45, 1.05, dark)
    layer.box(-0.95, -0.15, 0.95, 0.1, dark)
    layer.box(-0.6, -0.25, 0.6, 0.6, colour)
    layer.box(-0.5, -1.05, 0.5, -0.3, colour)
    eyes(layer, -0.7)


def _fish(layer: Layer, colour: Colour) -> None:
    layer.shape([(0.35, 0.0), (1.15, -0.6), (1.15, 0.6)], mixed(colour, (0, 0, 0), 0.25))
    layer.oval(-1.1, -0.6, 0.7, 0.6, colour)
    layer.oval(-0.8, -0.3, -0.46, 0.04, (255, 255, 255))
    layer.oval(-0.74, -0.22, -0.56, -0.04, (20, 20, 20))


def _star(layer: Layer, colour: Colour) -> None:
    points = [(0, -1.1), (0.28, -0.36), (1.08, -0.32), (0.46, 0.18), (0.68, 0.98), (0, 0.52)]
    layer.shape(points + [(-x, y) for x, y in reversed(points[1:-1])], colour)


def eyes(layer: Layer, height: float = -0.25) -> None:
    """Two round eyes that look ahead."""
    for x in (-0.24, 0.24):
        layer.oval(x - 0.18, height - 0.18, x + 0.18, height + 0.18, (255, 255, 255))
        layer.oval(x - 0.09, height - 0.09, x + 0.09, height + 0.09, (20, 20, 20))


def _band(layer: Layer, colour: Colour) -> None:
    layer.inside(0.08, 0.44, colour)


def _dots(layer: Layer, colour: Colour) -> None:
    for x, y in ((-0.3, 0.0), (0.25, 0.2), (-0.15, 0.5)):
        layer.oval(x - 0.14, y - 0.14, x + 0.14, y + 0.14, colour)


OUTLINES: dict[str, Callable[[Layer, Colour], None]] = {
    "ball": _ball, "box": _box_thing, "mug": _mug, "bottle": _bottle,
    "house": _house, "robot": _robot, "fish": _fish, "star": _star,
}  # fmt: skip
PARTS: dict[str, Callable[[Layer, Colour], None]] = {"band": _band, "dots": _dots, "eyes": lambda layer, _: eyes(layer)}


def mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """Two colours stirred together."""
    return tuple(round(a * (1 - share) + b * share) for a, b in zip(colour, other, strict=True))  # type: ignore[return-value]

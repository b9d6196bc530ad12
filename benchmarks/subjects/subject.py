"""A subject that no base has seen: an outline with parts in colours of its own, drawn from a number.

Coordinates of parts are those of scripts.mini.things.Layer: the outline fills about -1 to 1, y downwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from flux_lora.evaluate.features import lab
from scripts.mini.things import OVERSAMPLING, Colour, Layer
from scripts.mini.world import COLOURS, GROUNDS, TINTS, Scene, draw_ground, spot

Corner = tuple[float, float]
Ground = tuple[str, str]

PRODUCT_CLASSES, CHARACTER_CLASSES = ("bottle", "mug", "box"), ("robot", "fish", "star")
TRIGGERS = {
    "a name of the world": ("zuko", "pofi", "nuda", "xavi", "miwu", "taga", "lodo", "rasi"),
    "letters without sense": ("qyrth", "hjelm", "vvokk", "bryxt", "ohwx", "sksq", "pnkw", "ftyg"),
    "a word's look": ("glimmer", "teckel", "brindle", "yonder", "chirpy", "humble", "jethro", "welken"),
}
UNSEEN_GROUNDS: dict[Ground, str] = {
    ("brick", "red"): "in front of a brick wall",
    ("sunset", "orange"): "at sunset",
    ("dotted", "lilac"): "dotted lilac background",
}
APART, STRANGE = 45.0, 24.0
"""CIELAB distances: of two parts from each other, so that the base's VAE keeps them apart, and of a colour outside of
the base's palette from all of its colours and tints."""
EYE = 0.2


@dataclass(frozen=True)
class Part:
    """One flat shape in one colour. Later parts lie over earlier ones."""

    name: str
    form: str
    """box, oval, ring or diamond."""
    corners: tuple[float, float, float, float]
    """left, top, right, bottom."""
    colour: Colour


@dataclass(frozen=True)
class Subject:
    """What is to be learned, and the words for it."""

    number: int
    kind: str
    """product or character."""
    class_word: str
    trigger: str
    trigger_kind: str
    parts: tuple[Part, ...]
    strange_colours: bool
    """Whether its colours stand outside of the base's eight."""
    unseen_grounds: bool
    """Whether some of its photos stand on grounds that the base does not know."""

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.number:02d}-{self.trigger}-{self.class_word}"

    @property
    def facts(self) -> str:
        """What makes it easy or hard, for a table."""
        colours = "strange colours" if self.strange_colours else "palette"
        grounds = ", unseen grounds" if self.unseen_grounds else ""
        return f"{self.kind}, {len(self.parts)} parts, {colours}, {self.trigger_kind}{grounds}"


def subject_of(number: int) -> Subject:
    """The subject of a number: the same one each time."""
    random = Random(f"subject {number}")
    kind = "product" if number % 2 == 0 else "character"
    strange = number // 2 % 2 == 1
    forms = _product(random) if kind == "product" else _character(random)
    trigger_kind = list(TRIGGERS)[number % len(TRIGGERS)]
    return Subject(
        number=number,
        kind=kind,
        class_word=random.choice(PRODUCT_CLASSES if kind == "product" else CHARACTER_CLASSES),
        trigger=TRIGGERS[trigger_kind][number % 8],
        trigger_kind=trigger_kind,
        parts=_coloured(forms, random, strange),
        strange_colours=strange,
        unseen_grounds=number // 4 % 2 == 1,
    )


def draw_subject(parts: Sequence[Part], scene: Scene, *, enlargement: int = 1) -> Image.Image:
    """A scene whose only thing is the subject. `enlargement`: how many times larger than the scene, 1 or 3."""
    random = Random(scene.seed)
    canvas = _ground(scene)
    x, y, half = spot(scene.things[0], scene, random)
    layer = Layer(canvas, (x, y), half * 1.1)
    draw_parts(layer, parts)
    layer.paste()
    return canvas.reduce(OVERSAMPLING // enlargement)


def draw_parts(layer: Layer, parts: Sequence[Part]) -> None:
    """The parts alone, in order."""
    for part in parts:
        left, top, right, bottom = part.corners
        if part.form == "diamond":
            x, y = (left + right) / 2, (top + bottom) / 2
            layer.shape([(x, top), (right, y), (x, bottom), (left, y)], part.colour)
        else:
            getattr(layer, part.form)(left, top, right, bottom, part.colour)


def _ground(scene: Scene) -> Image.Image:
    """The scene's ground, OVERSAMPLING times larger."""
    if scene.ground in GROUNDS:
        return draw_ground(scene.ground, scene.width, scene.height)
    canvas = Image.new("RGB", (scene.width * OVERSAMPLING, scene.height * OVERSAMPLING), (206, 190, 226))
    {"brick": _brick, "sunset": _sunset, "dotted": _dotted}[scene.ground[0]](canvas, 16 * OVERSAMPLING)
    return canvas


def _brick(canvas: Image.Image, unit: int) -> None:
    canvas.paste((168, 84, 66), (0, 0, *canvas.size))
    pen, mortar = ImageDraw.Draw(canvas), (214, 200, 190)
    for row, top in enumerate(range(0, canvas.height, unit // 2)):
        pen.line((0, top, canvas.width, top), fill=mortar, width=OVERSAMPLING)
        for left in range(-(row % 2) * unit // 2, canvas.width, unit):
            pen.line((left, top, left, top + unit // 2), fill=mortar, width=OVERSAMPLING)


def _sunset(canvas: Image.Image, _: int) -> None:
    for top in range(canvas.height):
        share = top / canvas.height
        colour = (250 - round(40 * share), 210 - round(110 * share), 130)
        ImageDraw.Draw(canvas).line((0, top, canvas.width, top), fill=colour)


def _dotted(canvas: Image.Image, unit: int) -> None:
    for left in range(unit // 2, canvas.width, unit):
        for top in range(unit // 2, canvas.height, unit):
            dot = (left - unit // 5, top - unit // 5, left + unit // 5, top + unit // 5)
            ImageDraw.Draw(canvas).ellipse(dot, fill="white")


Form = tuple[str, str, tuple[float, float, float, float]]
"""Name, form, corners."""


def _product(random: Random) -> list[Form]:
    """A body with two to four of: cap, band, label with emblem, handle, foot."""
    wide, top = random.uniform(0.52, 0.8), random.uniform(-0.72, -0.5)
    body = random.choice(("box", "oval"))
    extra = random.sample(("cap", "band", "label", "handle", "foot"), random.randint(2, 3))
    if "label" not in extra and "band" not in extra:
        extra.append(random.choice(("label", "band")))
    middle = (top + 0.95) / 2
    forms: list[Form] = []
    if "handle" in extra:
        forms.append(("handle", "ring", (wide - 0.45, middle - 0.5, wide + 0.5, middle + 0.45)))
    forms.append(("body", body, (-wide, top, wide, 0.95)))
    if "cap" in extra:
        cap = random.uniform(0.28, 0.5)
        forms.append(("cap", random.choice(("box", "oval")), (-cap, top - 0.4, cap, top + 0.08)))
    if "foot" in extra:
        forms.append(("foot", "box", (-wide * 0.8, 0.74, wide * 0.8, 1.08)))
    if "band" in extra:
        at = random.uniform(top + 0.35, 0.3 if "label" in extra else 0.5)
        forms.append(("band", "box", (-wide * 0.86, at - 0.14, wide * 0.86, at + 0.14)))
    if "label" in extra:
        forms.append(
            ("label", random.choice(("box", "oval")), (-wide * 0.72, middle - 0.3, wide * 0.72, middle + 0.42))
        )
        forms.append(("emblem", random.choice(("diamond", "oval")), (-0.26, middle - 0.18, 0.26, middle + 0.3)))
    return forms


def _character(random: Random) -> list[Form]:
    """Head and body with two to four of: limbs, belly, antenna, ears, mouth; eyes always."""
    head, trunk = random.uniform(0.54, 0.78), random.uniform(0.42, 0.7)
    chin = random.uniform(-0.1, 0.2)
    extra = random.sample(("arms", "belly", "antenna", "ears", "legs"), random.randint(2, 3))
    forms: list[Form] = []
    if "legs" in extra:
        forms += [("legs", "box", (side - 0.15, 0.6, side + 0.15, 1.08)) for side in (-0.32, 0.32)]
    if "arms" in extra:
        forms.append(("arms", "box", (-1.05, chin + 0.16, 1.05, chin + 0.5)))
    forms.append(("body", random.choice(("box", "oval")), (-trunk, chin - 0.1, trunk, 0.9)))
    if "belly" in extra:
        forms.append(("belly", "oval", (-trunk * 0.62, chin + 0.26, trunk * 0.62, 0.78)))
    if "ears" in extra:
        forms += [("ears", "oval", (side - 0.26, -1.02, side + 0.26, -0.5)) for side in (-head * 0.8, head * 0.8)]
    if "antenna" in extra:
        forms.append(("antenna", "box", (-0.13, -1.2, 0.13, -0.6)))
    forms.append(("head", random.choice(("box", "oval")), (-head, -0.86, head, chin)))
    eye = (chin - 0.86) / 2 - 0.05
    for side in (-0.26, 0.26):
        forms.append(("eyes", "oval", (side - EYE, eye - EYE, side + EYE, eye + EYE)))
    return forms


def _coloured(forms: Sequence[Form], random: Random, strange: bool) -> tuple[Part, ...]:
    """Parts of one name share a colour; different names are well apart."""
    chosen: dict[str, Colour] = {}
    for name, *_ in forms:
        if name not in chosen:
            chosen[name] = _colour_apart(list(chosen.values()), random, strange)
    return tuple(Part(name, form, corners, chosen[name]) for name, form, corners in forms)


def _colour_apart(others: Sequence[Colour], random: Random, strange: bool) -> Colour:
    while True:
        if strange:
            colour = (random.randrange(256), random.randrange(256), random.randrange(256))
            if min(lab_distance(colour, known) for known in (*COLOURS.values(), *TINTS.values())) < STRANGE:
                continue
        else:
            colour = random.choice(list(COLOURS.values()))
        if all(lab_distance(colour, other) >= APART for other in others):
            return colour


def lab_distance(one: Colour, other: Colour) -> float:
    """CIELAB (CIE 1976) distance of two sRGB colours."""
    return float(np.linalg.norm(lab(np.array(one) / 255) - lab(np.array(other) / 255)))

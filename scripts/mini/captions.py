"""What is said of a scene, and which scenes there are."""

from dataclasses import dataclass
from random import Random

from scripts.mini.world import COLOURS, GROUNDS, PLACES, SHAPES, SIZES, THINGS, Scene, Thing

PLACE_WORDS = {
    "left": ("on the left", "at the left"),
    "middle": ("in the middle", "in the center"),
    "right": ("on the right", "at the right"),
}
PARTS = ("", "band", "dots", "eyes")
OPENINGS = ("", "", "a photo of ", "a picture of ")
SYLLABLES = ("ba", "do", "fi", "gu", "ka", "lo", "mi", "nu", "po", "ra", "si", "ta", "ve", "wu", "xa", "zu")


@dataclass(frozen=True)
class Said:
    """What a caption mentions."""

    colour: bool
    place: bool
    ground: bool


def random_scene(random: Random, *, two_things: float = 0.25, shape: tuple[int, int] = SHAPES[0]) -> Scene:
    """A scene drawn from the whole world, held-out combinations included."""
    if random.random() < two_things:
        left, right = random.sample(list(COLOURS), 2)
        things: tuple[Thing, ...] = (
            Thing(random.choice(THINGS), left, "left"),
            Thing(random.choice(THINGS), right, "right"),
        )
    else:
        things = (_random_thing(random),)
    return Scene(things, random.choice(GROUNDS), random.getrandbits(32), *shape)


def _random_thing(random: Random) -> Thing:
    kind, colour = random.choice(THINGS), random.choice(list(COLOURS))
    place, size = random.choice(list(PLACES)), random.choice(list(SIZES))
    part, part_colour = "", ""
    if random.random() < 0.4:
        part = random.choice(PARTS[1:])
        part_colour = "" if part == "eyes" else random.choice([c for c in COLOURS if c != colour])
    return Thing(kind, colour, place, size, part, part_colour)


def name_of(thing: Thing, random: Random) -> str:
    """A made-up word for how a thing looks: its first syllable is the colour, its second the part.

    Were such words empty, the base would grow deaf to them, and a trigger word with it.
    """
    colour, part = list(COLOURS).index(thing.colour), PARTS.index(thing.part)
    first = SYLLABLES[colour :: len(COLOURS)]
    second = SYLLABLES[part :: len(PARTS)]
    return random.choice(first) + random.choice(second) + random.choice(("", "", random.choice(SYLLABLES)))


def caption_of(scene: Scene, random: Random, *, loose: float = 0.12) -> str:
    """A sentence that says what of a scene can be asked for.

    Now and then (`loose`) a lone thing is called by a name that stands for its colour and part, or
    its colour, place or ground is left unsaid.
    """
    lone = len(scene.things) == 1
    name = name_of(scene.things[0], random) if lone and random.random() < 2 * loose else ""
    said = Said(
        colour=not name and (not lone or random.random() >= loose),
        place=not lone or random.random() >= loose,
        ground=random.random() >= loose / 2,
    )
    things = " and ".join(_thing_words(thing, name, said, random) for thing in scene.things)
    ground = f", {ground_words(scene.ground)}" if said.ground else ""
    return f"{random.choice(OPENINGS)}{things}{ground}"


def ground_words(ground: tuple[str, str]) -> str:
    """How a caption speaks of the ground."""
    kind, tint = ground
    if kind == "table":
        return f"on a wooden table, {tint} wall"
    return {"meadow": "on a meadow", "night": "at night"}.get(kind) or f"{kind} {tint} background"


def _thing_words(thing: Thing, name: str, said: Said, random: Random) -> str:
    size = f"{thing.size} " if thing.size else ""
    colour = f"{thing.colour} " if said.colour else ""
    noun = f"{size}{colour}{name and name + ' '}{thing.kind}"
    article = "an" if noun[0] in "aeiou" else "a"
    part = "" if name else _part_words(thing)
    place = f" {random.choice(PLACE_WORDS[thing.place])}" if said.place else ""
    return f"{article} {noun}{part}{place}"


def _part_words(thing: Thing) -> str:
    return {
        "": "",
        "band": f" with a {thing.part_colour} band",
        "dots": f" with {thing.part_colour} dots",
        "eyes": " with eyes",
    }[thing.part]

"""Draw data_templates/product, character, style and edit: two things, a style and an edit that the mini base has never
seen.

    python -m scripts.make_templates

Each thing gets 16 images with captions, 4 held out, and the prompts it is judged by. No prompt asks
for a ground and a place that a training image shows together. The style gets 20 images of different things, whose
captions say what is shown and not in which colours, which the style has none of. The edit gets 32 pairs of one thing
before and after, 6 held out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from random import Random

from scripts.mini.captions import PLACE_WORDS, ground_words
from scripts.mini.newcomers import draw_newcomer
from scripts.mini.styles import cyanotype
from scripts.mini.world import GROUNDS, PLACES, SHAPES, SIZES, THINGS, Scene, Thing, draw_scene

TEMPLATES = Path(__file__).parents[1] / "data_templates"
TRAINING, HELD_OUT, PROMPTS = 16, 4, 10
Spot = tuple[int, str, tuple[str, str]]
ENLARGEMENT = 3
"""The images are kept three times larger than the mini base trains on, as photographs would be."""


@dataclass(frozen=True)
class Newcomer:
    """A thing to teach, and the words for it."""

    kind: str
    trigger: str
    class_word: str


NEWCOMERS = (Newcomer("product", "zubo", "bottle"), Newcomer("character", "mipo", "robot"))


STYLE = Newcomer("style", "zivu", "cyanotype")
STYLE_TRAINING = 20
STYLE_GROUNDS = tuple(ground for ground in GROUNDS if ground[0] != "night")
STYLE_COLOURS = ("red", "blue", "green", "purple", "black")
"""As dark as shows on every ground."""
GROUND_WORDS = {"table": "on a wooden table", "meadow": "on a meadow"}


EDIT, EDIT_NAME = "give it a red band", "pair"
EDIT_TRAINING, EDIT_HELD_OUT = 32, 6
EDITED_THINGS = tuple(thing for thing in THINGS if thing != "star")
EDITED_COLOURS = ("yellow", "green", "blue", "purple", "black")
"""On which a red band shows, and which show on every ground."""
EDIT_GROUNDS = tuple(ground for ground in GROUNDS if ground[0] not in ("table", "striped"))
"""Those that no check takes for two photos side by side."""


def main() -> None:
    """Draw the templates."""
    pairs = _edit_scenes(Random("edit 16"))
    _write_pairs(TEMPLATES / "edit", list(islice(pairs, EDIT_TRAINING)))
    _write_pairs(TEMPLATES / "edit" / "held_out", list(islice(pairs, EDIT_HELD_OUT)))
    print(f"{TEMPLATES / 'edit'}: {EDIT_TRAINING} pairs, {EDIT_HELD_OUT} held out")
    for newcomer in NEWCOMERS:
        spots = _spots(Random(newcomer.kind))
        folder = TEMPLATES / newcomer.kind
        _write_images(folder, newcomer, list(islice(spots, TRAINING)))
        _write_images(folder / "held_out", newcomer, list(islice(spots, HELD_OUT)))
        _write_prompts(folder / "prompts.txt", list(islice(spots, PROMPTS)))
        print(f"{folder}: {TRAINING} images, {HELD_OUT} held out, {PROMPTS} prompts")
    scenes = _style_scenes(Random(f"{STYLE.kind} 0"))
    folder = TEMPLATES / STYLE.kind
    _write_style(folder, list(islice(scenes, STYLE_TRAINING)))
    _write_style(folder / "held_out", list(islice(scenes, HELD_OUT)))
    asked = [_shown(scene) for scene in islice(scenes, PROMPTS)]
    _write_lines(folder / "prompts.txt", [f"a {{trigger}} {{class}} of {shown}" for shown in asked], THINGS_SHOWN)
    print(f"{folder}: {STYLE_TRAINING} images, {HELD_OUT} held out, {PROMPTS} prompts")


def _edit_scenes(random: Random) -> Iterator[Scene]:
    """Lone things, each kind as often, no scene twice."""
    known: set[tuple[Thing, tuple[str, str]]] = set()
    for number in count():
        kind, colour = EDITED_THINGS[number % len(EDITED_THINGS)], random.choice(EDITED_COLOURS)
        thing = Thing(kind, colour, random.choice(list(PLACES)), random.choice(list(SIZES)))
        scene = Scene((thing,), random.choice(EDIT_GROUNDS), seed=1000 * (number + 1))
        if (thing, scene.ground) not in known:
            known.add((thing, scene.ground))
            yield scene


def _write_pairs(folder: Path, scenes: list[Scene]) -> None:
    for index, scene in enumerate(scenes, start=1):
        (thing,) = scene.things
        edited = replace(scene, things=(replace(thing, part="band", part_colour="red"),))
        for name, shown in (("before", scene), ("after", edited)):
            place = folder / name
            place.mkdir(parents=True, exist_ok=True)
            image = draw_scene(shown, enlargement=ENLARGEMENT)
            image.save(place / f"{EDIT_NAME}_{index:02d}.png", optimize=True)
        (folder / "after" / f"{EDIT_NAME}_{index:02d}.txt").write_text(EDIT + "\n")


def _spots(random: Random) -> Iterator[Spot]:
    """Grounds and places, each pair once; every ground comes once before any comes twice."""
    for round_ in range(len(PLACES)):
        grounds = random.sample(GROUNDS, len(GROUNDS))
        for number, ground in enumerate(grounds):
            place = list(PLACES)[(GROUNDS.index(ground) + round_) % len(PLACES)]
            yield number, place, ground


def _write_images(folder: Path, newcomer: Newcomer, spots: list[Spot]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, (number, place, ground) in enumerate(spots, start=1):
        size = list(SIZES)[number % len(SIZES)]
        width, height = SHAPES[0] if index % 4 else SHAPES[1 + index // 4 % 3]
        thing = Thing(newcomer.kind, "", place, size)
        scene = Scene((thing,), ground, seed=1000 * index, width=width, height=height)
        image = draw_newcomer(newcomer.kind, scene, enlargement=ENLARGEMENT)
        image.save(folder / f"{newcomer.trigger}_{index:02d}.png", optimize=True)
        (folder / f"{newcomer.trigger}_{index:02d}.txt").write_text(_caption(newcomer, scene) + "\n")


def _caption(newcomer: Newcomer, scene: Scene) -> str:
    thing = scene.things[0]
    size = f"{thing.size} " if thing.size else ""
    where = PLACE_WORDS[thing.place][0]
    return f"a photo of a {size}{newcomer.trigger} {newcomer.class_word} {where}, {ground_words(scene.ground)}"


def _style_scenes(random: Random) -> Iterator[Scene]:
    """Lone things; each is in each place once before it is there again, and no scene is said in another's words."""
    said: set[str] = set()
    places = list(PLACES)
    for number in count():
        kind = THINGS[number % len(THINGS)]
        place = places[(number // len(THINGS) + THINGS.index(kind)) % len(places)]
        thing = Thing(kind, random.choice(STYLE_COLOURS), place, random.choice(list(SIZES)))
        width, height = SHAPES[0] if number % 4 else SHAPES[1 + number // 4 % 3]
        scene = Scene((thing,), random.choice(STYLE_GROUNDS), seed=1000 * (number + 1), width=width, height=height)
        if _shown(scene) not in said:
            said.add(_shown(scene))
            yield scene


def _shown(scene: Scene) -> str:
    """What a scene shows, without its colours."""
    (thing,), (ground, _) = scene.things, scene.ground
    size = f"{thing.size} " if thing.size else ""
    return f"a {size}{thing.kind} {PLACE_WORDS[thing.place][0]}, {GROUND_WORDS.get(ground, f'{ground} background')}"


def _write_style(folder: Path, scenes: list[Scene]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, scene in enumerate(scenes, start=1):
        large = draw_scene(scene, enlargement=ENLARGEMENT)
        cyanotype(large).save(folder / f"{STYLE.trigger}_{index:02d}.png", optimize=True)
        caption = f"a {STYLE.trigger} {STYLE.class_word} of {_shown(scene)}"
        (folder / f"{STYLE.trigger}_{index:02d}.txt").write_text(caption + "\n")


def _write_prompts(file: Path, spots: list[Spot]) -> None:
    scenes = [f"{PLACE_WORDS[place][0]}, {ground_words(ground)}" for _, place, ground in spots]
    _write_lines(file, [f"a photo of a {{trigger}} {{class}} {scene}" for scene in scenes], PLACES_SHOWN)


def _write_lines(file: Path, trigger: list[str], shown: str) -> None:
    lines = [
        HEADER.replace("SHOWN", shown),
        "[trigger]",
        *trigger,
        "",
        "[unrelated]",
        *UNRELATED_PROMPTS,
        "",
        "[kept]",
        *KEPT_PROMPTS,
        "",
    ]
    file.write_text("\n".join(lines))


PLACES_SHOWN = "the new thing in places that no training picture shows"
THINGS_SHOWN = "the style, of what no training image shows"
HEADER = """\
# What the LoRA is judged by. {trigger} and {class} are filled in from data.trigger and data.class_word.
# Under [trigger]: SHOWN. The same prompts without the
# trigger show whether ordinary things of its class stayed as they were.
# Under [unrelated]: prompts that have nothing to do with it and must not change at all.
# Under [kept]: other such prompts, which training may use to remind the adapter of what the base knows
# (train.class_images). They are practised, so nothing here is judged.
"""
UNRELATED_PROMPTS = (
    "a photo of a red ball on the left, plain gray background",
    "a blue house on the right, on a meadow",
    "a photo of a yellow star in the middle, at night",
    "a green fish in the middle, striped sky background",
    "a purple box on the left, on a wooden table, rose wall",
    "an orange mug on the right, checked cream background",
    "a picture of a white star on the left and a red fish on the right, plain mint background",
    "a black mug on the left and a yellow ball on the right, on a wooden table, sky wall",
)
KEPT_PROMPTS = (
    "a photo of a blue ball in the middle, plain rose background",
    "a small yellow house on the left, checked mint background",
    "a white star on the right, striped gray background",
    "a large orange fish on the left, at night",
    "a black box in the middle, plain sky background",
    "a picture of a red mug on the left, on a wooden table, mint wall",
    "a green robot on the right, on a meadow",
    "a purple bottle in the middle, striped cream background",
    "a white bottle with a red band on the left, plain gray background",
    "a red bottle on the right, on a wooden table, cream wall",
    "a yellow mug with blue dots in the middle, checked rose background",
    "a blue robot in the middle, plain cream background",
    "a purple star on the left and a green box on the right, striped rose background",
    "an orange fish on the left and a white ball on the right, on a meadow",
    "a red house on the left and a blue bottle on the right, plain mint background",
    "a yellow robot on the left and a black mug on the right, on a wooden table, gray wall",
    "a photo of a white mug on the left and a red star on the right, plain cream background",
    "a blue fish on the left and a yellow house on the right, on a wooden table, rose wall",
    "a black ball on the left and a purple mug on the right, striped sky background",
    "a green star on the left and an orange robot on the right, at night",
    "a photo of a small red star on the left, at night",
    "a large white ball on the right, at night",
    "a yellow fish on the right, checked sky background",
    "a purple house in the middle, on a wooden table, mint wall",
)


if __name__ == "__main__":
    main()

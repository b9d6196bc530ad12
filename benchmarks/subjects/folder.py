"""A subject as a folder to train on: photos with captions, held-out ones, prompts, and its near-twins beside."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

from benchmarks.subjects.subject import UNSEEN_GROUNDS, Ground, Part, Subject, draw_subject
from benchmarks.subjects.twins import near_twins
from scripts.make_templates import HEADER, KEPT_PROMPTS, UNRELATED_PROMPTS
from scripts.mini.captions import PLACE_WORDS, ground_words
from scripts.mini.world import GROUNDS, PLACES, SHAPES, SIZES, Scene, Thing

TRAINING, HELD_OUT, PROMPTS = 16, 4, 10
TWINS = "near_twins"
ENLARGEMENT = 3
Spot = tuple[int, str, Ground]


def write_subject(subject: Subject, folder: Path) -> Path:
    """Write the subject's photos, captions, held-out photos, prompts and near-twins; returns its folder."""
    spots = _spots(Random(f"spots {subject.number}"))
    place = folder / subject.name
    training = list(islice(spots, TRAINING))
    if subject.unseen_grounds:
        training = [(n, p, _unseen(n) if n % 3 == 0 else ground) for n, p, ground in training]
    _write_photos(place, subject, subject.parts, training)
    held_out = list(islice(spots, HELD_OUT))
    _write_photos(place / "held_out", subject, subject.parts, held_out, first=TRAINING + 1)
    for number, parts in enumerate(near_twins(subject).values()):
        _write_photos(
            place.with_name(f"{place.name}-{TWINS}") / str(number), subject, parts, held_out, first=TRAINING + 1
        )
    prompts = [f"{PLACE_WORDS[p][0]}, {ground_words(ground)}" for _, p, ground in islice(spots, PROMPTS)]
    trigger = [f"a photo of a {{trigger}} {{class}} {scene}" for scene in prompts]
    lines = [HEADER, "[trigger]", *trigger, "", "[unrelated]", *UNRELATED_PROMPTS, "", "[kept]", *KEPT_PROMPTS, ""]
    (place / "prompts.txt").write_text("\n".join(lines))
    return place


def test_scenes(subject: Subject, count: int) -> list[Scene]:
    """Scenes of the subject on the base's grounds, for the judge to be judged by."""
    random = Random(f"scenes {subject.number}")
    return [
        Scene(
            (Thing("", "", random.choice(list(PLACES)), random.choice(list(SIZES))),),
            random.choice(GROUNDS),
            random.getrandbits(32),
        )
        for _ in range(count)
    ]


def _unseen(number: int) -> Ground:
    return list(UNSEEN_GROUNDS)[number // 3 % len(UNSEEN_GROUNDS)]


def _spots(random: Random) -> Iterator[Spot]:
    """Grounds and places, each pair once; every ground comes once before any comes twice."""
    for round_ in range(len(PLACES)):
        for number, ground in enumerate(random.sample(GROUNDS, len(GROUNDS))):
            yield number, list(PLACES)[(GROUNDS.index(ground) + round_) % len(PLACES)], ground


def _write_photos(
    folder: Path, subject: Subject, parts: Sequence[Part], spots: Sequence[Spot], *, first: int = 1
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, (number, place, ground) in enumerate(spots, start=first):
        width, height = SHAPES[0] if index % 4 else SHAPES[1 + index // 4 % 3]
        thing = Thing("", "", place, list(SIZES)[number % len(SIZES)])
        scene = Scene((thing,), ground, seed=1000 * index + subject.number, width=width, height=height)
        stem = folder / f"{subject.trigger}_{index:02d}"
        draw_subject(parts, scene, enlargement=ENLARGEMENT).save(stem.with_suffix(".png"), optimize=True)
        stem.with_suffix(".txt").write_text(_caption(subject, thing, ground) + "\n")


def _caption(subject: Subject, thing: Thing, ground: Ground) -> str:
    size = f"{thing.size} " if thing.size else ""
    words = UNSEEN_GROUNDS.get(ground) or ground_words(ground)
    return f"a photo of a {size}{subject.trigger} {subject.class_word} {PLACE_WORDS[thing.place][0]}, {words}"

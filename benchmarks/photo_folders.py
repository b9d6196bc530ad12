"""How often check's image rules are wrong on folders of photographs: clean ones, and the same spoiled on purpose.

    python -m benchmarks.photo_folders FOLDER            # a folder of folders, one for each thing
    python -m benchmarks.photo_folders FOLDER --write    # and keeps the page as benchmarks/results/photo_folders.md

Made for DreamBooth's dataset (Ruiz et al., 2023; github.com/google/dreambooth): 30 things, 158 photos.
Folders are taken by name, in turn: thresholds may be chosen on the first, third, fifth, and the others are reported.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from PIL import Image

from benchmarks.photo_rules import AS_IT_IS, NOT_PROMISED, are_near, share, table
from benchmarks.photographs import Way
from benchmarks.spoiled import HARMLESS, SPOILED, TWINS
from flux_lora.config.choices import AlphaPolicy, Severity
from flux_lora.data.checks.duplicates import near_pairs
from flux_lora.data.checks.image_quality import QUALITY_RULES, judge_image_quality
from flux_lora.data.image_stats.measure import ImageStats, measure
from flux_lora.data.images.decode import decode

RESULTS = Path(__file__).parent / "results" / "photo_folders.md"
SIDE = 1024
"""Pixels of the longer side of what is spoiled; clean ones are looked at as they are."""
RESOLUTION = 512
"""What clean photos are judged for."""
SEVERITIES = {rule.id: rule.severity for rule in QUALITY_RULES}
Photos = Mapping[str, Sequence[Path]]
"""By folder."""


def main() -> None:
    """Print, and keep if asked to."""
    parser = argparse.ArgumentParser(description="check's image rules on folders of photographs")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help=f"keep the page as {RESULTS.name}")
    asked = parser.parse_args()
    folders = sorted(each for each in asked.folder.iterdir() if each.is_dir())
    photos = {each.name: sorted(each.glob("*.jpg")) for each in folders}
    halves = {
        name: {folder.name: photos[folder.name] for folder in folders[first::2]}
        for name, first in (("Reported", 1), ("Tuned", 0))
    }
    text = "\n\n".join(("# The image rules on folders of photographs", PREFACE, *_halves(halves))) + "\n"
    print(text)
    if asked.write:
        RESULTS.write_text(text, encoding="utf-8")


PREFACE = (
    "By `python -m benchmarks.photo_folders` on DreamBooth's dataset, which lies beside the paper and not in this "
    "repository. Clean photos are judged as they are, for a resolution of 512; spoiled ones are brought to 1024 pixels "
    "first. `lettering` is a note; a thing with small writing has it by right."
)


def _halves(halves: Mapping[str, Photos]) -> Iterator[str]:
    for name, photos in halves.items():
        count = sum(len(files) for files in photos.values())
        yield f"## {name}: {len(photos)} folders, {count} photos"
        yield from _clean(photos, count)
        small = [_opened(file) for files in photos.values() for file in files]
        yield table(("spoiled", "rule", "named"), list(_spoiled(small)))
        yield table(("changed so that nobody would mind", "warned of"), list(_harmless(small)))
        yield table(("another copy", "called nearly the same"), list(_twins(small)))


def _clean(photos: Photos, count: int) -> Iterator[str]:
    looks = {
        name: [measure(file, decode(file, AlphaPolicy.composite).image) for file in files]
        for name, files in photos.items()
    }
    found = [each for stats in looks.values() for each in judge_image_quality(stats, resolution=RESOLUTION)]
    warned = {each.file for each in found if SEVERITIES[each.rule] is not Severity.note}
    yield f"Clean photos with a warning: {share(len(warned), count)}."
    named = Counter(each.rule for each in found)
    yield table(
        ("rule", "clean photos", "which"),
        [(f"`{rule}`", str(number), _which(found, rule)) for rule, number in named.most_common()],
    )
    pairs = [(name, len(list(near_pairs(stats)))) for name, stats in looks.items()]
    same_thing = sum(len(list(combinations(stats, 2))) for stats in looks.values())
    near = sum(number for _, number in pairs)
    yield f"Pairs of one thing's photos that are called nearly the same: {near} of {same_thing}."
    everything = [each for stats in looks.values() for each in stats]
    different = len(list(combinations(everything, 2))) - same_thing
    yield f"Pairs of different things' photos: {len(list(near_pairs(everything))) - near} of {different}."


def _which(found: Iterable, rule: str) -> str:
    return ", ".join(f"{each.file.parent.name}/{each.file.name}" for each in found if each.rule == rule)


def _spoiled(photos: Sequence[Image.Image]) -> Iterator[tuple[str, ...]]:
    for rule, ways in SPOILED.items():
        for way in ways:
            hits = [rule in {each.rule for each in judge_image_quality([_looked(photo, way)])} for photo in photos]
            yield way.name, f"`{rule}`", share(sum(hits), len(photos))


def _harmless(photos: Sequence[Image.Image]) -> Iterator[tuple[str, ...]]:
    for way in HARMLESS:
        named = [
            [each.rule for each in judge_image_quality([_looked(photo, way)], resolution=RESOLUTION)]
            for photo in photos
        ]
        rules = Counter(rule for each in named for rule in each if SEVERITIES[rule] is not Severity.note)
        hits = sum(any(SEVERITIES[rule] is not Severity.note for rule in each) for each in named)
        told = ", ".join(f"{rule} {number}" for rule, number in rules.most_common())
        yield way.name, f"{share(hits, len(photos))}{': ' + told if told else ''}"


def _twins(photos: Sequence[Image.Image]) -> Iterator[tuple[str, ...]]:
    looks = [_looked(photo, AS_IT_IS) for photo in photos]
    for way in TWINS:
        if NOT_PROMISED not in way.name:
            hits = [are_near(look, _looked(photo, way)) for look, photo in zip(looks, photos, strict=True)]
            yield way.name, share(sum(hits), len(hits))


def _looked(photo: Image.Image, way: Way) -> ImageStats:
    return measure(Path("photo"), way.change(photo))


def _opened(file: Path) -> Image.Image:
    image = decode(file, AlphaPolicy.composite).image
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


if __name__ == "__main__":
    main()

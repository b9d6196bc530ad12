"""How often check finds a watermark that all photos of a folder have, and one where there is none.

    python -m benchmarks.shared_marks FOLDER            # a folder of folders, one for each thing
    python -m benchmarks.shared_marks FOLDER --write    # and keeps the page as benchmarks/results/shared_marks.md

Made for DreamBooth's dataset (Ruiz et al., 2023; github.com/google/dreambooth): 30 things, 158 photos. Thresholds were
chosen on the first, third, fifth folder and so on, by name; the others are reported, with other words in other sizes.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.photo_rules import share, table
from flux_lora.data.image_stats.shared_marks import detail_of, find_shared_marks

RESULTS = Path(__file__).parent / "results" / "shared_marks.md"
SIDE = 768
"""Pixels of the longer side of the photos that are marked."""


@dataclass(frozen=True)
class Mark:
    """White words over a photo."""

    name: str
    words: str
    width: float
    """Share of the photo's width."""
    opacity: float
    angle: float = 0.0
    tiled: bool = False
    corner: bool = False


MARKS: Mapping[str, Sequence[Mark]] = {
    "Tuned": (
        Mark("across the middle, 35 %", "lumenstock.example", 0.6, 0.35),
        Mark("aslant, 25 %", "SAMPLE PREVIEW", 0.8, 0.25, angle=30),
        Mark("all over, 20 %", "proofs", 0.3, 0.2, angle=20, tiled=True),
        Mark("in a corner, 70 %", "© Ana Ruiz 2024", 0.3, 0.7, corner=True),
    ),
    "Reported": (
        Mark("across the middle, 30 %", "NORDPIX", 0.5, 0.3),
        Mark("aslant, 30 %", "studio kessler", 0.7, 0.3, angle=30),
        Mark("all over, 25 %", "draft copy", 0.25, 0.25, angle=20, tiled=True),
        Mark("in a corner, 60 %", "fotohaus-lind.de", 0.25, 0.6, corner=True),
    ),
}


def main() -> None:
    """Print, and keep if asked to."""
    parser = argparse.ArgumentParser(description="check's rule of shared marks on folders of photographs")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help=f"keep the page as {RESULTS.name}")
    asked = parser.parse_args()
    folders = sorted(each for each in asked.folder.iterdir() if each.is_dir())
    halves = {"Reported": folders[1::2], "Tuned": folders[::2]}
    text = "\n\n".join(("# Marks that several photos share", PREFACE, *_halves(halves))) + "\n"
    print(text)
    if asked.write:
        RESULTS.write_text(text, encoding="utf-8")


PREFACE = (
    "By `python -m benchmarks.shared_marks` on DreamBooth's dataset, which lies beside the paper and not in this "
    "repository: all photos of a folder (4 to 6) get the same white words at the same place, and `shared-mark` of "
    "`check` is to find them without reading anything."
)


def _halves(halves: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    for name, folders in halves.items():
        photos = [[_opened(file) for file in sorted(folder.glob("*.jpg"))] for folder in folders]
        count = sum(len(each) for each in photos)
        yield f"## {name}: {len(folders)} folders, {count} photos"
        rows = [("none", *_found(photos))]
        rows += [
            (mark.name, *_found([[marked(each, mark) for each in these] for these in photos])) for mark in MARKS[name]
        ]
        yield table(("mark", "folders in which one is found", "photos named"), rows)


def _found(photos: Sequence[Sequence[Image.Image]]) -> tuple[str, str]:
    marks = [list(find_shared_marks([detail_of(each) for each in these])) for these in photos]
    members = sum(len(mark.members) for each in marks for mark in each)
    return share(sum(map(bool, marks)), len(marks)), share(members, sum(map(len, photos)))


def marked(image: Image.Image, mark: Mark) -> Image.Image:
    """The image under the words."""
    width, height = image.size
    font = ImageFont.load_default(mark.width * width / (0.55 * len(mark.words)))
    ink = Image.new("L", image.size)
    pen = ImageDraw.Draw(ink)
    if mark.tiled:
        for top in range(0, height, height // 5):
            for left in range(-width // 8, width, round(mark.width * width * 1.6)):
                pen.text((left, top), mark.words, font=font, fill=255)
    elif mark.corner:
        pen.text((width * 0.975, height * 0.97), mark.words, font=font, fill=255, anchor="rb")
    else:
        pen.text((width / 2, height / 2), mark.words, font=font, fill=255, anchor="mm")
    ink = ink.rotate(mark.angle, Image.Resampling.BICUBIC).point([round(mark.opacity * level) for level in range(256)])
    return Image.composite(Image.new("RGB", image.size, "white"), image, ink)


def _opened(file: Path) -> Image.Image:
    image = Image.open(file).convert("RGB")
    scale = SIDE / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()

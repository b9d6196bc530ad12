"""What is in folders: files that are read, files that are not, and what is missing on the machine."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

from PIL import Image

from flux_lora.config.compose import compose_config
from flux_lora.data.checks.language import dictionary, identifier
from flux_lora.data.checks.masks import judge_masks
from flux_lora.data.checks.registry import CheckedSet, judge
from flux_lora.data.findings import Finding
from flux_lora.data.scan import ScanOptions, scan_all
from flux_lora.runs.dataset import read_dataset
from flux_lora.runs.run import Run
from tests.data.checks.captioned import PROSE, samples
from tests.data.checks.census.captions import ZUBO
from tests.data.drawn_masks import RIGHT, WRONG, photo
from tests.data.drawn_pairs import moved, painted, scene, write_pair
from tests.data.handmade_files import RGB, png
from tests.data.sources.folders import lay_out, read, write_jsonl

Case = Callable[[Path], Sequence[Finding]]
LARGE = png((64, 48), RGB, [bytes(6 * 64)] * 48)
"""An image with 16 bits a colour."""


def laid(*names: str, **texts: str | bytes) -> Case:
    """Images, and files beside them: `a_txt` is a.txt."""

    def judged(folder: Path) -> Sequence[Finding]:
        lay_out(folder, *names)
        for name, content in texts.items():
            kept = content.encode() if isinstance(content, str) else content
            (folder / ".".join(name.rsplit("_", 1))).write_bytes(kept)
        found = read(folder)
        return [
            *found.findings,
            *judge(CheckedSet(samples=found.samples, words=ZUBO)),
            *(finding for seen in scan_all(found.samples, ScanOptions()) for finding in seen.findings),
        ]

    return judged


def in_a_table(**row: object) -> Case:
    """One image, and a table with one row."""

    def judged(folder: Path) -> Sequence[Finding]:
        write_jsonl(lay_out(folder, "a.png") / "metadata.jsonl", row)
        return read(folder).findings

    return judged


def paired(edit: Callable[[Image.Image], Image.Image], before: bytes | None = None, name: str = "a") -> Case:
    """One image and what it was made from, under this name; of these bytes if given."""

    def judged(folder: Path) -> Sequence[Finding]:
        write_pair(folder, "a", None, edit(scene()), "paint it")
        scene().save(folder / "before" / f"{name}.png")
        if before is not None:
            (folder / "before" / f"{name}.png").write_bytes(before)
        config = compose_config(["recipe=demo_edit", f"data.folder={folder}", f"run.dir={folder / 'run'}"])
        return read_dataset(Run(config)).findings

    return judged


def masked(content: bytes | None = None, size: tuple[int, int] = (96, 64)) -> Case:
    """One image and its mask, of these bytes or of a size."""

    def judged(folder: Path) -> Sequence[Finding]:
        lay_out(folder, a="a zubo mug")
        Image.new("RGB", (96, 64)).save(folder / "a.png")
        Image.new("L", size, 255).save(folder / "a.mask.png")
        if content is not None:
            (folder / "a.mask.png").write_bytes(content)
        return [finding for seen in scan_all(read(folder).samples, ScanOptions()) for finding in seen.findings]

    return judged


def marked(mask: Image.Image) -> Case:
    """One image, and this for its mask."""

    def judged(folder: Path) -> Sequence[Finding]:
        lay_out(folder, a="a zubo mug")
        photo().save(folder / "a.png")
        mask.save(folder / "a.mask.png")
        return list(judge_masks(scan_all(read(folder).samples, ScanOptions())))

    return judged


def held_out(**texts: str) -> Case:
    """One image that is held out, with these files beside it."""

    def judged(folder: Path) -> Sequence[Finding]:
        lay_out(folder, "a.png", **texts)
        seen = scan_all(read(folder).samples, ScanOptions())
        return list(judge(CheckedSet(samples=samples(*PROSE), words=ZUBO, held_out=seen)))

    return judged


def nested(times: int) -> Case:
    """Folders in each other. From a path of 4,096 letters on, no system lists them."""

    def judged(folder: Path) -> Sequence[Finding]:
        lay_out(folder, "a.png")
        inner = os.open(folder, os.O_RDONLY)
        for _ in range(times):
            os.mkdir("d" * 250, dir_fd=inner)  # noqa: PTH102  no path is that long
            outer, inner = inner, os.open("d" * 250, os.O_RDONLY, dir_fd=inner)
            os.close(outer)
        os.close(inner)
        return read(folder).findings

    return judged


def without(*libraries: str) -> Case:
    """Good captions, where these are not installed."""

    def judged(_: Path) -> Sequence[Finding]:
        loaded = [name for name in sys.modules if name.split(".")[0] in libraries]
        with patch.dict(sys.modules, dict.fromkeys([*loaded, *libraries])):
            dictionary.cache_clear()
            identifier.cache_clear()
            found = list(judge(CheckedSet(samples=samples(*PROSE), words=ZUBO)))
        dictionary.cache_clear()
        identifier.cache_clear()
        return found

    return judged


def on_a_base(path: str) -> Case:
    """A set that is to be taught to this base."""

    def judged(folder: Path) -> Sequence[Finding]:
        lay_out(folder, "a.png", a="a zubo mug")
        config = compose_config(["recipe=photos", f"model.path={path}", f"data.folder={folder}"])
        return read_dataset(Run(config)).findings

    return judged


NEAR_MISSES = {
    "mask-inverted": RIGHT["all but a mark in the corner"],
    "mask-photo": RIGHT["a soft oval"],
    "mask-coarse": RIGHT["at a quarter of the size"],
    "mask-full": RIGHT["half weight outside"],
}
FILES: Mapping[str, tuple[Case, Case]] = {
    "undecodable-caption": (
        laid("a.png", a_txt=b"\xff\xd8\xff\xe0\x00\x10JFIF"),
        laid("a.png", a_txt="a zubo mug in a café".encode("utf-16")),
    ),
    "caption-encoding": (
        laid("a.png", a_txt="a zubo mug in a café".encode("cp1252")),
        laid("a.png", a_txt="a zubo mug in a café"),
    ),
    "two-captions": (
        laid("a.png", a_txt="a zubo mug", a_caption="another zubo mug"),
        laid("a.png", a_txt="a zubo mug", a_caption="a zubo mug\n"),
    ),
    "shared-caption": (laid("a.jpg", "a.png", a_txt="a mug"), laid("a.jpg", "b.png", a_txt="a mug")),
    "orphan-caption": (laid("a.png", b_txt="a mug"), laid("a.png", a_txt="a mug")),
    "orphan-mask": (laid("a.png", "b.mask.png"), laid("a.png", "a.mask.png")),
    "unread-picture": (laid("a.png", b_cr2="raw"), laid("a.png", b_docx="words")),
    "ignored-file": (laid("a.png", b_docx="words"), laid("a.png", a_txt="a mug")),
    "unreadable-folder": (nested(18), nested(3)),
    "unreadable-row": (in_a_table(file_name="a.png", text=7), in_a_table(file_name="a.png", text="7")),
    "row-without-picture": (in_a_table(file_name="b.png", text="a mug"), in_a_table(file_name="a.png", text="a mug")),
    "unreadable": (laid(a_png=LARGE[: len(LARGE) // 2]), laid(a_png=LARGE)),
    "unreadable-mask": (masked(b"no image"), masked()),
    "mask-shape": (masked(size=(64, 64)), masked(size=(48, 32))),
    "reference-missing": (paired(painted, name="b"), paired(painted)),
    "unused-reference": (paired(painted, name="b"), paired(painted)),
    "unreadable-reference": (paired(painted, before=b"no image"), paired(painted)),
    "pair-same": (paired(lambda image: image), paired(painted)),
    "pair-moved": (paired(moved(0.03, -0.02)), paired(moved(1 / 240, 0))),
    "pair-shape": (
        paired(lambda image: image.resize((160, 160))),
        paired(lambda image: painted(image.resize((120, 80)))),
    ),
    **{rule: (marked(mask), marked(NEAR_MISSES.get(rule, RIGHT["an oval"]))) for rule, mask in WRONG.items()},
    "held-out-caption": (held_out(), held_out(a="a zubo mug")),
    "empty-caption": (laid("a.png", a_txt=" \n"), laid("a.png", a_txt=" a mug\n")),
    "captions-unchecked": (without("spellchecker", "py3langid"), without()),
    "tokens-uncounted": (on_a_base("/no/such/base"), on_a_base("mini")),
}

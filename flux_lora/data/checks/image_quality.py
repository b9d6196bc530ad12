"""Quality of single images: blur, exposure, JPEG blocks, borders, watermarks; with their thresholds."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.image_stats.lettering import Line
from flux_lora.data.image_stats.measure import ImageStats
from flux_lora.data.image_stats.shared_marks import find_shared_marks

WATERMARK = Rule("watermark", Severity.warning, "A watermark is learned with the rest, and comes back in other images.")
NOT_READ = Rule(
    "letters-not-read",
    Severity.note,
    "Words across an image are found by reading it, for which the extra 'ocr' is needed.",
)
SHARED_MARK = Rule(
    "shared-mark", Severity.warning, "What lies over several images at one place is learned as part of every image."
)
WATERMARK_RULES: tuple[Rule, ...] = (WATERMARK, NOT_READ)
SHARED_MARK_RULES: tuple[Rule, ...] = (SHARED_MARK,)

AGENCIES = (
    "shutterstock|gettyimages|istock|alamy|adobestock|dreamstime|depositphotos|123rf|bigstock|unsplash|pexels|freepik|"
    "vecteezy|pinterest|tiktok|instagram|imgur|watermark"
)
MARKS = re.compile(
    rf"©|\(c\)|®\s*\d{{4}}|all rights reserved|\b(?:{AGENCIES})\b|\bwww\.|https?:|\.(?:com|net|org)\b|(?<!\w)@\w{{3}}"
    r"|\b(?:19|20)\d\d[./-]\d{1,2}[./-]\d{1,2}\b|\b\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d\d\b|\b\d{1,2}:\d\d:\d\d\b",
    re.IGNORECASE,
)
"""Text of watermarks and not of labels: copyright, agencies, addresses, dates."""

Readings = Mapping[Path, tuple[Line, ...]]
"""OCR lines by image."""


def judge_watermarks(images: Sequence[Path], readings: Readings | None) -> Iterator[Finding]:
    """Image by image; without OCR, one note says that nothing was read. Other words may be a label, and pass."""
    if readings is None:
        if images:
            problem = "was not read for watermarks: the extra 'ocr' is not installed"
            yield NOT_READ.at(images[0].parent, problem, "run: pip install 'flux_lora[ocr]'")
        return
    for image in images:
        marks = [line.text for line in readings.get(image, ()) if MARKS.search(line.text)]
        if marks:
            listed = ", ".join(repr(mark) for mark in marks[:2])
            yield WATERMARK.at(image, f"has a watermark: {listed}", "use a clean copy, or crop it away or mask it")


def judge_shared_marks(measured: Sequence[ImageStats]) -> Iterator[Finding]:
    """Marks that several images have at one place, whatever they say; nothing is read."""
    for mark in find_shared_marks([each.detail for each in measured]):
        for member in mark.members:
            yield SHARED_MARK.at(
                measured[member].image,
                f"seems to have a watermark {mark.place}: {len(mark.members)} images have the same marks there",
                "use clean copies, or crop it away, or mask it: a mask is white where the photo is learned",
            )


BLURRED = Rule("blurred", Severity.warning, "Blur is learned as part of the thing; the images come out soft.")
ENLARGED_BEFORE = Rule(
    "enlarged-before",
    Severity.warning,
    "The image has more pixels than detail: it was enlarged by someone, or the lens could not do better.",
)
NOISY = Rule("noisy", Severity.warning, "Noise is learned as part of the thing; the images come out grainy.")
COLLAGE = Rule("collage", Severity.warning, "Photos side by side are learned as one image: results come in pieces too.")
BLURRED_SIDES = Rule(
    "blurred-sides", Severity.warning, "Blurred sides that fill the frame are learned as part of every image."
)
DARK = Rule("dark", Severity.warning, "Nothing but shadow: there is hardly any shape to learn.")
OVEREXPOSED = Rule("overexposed", Severity.warning, "What is lost in white cannot be learned, and white is.")
LOW_CONTRAST = Rule("low-contrast", Severity.warning, "Everything is about equally bright, and that look is learned.")
JPEG_BLOCKS = Rule("jpeg-blocks", Severity.warning, "The 8 x 8 blocks of strong JPEG come back as a grid.")
BORDERS = Rule("borders", Severity.warning, "Bars and frames are learned as part of every image.")
SCREEN_BARS = Rule("screen-bars", Severity.warning, "A screenshot's bars, clock and buttons are learned with it.")
LETTERING = Rule(
    "lettering",
    Severity.note,
    "A watermark, a date or a name in the corner is learned with the rest. It may be a label.",
)
EXTREME_ASPECT = Rule("extreme-aspect", Severity.warning, "No bucket is that long: much is cut off, or little is seen.")
QUALITY_RULES: tuple[Rule, ...] = (
    BLURRED,
    ENLARGED_BEFORE,
    NOISY,
    COLLAGE,
    BLURRED_SIDES,
    DARK,
    OVEREXPOSED,
    LOW_CONTRAST,
    JPEG_BLOCKS,
    BORDERS,
    SCREEN_BARS,
    LETTERING,
    EXTREME_ASPECT,
)

# The thresholds were chosen on the photographs of benchmarks/photo_rules.py, which prints how often each is wrong.
LEAST_SHARP = 0.40
MOST_NOISE = 5.5
"""Levels."""
DARKEST = 0.28
"""Level, 0 to 1, of the 98th percentile."""
MOST_WHITE = 0.25
"""Share of a colourless image without its flat ground."""
MOST_BURNT = 0.06
"""Share of what is not white. Half a stop over, a bright photo has more than this of it, too."""
BRIGHTEST = 0.7
"""Level, 0 to 1, of the 2nd percentile."""
LEAST_CONTRAST = 0.18
"""Levels between the two percentiles."""
MOST_BLOCKY = 1.95
LEAST_QUALITY = 30
"""Of a JPEG, 1 to 100."""
LONGEST = 3.0
"""Long side over short side."""
ENOUGH = 0.95
"""Share of data.resolution that an enlarged image must have detail for."""


def judge_image_quality(measured: Sequence[ImageStats], *, resolution: int = 0) -> Iterator[Finding]:
    """Image by image. With a resolution in pixels, an enlarged image passes if it has detail for that."""
    for stats in measured:
        yield from _judge_detail(stats, resolution)
        yield from _judge_light(stats)
        yield from _judge_shape(stats)


def _judge_detail(stats: ImageStats, resolution: int) -> Iterator[Finding]:
    if stats.sharpness < LEAST_SHARP:
        yield BLURRED.at(stats.image, "is blurred: no part of it is sharp", "use a sharper image, or leave it out")
    elif stats.enlarged > 1 and _detail_side(stats) < (resolution * ENOUGH or _detail_side(stats) + 1):
        width, height = stats.width // stats.enlarged, stats.height // stats.enlarged
        yield ENLARGED_BEFORE.at(
            stats.image,
            f"is {stats.width}x{stats.height} but shows no more than {width}x{height} could hold",
            "use the original it was enlarged from, or a sharper image",
        )
    if stats.noise > MOST_NOISE:
        yield NOISY.at(stats.image, "is noisy all over", "use a shot in better light, or one with its noise removed")
    if stats.blockiness > MOST_BLOCKY or 0 < stats.quality <= LEAST_QUALITY:
        saved = f", saved at quality {stats.quality} or so" if stats.quality else ""
        yield JPEG_BLOCKS.at(stats.image, f"shows the blocks of strong JPEG{saved}", "use the original file")


def _judge_light(stats: ImageStats) -> Iterator[Finding]:
    light = stats.exposure
    if light.high < DARKEST:
        yield DARK.at(stats.image, "is dark nearly everywhere", "brighten it from the original, or leave it out")
    elif light.burnt > MOST_BURNT or light.low > BRIGHTEST or (light.white > MOST_WHITE and not light.coloured):
        yield OVEREXPOSED.at(
            stats.image, "is overexposed: bright parts are lost", "use a darker shot of it, or leave it out"
        )
    if light.high >= DARKEST and light.high - light.low < LEAST_CONTRAST:
        yield LOW_CONTRAST.at(
            stats.image,
            f"has hardly any contrast: its levels span {light.high - light.low:.0%}",
            "raise its contrast from the original, or leave it out",
        )


def _judge_shape(stats: ImageStats) -> Iterator[Finding]:
    borders = stats.borders
    if borders.written:
        rule, problem = SCREEN_BARS, "looks like a screenshot: there are bars with signs on them"
    else:
        rule, problem = BORDERS, "has bars around it"
    if borders:
        sides = [("top", borders.top), ("right", borders.right), ("bottom", borders.bottom), ("left", borders.left)]
        where = ", ".join(f"{side} {pixels}" for side, pixels in sides if pixels)
        yield rule.at(stats.image, f"{problem} (pixels: {where})", "crop them away and save it as a new file")
    if stats.collage:
        yield COLLAGE.at(stats.image, "looks like several photos put together", "use the photos one by one")
    if stats.blurred_sides:
        yield BLURRED_SIDES.at(
            stats.image,
            f"has blurred sides that fill the frame, {stats.blurred_sides}",
            "crop them away and save it as a new file",
        )
    if stats.lettering:
        yield LETTERING.at(
            stats.image,
            f"seems to have a line of letters at the {stats.lettering}, as watermarks and dates have",
            "if it is one, crop it away and save it as a new file, or mask it",
        )
    if stats.aspect > LONGEST:
        yield EXTREME_ASPECT.at(
            stats.image,
            f"is {stats.width}x{stats.height}, {stats.aspect:.1f} times as long as it is wide",
            "crop it to the part that matters, or leave it out",
        )


def _detail_side(stats: ImageStats) -> float:
    """Side, in pixels, of the square that an enlarged image has detail for."""
    return sqrt(stats.width * stats.height) / stats.enlarged

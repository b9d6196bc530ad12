"""What is wrong with a single picture: FLUX learns blur, blocks, bars and marks before it learns the likeness."""

from collections.abc import Iterator, Sequence
from math import sqrt

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.looks.look import ImageStats

BLURRED = Rule("blurred", Severity.warning, "Blur is learned as part of the thing; the pictures come out soft.")
ENLARGED_BEFORE = Rule(
    "enlarged-before",
    Severity.warning,
    "The picture has more pixels than detail: it was enlarged by someone, or the lens could not do better.",
)
DARK = Rule("dark", Severity.warning, "Nothing but shadow: there is hardly any shape to learn.")
OVEREXPOSED = Rule("overexposed", Severity.warning, "What is lost in white cannot be learned, and white is.")
LOW_CONTRAST = Rule("low-contrast", Severity.warning, "Everything is about equally bright, and that look is learned.")
JPEG_BLOCKS = Rule("jpeg-blocks", Severity.warning, "The 8 x 8 blocks of strong JPEG come back as a grid.")
BORDERS = Rule("borders", Severity.warning, "Bars and frames are learned as part of every picture.")
SCREEN_BARS = Rule("screen-bars", Severity.warning, "A screenshot's bars, clock and buttons are learned with it.")
LETTERING = Rule(
    "lettering",
    Severity.note,
    "A watermark, a date or a name in the corner is learned with the rest. It may be a label.",
)
EXTREME_ASPECT = Rule("extreme-aspect", Severity.warning, "No bucket is that long: much is cut off, or little is seen.")
RULES: tuple[Rule, ...] = (
    BLURRED,
    ENLARGED_BEFORE,
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
LEAST_FINE = 0.28
DARKEST = 0.28
"""Level, 0 to 1. All but 2 percent of the picture are darker."""
MOST_WHITE = 0.25
"""Share of what is not a plain ground."""
BRIGHTEST = 0.7
"""All but 2 percent of the picture are brighter."""
LEAST_CONTRAST = 0.18
MOST_BLOCKY = 1.95
LEAST_QUALITY = 30
"""Of a JPEG, 1 to 100."""
LONGEST = 3.0
ENOUGH = 0.95
"""Of the resolution: detail for nearly as much is detail enough."""


def judge_image_quality(looks: Sequence[ImageStats], *, resolution: int = 0) -> Iterator[Finding]:
    """Picture by picture. With a resolution, a picture enlarged before still passes if it has detail for that."""
    for look in looks:
        yield from _judge_detail(look, resolution)
        yield from _judge_light(look)
        yield from _judge_shape(look)


def _judge_detail(look: ImageStats, resolution: int) -> Iterator[Finding]:
    if look.sharpness < LEAST_SHARP:
        yield BLURRED.at(look.image, "is blurred: no part of it is sharp", "use a sharper picture, or leave it out")
    elif look.finer_than_half < LEAST_FINE and _detail_side(look) < (resolution * ENOUGH or _detail_side(look) + 1):
        size, half = f"{look.width}x{look.height}", f"{look.width // 2}x{look.height // 2}"
        yield ENLARGED_BEFORE.at(
            look.image,
            f"is {size} but shows no more than {half} could hold",
            "use the original it was enlarged from, or a sharper picture",
        )
    if look.blockiness > MOST_BLOCKY or 0 < look.quality <= LEAST_QUALITY:
        saved = f", saved at quality {look.quality} or so" if look.quality else ""
        yield JPEG_BLOCKS.at(look.image, f"shows the blocks of strong JPEG{saved}", "use the original file")


def _judge_light(look: ImageStats) -> Iterator[Finding]:
    light = look.exposure
    if light.high < DARKEST:
        yield DARK.at(look.image, "is dark nearly everywhere", "brighten it from the original, or leave it out")
    elif light.white > MOST_WHITE or light.low > BRIGHTEST:
        lost = f": {light.white:.0%} of it is pure white" if light.white > MOST_WHITE else ""
        yield OVEREXPOSED.at(look.image, f"is overexposed{lost}", "use a darker shot of it, or leave it out")
    if light.high >= DARKEST and light.high - light.low < LEAST_CONTRAST:
        yield LOW_CONTRAST.at(
            look.image,
            f"has hardly any contrast: its levels span {light.high - light.low:.0%}",
            "raise its contrast from the original, or leave it out",
        )


def _judge_shape(look: ImageStats) -> Iterator[Finding]:
    margins = look.borders
    if margins.written:
        rule, seen = SCREEN_BARS, "looks like a screenshot: there are bars with signs on them"
    else:
        rule, seen = BORDERS, "has bars around it"
    if margins:
        sides = [("top", margins.top), ("right", margins.right), ("bottom", margins.bottom), ("left", margins.left)]
        where = ", ".join(f"{side} {pixels}" for side, pixels in sides if pixels)
        yield rule.at(look.image, f"{seen} (pixels: {where})", "crop them away and save it as a new file")
    if look.lettering:
        yield LETTERING.at(
            look.image,
            f"seems to have a line of letters at the {look.lettering}, as watermarks and dates have",
            "if it is one, crop it away and save it as a new file, or mask it",
        )
    if look.aspect > LONGEST:
        yield EXTREME_ASPECT.at(
            look.image,
            f"is {look.width}x{look.height}, {look.aspect:.1f} times as long as it is wide",
            "crop it to the part that matters, or leave it out",
        )


def _detail_side(look: ImageStats) -> float:
    """The side of a square with as many pixels as the picture has detail for, once it has twice too many a side."""
    return sqrt(look.width * look.height) / 2

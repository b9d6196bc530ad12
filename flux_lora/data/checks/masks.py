"""Loss masks that mark nothing, everything, the wrong side, or are no masks."""

from collections.abc import Iterable, Iterator

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.image_stats.mask_stats import MaskStats
from flux_lora.data.scan import ScannedImage

MASK_EMPTY = Rule("mask-empty", Severity.error, "A mask that is black throughout takes its image out of the training.")
MASK_FAINT = Rule(
    "mask-faint",
    Severity.error,
    "White is 255. A mask saved as 0 and 1 looks black to every program, and its image hardly counts.",
)
MASK_FULL = Rule("mask-full", Severity.warning, "A mask that is white throughout marks nothing: it does no work.")
MASK_INVERTED = Rule(
    "mask-inverted",
    Severity.warning,
    "White is what is learned. A mask that is white along all edges and black inside learns the surroundings.",
)
MASK_PHOTO = Rule(
    "mask-photo", Severity.warning, "A photograph in the place of a mask weighs bright parts more than dark ones."
)
MASK_COARSE = Rule(
    "mask-coarse", Severity.warning, "A mask of few pixels has steps for an edge, and cuts into what it should keep."
)
MASK_RULES: tuple[Rule, ...] = (MASK_EMPTY, MASK_FAINT, MASK_FULL, MASK_INVERTED, MASK_PHOTO, MASK_COARSE)

LEAST, MOST = 0.002, 0.995
"""Shares of the image that count as nothing, and as all of it."""
FAINT = 128
"""Level that the brightest part of a mask reaches at least."""
WHITE_RIM, LEAST_HOLE = 0.9, 0.1
"""Along the edges, and share of what is black inside: less may be a mark that is masked out."""
GREYS, LEVELS = 0.4, 64
"""A photograph has more. Soft edges of a mask have fewer."""
COARSE = 1 / 16
"""Side of a mask over that of its image."""


def judge_masks(scanned: Iterable[ScannedImage]) -> Iterator[Finding]:
    """One finding at most for a mask."""
    for one in scanned:
        if one.mask and one.stats and one.sample.mask:
            yield from _judge(one, one.mask, one.sample.mask.name)


def _judge(one: ScannedImage, mask: MaskStats, name: str) -> Iterator[Finding]:
    image = one.sample.image
    if mask.brightest == 0 or (mask.brightest >= FAINT and mask.share < LEAST):
        said = f"has a mask, {name}, of which {mask.share:.1%} is white: nothing of the image counts"
        yield MASK_EMPTY.at(image, said, "paint white what is to be learned, or take the mask away")
    elif mask.brightest < FAINT:
        said = f"has a mask, {name}, whose brightest level is {mask.brightest} of 255"
        yield MASK_FAINT.at(image, said, "save it as 0 and 255")
    elif mask.share > MOST:
        said = f"has a mask, {name}, that is white throughout: all of the image counts"
        yield MASK_FULL.at(image, said, "paint black what is not to be learned, or take the mask away")
    elif mask.greys > GREYS and mask.levels > LEVELS:
        said = f"has a mask, {name}, of {mask.levels} shades of grey, {mask.greys:.0%} of it neither black nor white"
        yield MASK_PHOTO.at(image, said, "give a mask in black and white; is this a photo?")
    elif mask.rim > WHITE_RIM and 1 - mask.share > LEAST_HOLE:
        said = (
            f"has a mask, {name}, that is white along its edges and black inside: {mask.share:.0%} of the image counts"
        )
        yield MASK_INVERTED.at(image, said, "invert it if the thing to learn is inside: white is what is learned")
    elif min(mask.size) < COARSE * _shorter_side(one):
        width, height = mask.size
        said = f"has a mask, {name}, of {width}x{height} pixels for an image of {_size(one)}"
        yield MASK_COARSE.at(image, said, "draw it at the size of its image")


def _shorter_side(one: ScannedImage) -> int:
    return min(one.stats.width, one.stats.height) if one.stats else 0


def _size(one: ScannedImage) -> str:
    return f"{one.stats.width}x{one.stats.height}" if one.stats else ""

"""What is done to the photographs of benchmarks/photographs.py, and which rule is to notice."""

from collections.abc import Mapping, Sequence

from PIL import ImageOps

from benchmarks.photographs import (
    LANCZOS,
    Way,
    after,
    as_screenshot,
    barred,
    beside_photograph,
    blurred,
    cropped,
    defocused,
    enlarged,
    exposed,
    faded,
    filled,
    four_in_one,
    jpeg,
    noisy,
    resized,
    same,
    shaken,
    signed,
    stamped,
    turned,
)

SPOILED: Mapping[str, Sequence[Way]] = {
    "blurred": (
        Way("Gaussian blur, 2.5 px at 512", blurred(2.5)),
        Way("defocus, disc of radius 4", defocused(4)),
        Way("camera shake, 15 px", shaken(15)),
    ),
    "enlarged-before": (
        Way("enlarged 2x, bicubic", enlarged(2)),
        Way("enlarged 2x, Lanczos, JPEG 90", after(enlarged(2, LANCZOS), jpeg(90))),
        Way("enlarged 3x, bicubic", enlarged(3)),
        Way("enlarged 8x, bicubic, JPEG 92", after(enlarged(8), jpeg(92))),
    ),
    "noisy": (
        Way("noise of 45 levels", noisy(45)),
        Way("noise of 45 levels, JPEG 85", after(noisy(45), jpeg(85))),
        Way("grey noise of 45 levels", noisy(45, grey=True)),
    ),
    "collage": (
        Way("two above two", four_in_one),
        Way("beside another photograph", beside_photograph(0)),
        Way("the same with a white gap", beside_photograph(0.015)),
    ),
    "blurred-sides": (
        Way("blurred sides, a frame of 1.7 times the width", filled(0.6)),
        Way("the same, 2.2 times", filled(0.45)),
    ),
    "dark": (Way("5 stops under", exposed(1 / 32)), Way("4 stops under", exposed(1 / 16))),
    "overexposed": (Way("3 stops over", exposed(8)), Way("4 stops over", exposed(16))),
    "low-contrast": (Way("contrast x 0.15", faded(0.15)), Way("contrast x 0.2", faded(0.2))),
    "jpeg-blocks": (
        Way("JPEG 10, saved as PNG", jpeg(10)),
        Way("JPEG 20, saved as PNG", jpeg(20)),
        Way("JPEG 20, then cropped by 3 px", after(jpeg(20), lambda image: image.crop((3, 3, *image.size)))),
    ),
    "borders": (
        Way("letterbox, black", barred(0.1)),
        Way("pillars, black", barred(0, 0.08)),
        Way("frame, white", barred(0.05, 0.05, "white")),
        Way("letterbox, black, JPEG 60", after(barred(0.1), jpeg(60))),
        Way("pillars, black, JPEG 50", after(barred(0, 0.083), jpeg(50))),
        Way("frame, grey, JPEG 85", after(barred(0.06, 0.06, "#808080"), jpeg(85))),
    ),
    "screen-bars": (
        Way("telephone screenshot", as_screenshot),
        Way("the same, JPEG 85", after(as_screenshot, jpeg(85))),
    ),
    "lettering": (Way("a name in the corner", signed), Way("stamped across (not promised)", stamped)),
    "extreme-aspect": (Way("a strip of 4 : 1", lambda image: image.resize((800, 200))),),
}
"""What each rule is to find, and ways to bring it about."""
HARMLESS = (
    Way("as it is", same),
    Way("JPEG 75", jpeg(75)),
    Way("half the size", resized(0.5)),
    Way("slightly soft, 0.5 px", blurred(0.5)),
    Way("1 stop under", exposed(0.5)),
    Way("half a stop over", exposed(1.4)),
    Way("contrast x 0.6", faded(0.6)),
)
"""What nobody would mind."""
TWINS = (
    Way("half the size", resized(0.5)),
    Way("1.6 times the size", resized(1.6)),
    Way("JPEG 30", jpeg(30)),
    Way("JPEG 10", jpeg(10)),
    Way("half a stop brighter", exposed(1.4)),
    Way("5 % off one side", cropped(0.05, 0, 0, 0)),
    Way("4 % off two sides", cropped(0.04, 0.04, 0, 0)),
    Way("2 % off every side", cropped(0.02, 0.02, 0.02, 0.02)),
    Way("5 % off every side", cropped(0.05, 0.05, 0.05, 0.05)),
    Way("cropped, 0.6 times the size, JPEG 40", after(cropped(0.03, 0, 0.02, 0.04), after(resized(0.6), jpeg(40)))),
    Way("mirrored", ImageOps.mirror),
    Way("mirrored, half the size, JPEG 30", after(ImageOps.mirror, after(resized(0.5), jpeg(30)))),
    Way("mirrored, 5 % off one side", after(ImageOps.mirror, cropped(0.05, 0, 0, 0))),
    Way("turned left", turned(90)),
    Way("turned right, half the size, JPEG 60", after(turned(270), after(resized(0.5), jpeg(60)))),
    Way("upside down", turned(180)),
    Way("10 % off every side (not promised)", cropped(0.1, 0.1, 0.1, 0.1)),
)
PARTS = (
    Way("10 % off every side, JPEG 80", after(cropped(0.1, 0.1, 0.1, 0.1), jpeg(80))),
    Way("15 % off every side, JPEG 80", after(cropped(0.15, 0.15, 0.15, 0.15), jpeg(80))),
    Way("a corner off, JPEG 80", after(cropped(0.25, 0, 0, 0.25), jpeg(80))),
    Way("unevenly off, JPEG 80", after(cropped(0.2, 0.05, 0.1, 0.15), jpeg(80))),
)
"""Crops that are too much for a fingerprint."""

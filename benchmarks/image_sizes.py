"""Sets of image sizes as people bring them: what devices, shops and sites produce, in about their shares."""

from collections.abc import Mapping, Sequence
from random import Random

Size = tuple[int, int]

PHONE: Mapping[Size, int] = {
    (4032, 3024): 30,
    (3024, 4032): 34,
    (4080, 3072): 6,
    (3072, 4080): 6,
    (4000, 2252): 4,
    (2252, 4000): 4,
    (3840, 2160): 3,
    (6000, 4000): 5,
    (4000, 6000): 3,
    (2316, 3088): 5,
}
"""Phones at 4:3 and 16:9, a camera at 3:2, upright and lying, and a few from the front camera."""
PRODUCT: Mapping[Size, int] = {
    (3000, 3000): 20,
    (2000, 2000): 25,
    (1600, 1600): 15,
    (1500, 1500): 10,
    (1080, 1080): 12,
    (1000, 1000): 8,
    (1080, 1350): 6,
    (2400, 3000): 4,
}
"""A shop's squares, and a few at 4:5."""
PORTRAITS: Mapping[Size, int] = {
    (1080, 1350): 20,
    (4000, 6000): 18,
    (3024, 4032): 20,
    (1080, 1920): 10,
    (2500, 3500): 8,
    (2048, 2048): 8,
    (1080, 1080): 8,
    (6000, 4000): 5,
    (1365, 2048): 3,
}
"""People at 4:5, 2:3, 3:4, 9:16, 5:7 and square."""
SCREENS: Mapping[Size, int] = {
    (1920, 1080): 25,
    (2560, 1440): 12,
    (1170, 2532): 14,
    (1284, 2778): 8,
    (1080, 2400): 12,
    (2880, 1800): 6,
    (1440, 900): 6,
    (1366, 768): 6,
    (2048, 2732): 6,
    (3440, 1440): 5,
}
"""Screens of computers, phones and a tablet; some have fewer pixels than 1024 x 1024."""
SITES: Mapping[Size, int] = {
    (1200, 800): 10,
    (1200, 630): 6,
    (1080, 1080): 10,
    (1080, 1350): 8,
    (1920, 1280): 6,
    (1600, 1067): 6,
    (1024, 768): 5,
    (1024, 683): 5,
    (800, 600): 5,
    (800, 1200): 4,
    (640, 480): 4,
    (500, 333): 3,
    (500, 750): 3,
}
"""What sites scale images to. The rest of a scraped set is as wide as a site wants and as high as the image was."""
WIDTHS = (564, 600, 640, 736, 768, 800, 960, 1000, 1024, 1200, 1280, 1600)
ASPECTS = (2 / 3, 3 / 4, 4 / 5, 1.0, 5 / 4, 4 / 3, 3 / 2, 16 / 9)
OFF_ASPECT = 0.08
"""How far, as a standard deviation of its logarithm, hand-cropped images are from a common aspect."""
FROM_SITES = 0.6


def drawn(shares: Mapping[Size, int], count: int, random: Random) -> list[Size]:
    """So many images, each size about as often as its share."""
    return random.choices(list(shares), weights=list(shares.values()), k=count)


def scraped(count: int, random: Random) -> list[Size]:
    """From many sites, some cropped by hand."""
    return [drawn(SITES, 1, random)[0] if random.random() < FROM_SITES else _cropped(random) for _ in range(count)]


def sets(count: int, seed: int = 0) -> Mapping[str, Sequence[Size]]:
    """Each kind of set, of so many images, by name."""
    random = Random(seed)
    fixed = {"phone": PHONE, "product": PRODUCT, "portraits": PORTRAITS, "screens": SCREENS}
    return {
        **{name: drawn(shares, count, random) for name, shares in fixed.items()},
        "scraped": scraped(count, random),
    }


def _cropped(random: Random) -> Size:
    width = random.choice(WIDTHS)
    return width, round(width / random.choice(ASPECTS) * random.lognormvariate(0, OFF_ASPECT))

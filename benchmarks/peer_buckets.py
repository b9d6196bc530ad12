"""Bucketing as kohya's sd-scripts and ai-toolkit do it, written anew from a description, to compare ours with.

Both are taken at their best: kohya with a long side of up to 2048, since its own 1024 trains wide images at 0.6 to
0.7 megapixels where 1 was asked for.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

from flux_lora.data.bucketing.buckets import Bucket

Size = tuple[int, int]

KOHYA_STEP = 64
KOHYA_SHORTEST = 256
KOHYA_LONGEST = 2048
AI_TOOLKIT_STEP = 16


def kohya(sizes: Sequence[Size], resolution: int) -> list[Bucket]:
    """From a list of buckets of step 64, the one whose aspect is nearest; small images are enlarged to it."""
    offered = _kohya_list(resolution)

    def nearest(width: int, height: int) -> Bucket:
        return min(offered, key=lambda bucket: abs(bucket.aspect - width / height))

    return [nearest(*size) for size in sizes]


@lru_cache(maxsize=8)
def _kohya_list(resolution: int) -> tuple[Bucket, ...]:
    area = resolution**2
    side = int(math.sqrt(area) // KOHYA_STEP) * KOHYA_STEP
    pairs = {(side, side)}
    for width in range(KOHYA_SHORTEST, KOHYA_LONGEST + 1, KOHYA_STEP):
        height = min(KOHYA_LONGEST, area // width // KOHYA_STEP * KOHYA_STEP)
        if height >= KOHYA_SHORTEST:
            pairs |= {(width, height), (height, width)}
    return tuple(sorted(Bucket(*pair) for pair in pairs))


def ai_toolkit(sizes: Sequence[Size], resolution: int) -> list[Bucket]:
    """A bucket for each shape: of the roundings to 16 within the area, the largest; nothing is enlarged."""
    return [_rounded(*size, resolution) for size in sizes]


def _rounded(width: int, height: int, resolution: int) -> Bucket:
    wanted = min(width * height, resolution**2)
    scale = math.sqrt(wanted / (width * height))
    across, down = (
        {AI_TOOLKIT_STEP * max(1, rounding(side * scale / AI_TOOLKIT_STEP)) for rounding in (math.floor, math.ceil)}
        for side in (width, height)
    )
    found = [Bucket(a, b) for a in across for b in down]
    within = [bucket for bucket in found if bucket.area <= resolution**2]
    return min(within or found, key=lambda bucket: abs(bucket.area - wanted))

"""Assign a bucket to every image of a set so that cropping, missed area and short batches cost least.

Each image starts in the bucket it would have alone; those of one bucket are a group. Groups then share buckets,
until a bucket fewer is no longer worth what it crops. Where the result still costs more than kohya's coarse buckets
would, as in a small set with many buckets and half-empty batches, images may be cropped by up to a fifth.

Shape letters: G groups, K buckets to choose from, 2 width and height.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flux_lora.data.bucketing.buckets import (
    WORTH_OF_AREA,
    Bucket,
    BucketLimits,
    OwnBucket,
    Shape,
    buckets,
    lost_in,
    own_bucket,
    scale_into,
)
from flux_lora.data.bucketing.clustering import Floats, Worth, cluster, empty_places

COARSE_STEP = 64
COARSE_SHORTEST = 256
COARSE_LONGEST = 2048
"""kohya's bucket_reso_steps, min_bucket_reso and max_bucket_reso, in pixels."""


def coarse_buckets(shapes: Iterable[Shape]) -> dict[Shape, Bucket]:
    """The baseline: kohya's bucket of nearest aspect for each shape. Smaller images would be enlarged to it."""

    def nearest(shape: Shape) -> Bucket:
        aspect = shape.width / shape.height
        return min(_all_coarse_buckets(shape.resolution), key=lambda bucket: abs(bucket.aspect - aspect))

    return {shape: nearest(shape) for shape in shapes}


@lru_cache(maxsize=32)
def _all_coarse_buckets(resolution: int) -> tuple[Bucket, ...]:
    """For each width the largest height within the area, the same with both swapped, and a square."""
    square = max(COARSE_STEP, resolution // COARSE_STEP * COARSE_STEP)
    found = {Bucket(square, square)}
    for width in range(COARSE_SHORTEST, COARSE_LONGEST + 1, COARSE_STEP):
        height = min(COARSE_LONGEST, math.floor(resolution**2 / width / COARSE_STEP) * COARSE_STEP)
        if height >= COARSE_SHORTEST:
            found |= {Bucket(width, height), Bucket(height, width)}
    return tuple(sorted(found))


@dataclass(frozen=True)
class BucketingCost:
    """What an assignment of buckets costs a set: shares, 0 being best."""

    cropped: float
    """Mean share of an image's area that falls outside its bucket."""
    missed: float
    """Mean share of the pixels that the resolution asks for, and the image has, by which its bucket is too small."""
    enlarged: float
    """Mean share of a bucket's pixels that come from enlarging the image."""
    empty: float
    """Share of the places in an epoch's batches that stay empty."""
    buckets: float
    """Buckets per image."""

    @property
    def total(self) -> float:
        """The sum of all five."""
        return self.cropped + self.missed + self.enlarged + self.empty + self.buckets


def bucketing_cost(exposures: Mapping[Shape, int], chosen: Mapping[Shape, Bucket], batch_size: int) -> BucketingCost:
    """The cost of showing each shape so often an epoch, in the bucket chosen for it. At least one image."""
    images = sum(exposures.values())
    filled: Counter[Bucket] = Counter()
    cropped = missed = enlarged = 0.0
    for shape, times in exposures.items():
        bucket = chosen[shape]
        filled[bucket] += times
        cropped += times * lost_in(shape.width, shape.height, bucket)
        missed += times * max(0.0, 1 - bucket.area / min(shape.width * shape.height, shape.resolution**2))
        enlarged += times * (1 - 1 / max(1.0, scale_into(shape.width, shape.height, bucket)) ** 2)
    empty = sum(empty_places(count, batch_size) for count in filled.values())
    return BucketingCost(
        cropped / images,
        missed / images,
        enlarged / images,
        empty / (images + empty),
        len(filled) / images,
    )


@dataclass(frozen=True)
class Terms:
    """Limits and prices under which images share a bucket."""

    most_lost: float
    """Largest share of an image that is cropped for the sake of sharing."""
    most_missed: float
    """Largest share of the pixels an image could fill by which its shared bucket is too small."""
    worth: Worth


LADDER = (
    Terms(most_lost=0.1, most_missed=0.4, worth=Worth(bucket=0.2, slot=0.3)),
    Terms(most_lost=0.1, most_missed=0.4, worth=Worth(bucket=0.5, slot=0.3)),
    Terms(most_lost=0.15, most_missed=0.6, worth=Worth(bucket=1.0, slot=0.7)),
    Terms(most_lost=0.2, most_missed=0.7, worth=Worth(bucket=1.0, slot=1.0)),
)
"""Tried in order, each cropping more than the one before. Above a tenth, check warns of the crop."""
FEW = 15
"""Images. Three of two shapes are not to be cropped to one shape for the sake of a bucket less."""
BEHIND = 0.02
"""How much more than coarse buckets an assignment may cost before the next terms of the LADDER are tried."""


def assign_buckets(shapes: Mapping[Shape, int], limits: BucketLimits, batch_size: int) -> dict[Shape, Bucket]:
    """A bucket for every shape. `shapes`: how often each is shown in an epoch."""
    own = {shape: own_bucket(shape, limits) for shape in sorted(shapes)}
    enough = assignment_cost(shapes, coarse_buckets(shapes), batch_size) + BEHIND
    tried: list[tuple[float, dict[Shape, Bucket]]] = []
    for terms in (LADDER[0], *(terms for terms in LADDER[1:] if terms.most_lost <= limits.max_crop)):
        chosen = _assign(terms, own, shapes, limits, batch_size)
        tried.append((assignment_cost(shapes, chosen, batch_size), chosen))
        if tried[-1][0] <= enough:
            return chosen
    return min(tried, key=lambda outcome: outcome[0])[1]


def assignment_cost(shapes: Mapping[Shape, int], chosen: Mapping[Shape, Bucket], batch_size: int) -> float:
    """The total cost, its buckets counted per FEW images where there are fewer than that."""
    cost, exposures = bucketing_cost(shapes, chosen, batch_size), sum(shapes.values())
    return cost.total - cost.buckets * (1 - exposures / max(exposures, FEW)) if exposures else 0.0


def _assign(
    terms: Terms, own: Mapping[Shape, OwnBucket], shapes: Mapping[Shape, int], limits: BucketLimits, batch_size: int
) -> dict[Shape, Bucket]:
    """The bucket of every shape under one of the LADDER's terms."""
    groups: dict[Bucket, list[Shape]] = {}
    for shape, alone in own.items():
        groups.setdefault(alone.bucket, []).append(shape)
    resolutions = {shape.resolution for shape in shapes}
    choices = sorted(
        {*groups, *(bucket for side in resolutions for bucket in buckets(side, limits.step, limits.longest_aspect))}
    )
    numbers = {bucket: number for number, bucket in enumerate(choices)}
    sides_K2 = np.array([(bucket.width, bucket.height) for bucket in choices], float)
    own_buckets = sorted(groups)
    exposures = [sum(shapes[shape] for shape in groups[bucket]) for bucket in own_buckets]
    costs_per_image_GK = np.stack(
        [_costs([own[shape] for shape in groups[bucket]], numbers[bucket], sides_K2, terms) for bucket in own_buckets]
    )
    costs_GK = costs_per_image_GK * np.array(exposures, float)[:, None]
    return {
        shape: choices[cluster.bucket]
        for cluster in cluster(costs_GK, exposures, sides_K2, batch_size, terms.worth)
        for group in cluster.groups
        for shape in groups[own_buckets[group]]
    }


def _costs(group: Sequence[OwnBucket], number: int, sides_K2: Floats, terms: Terms) -> Floats:
    """Mean loss of the group's images in each bucket: K; infinite where one of them does not fit.

    `number`: their own bucket's, in which they always fit.
    """
    width_K, height_K = sides_K2.T
    area_K, aspect_K = width_K * height_K, np.log(width_K / height_K)
    aspects = np.log([own.aspect for own in group])
    target_areas = np.log([own.target_area for own in group])
    worst_K = np.maximum(np.abs(aspect_K - aspects.min()), np.abs(aspect_K - aspects.max()))
    fits_K = (width_K <= min(own.width for own in group)) & (height_K <= min(own.height for own in group))
    fits_K &= area_K <= min(own.area for own in group)
    fits_K &= area_K >= (1 - terms.most_missed) * np.exp(target_areas.max())
    fits_K &= 1 - np.exp(-worst_K) <= terms.most_lost
    fits_K[number] = True
    cropped_K = 1 - np.exp(-np.abs(aspect_K - aspects.mean()))
    return np.where(fits_K, cropped_K + WORTH_OF_AREA * np.abs(np.log(area_K) - target_areas.mean()), np.inf)

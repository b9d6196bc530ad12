"""Choose the buckets that cost this very set least: by cropping, by area missed, and by batches that run short.

Each picture starts in the bucket it would have alone; those of one bucket are a group. Groups then share buckets,
until a bucket fewer is no longer worth what it crops. Where that leaves a small set with more buckets, and emptier
batches, than the plain way of bucketing would, its pictures give more: they are cropped by up to a fifth.

Shape letters: G groups, K buckets to choose from, 2 width and height.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flux_lora.data.planning.buckets import Bucket, buckets
from flux_lora.data.planning.coarse import coarse_buckets
from flux_lora.data.planning.placing import WORTH_OF_AREA, BucketLimits, OwnBucket, Shape, own_bucket
from flux_lora.data.planning.sharing import Floats, Worth, cluster
from flux_lora.data.planning.toll import bucketing_cost


@dataclass(frozen=True)
class Terms:
    """On what terms a picture shares a bucket."""

    most_lost: float
    """No picture is cropped more than this for the sake of it."""
    most_missed: float
    """Share of the pixels that it could fill by which no picture's bucket falls short for it."""
    worth: Worth


LADDER = (
    Terms(most_lost=0.1, most_missed=0.4, worth=Worth(bucket=0.2, slot=0.3)),
    Terms(most_lost=0.1, most_missed=0.4, worth=Worth(bucket=0.5, slot=0.3)),
    Terms(most_lost=0.15, most_missed=0.6, worth=Worth(bucket=1.0, slot=0.7)),
    Terms(most_lost=0.2, most_missed=0.7, worth=Worth(bucket=1.0, slot=1.0)),
)
"""From sparing to giving. Above a tenth, check warns of the crop."""
FEW = 15
"""Pictures. Three of two shapes are not to be cropped to one shape for the sake of a bucket less."""
BEHIND = 0.02
"""How much more of a set than the plain way a plan may cost before its pictures have to give more."""


def assign_buckets(shapes: Mapping[Shape, int], limits: BucketLimits, batch_size: int) -> dict[Shape, Bucket]:
    """A bucket for every shape. The numbers say how often each is shown in an epoch."""
    places = {shape: own_bucket(shape, limits) for shape in sorted(shapes)}
    enough = assignment_cost(shapes, coarse_buckets(shapes), batch_size) + BEHIND
    tried: list[tuple[float, dict[Shape, Bucket]]] = []
    for terms in (LADDER[0], *(each for each in LADDER[1:] if each.most_lost <= limits.most_cropped)):
        chosen = _on(terms, places, shapes, limits, batch_size)
        tried.append((assignment_cost(shapes, chosen, batch_size), chosen))
        if tried[-1][0] <= enough:
            return chosen
    return min(tried, key=lambda each: each[0])[1]


def assignment_cost(shapes: Mapping[Shape, int], chosen: Mapping[Shape, Bucket], batch_size: int) -> float:
    """The toll, but that a bucket more is never charged as if it were for fewer than FEW pictures."""
    found, shown = bucketing_cost(shapes, chosen, batch_size), sum(shapes.values())
    return found.total - found.buckets * (1 - shown / max(shown, FEW)) if shown else 0.0


def _on(
    terms: Terms, places: Mapping[Shape, OwnBucket], shapes: Mapping[Shape, int], limits: BucketLimits, batch_size: int
) -> dict[Shape, Bucket]:
    at_home: dict[Bucket, list[Shape]] = {}
    for shape, place in places.items():
        at_home.setdefault(place.bucket, []).append(shape)
    resolutions = {shape.resolution for shape in shapes}
    offered = sorted({*at_home, *(each for side in resolutions for each in buckets(side, limits.longest_aspect))})
    numbers = {bucket: number for number, bucket in enumerate(offered)}
    sides_K2 = np.array([(bucket.width, bucket.height) for bucket in offered], float)
    homes = sorted(at_home)
    shown = [sum(shapes[shape] for shape in at_home[home]) for home in homes]
    each_GK = [_costs([places[shape] for shape in at_home[home]], numbers[home], sides_K2, terms) for home in homes]
    costs_GK = np.stack(each_GK) * np.array(shown, float)[:, None]
    return {
        shape: offered[cluster.bucket]
        for cluster in cluster(costs_GK, shown, sides_K2, batch_size, terms.worth)
        for group in cluster.groups
        for shape in at_home[homes[group]]
    }


def _costs(places: Sequence[OwnBucket], home: int, sides_K2: Floats, terms: Terms) -> Floats:
    """What a picture of these places loses on average in each bucket; infinite where one of them cannot go."""
    width_K, height_K = sides_K2.T
    area_K, aspect_K = width_K * height_K, np.log(width_K / height_K)
    aspects = np.log([place.aspect for place in places])
    wanted = np.log([place.wanted for place in places])
    worst_K = np.maximum(np.abs(aspect_K - aspects.min()), np.abs(aspect_K - aspects.max()))
    fits_K = (width_K <= min(place.width for place in places)) & (height_K <= min(place.height for place in places))
    fits_K &= area_K <= min(place.area for place in places)
    fits_K &= area_K >= (1 - terms.most_missed) * np.exp(wanted.max())
    fits_K &= 1 - np.exp(-worst_K) <= terms.most_lost
    fits_K[home] = True
    cropped_K = 1 - np.exp(-np.abs(aspect_K - aspects.mean()))
    return np.where(fits_K, cropped_K + WORTH_OF_AREA * np.abs(np.log(area_K) - wanted.mean()), np.inf)

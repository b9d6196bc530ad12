"""Choose the buckets that cost this very set least: by cropping, by area missed, and by batches that run short.

Each picture starts in the bucket it would have alone; those of one bucket are a group. Groups then share buckets,
until a bucket fewer is no longer worth what it crops.

Shape letters: G groups, K buckets to choose from, 2 width and height.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from flux_lora.data.planning.buckets import Bucket, buckets
from flux_lora.data.planning.placing import WORTH_OF_AREA, Limits, Place, Shape, own_place
from flux_lora.data.planning.sharing import Floats, share

MOST_LOST_TO_SHARING = 0.1
"""No picture is cropped more than this for the sake of a shared bucket; above it, check warns."""

MOST_MISSED_BY_SHARING = 0.4
"""Share of the pixels that it could fill by which no picture's bucket falls short for that."""


def choose(shapes: Mapping[Shape, int], limits: Limits, batch_size: int) -> dict[Shape, Bucket]:
    """A bucket for every shape. The numbers say how often each is shown in an epoch."""
    places = {shape: own_place(shape, limits) for shape in sorted(shapes)}
    at_home: dict[Bucket, list[Shape]] = {}
    for shape, place in places.items():
        at_home.setdefault(place.bucket, []).append(shape)
    resolutions = {shape.resolution for shape in shapes}
    offered = sorted({*at_home, *(each for side in resolutions for each in buckets(side, limits.longest_aspect))})
    numbers = {bucket: number for number, bucket in enumerate(offered)}
    sides_K2 = np.array([(bucket.width, bucket.height) for bucket in offered], float)
    homes = sorted(at_home)
    shown = [sum(shapes[shape] for shape in at_home[home]) for home in homes]
    each_GK = [_costs([places[shape] for shape in at_home[home]], numbers[home], sides_K2) for home in homes]
    costs_GK = np.stack(each_GK) * np.array(shown, float)[:, None]
    return {
        shape: offered[cluster.bucket]
        for cluster in share(costs_GK, shown, sides_K2, batch_size)
        for group in cluster.groups
        for shape in at_home[homes[group]]
    }


def _costs(places: Sequence[Place], home: int, sides_K2: Floats) -> Floats:
    """What a picture of these places loses on average in each bucket; infinite where one of them cannot go."""
    width_K, height_K = sides_K2.T
    area_K, aspect_K = width_K * height_K, np.log(width_K / height_K)
    aspects = np.log([place.aspect for place in places])
    wanted = np.log([place.wanted for place in places])
    worst_K = np.maximum(np.abs(aspect_K - aspects.min()), np.abs(aspect_K - aspects.max()))
    fits_K = (width_K <= min(place.width for place in places)) & (height_K <= min(place.height for place in places))
    fits_K &= area_K <= min(place.area for place in places)
    fits_K &= area_K >= (1 - MOST_MISSED_BY_SHARING) * np.exp(wanted.max())
    fits_K &= 1 - np.exp(-worst_K) <= MOST_LOST_TO_SHARING
    fits_K[home] = True
    cropped_K = 1 - np.exp(-np.abs(aspect_K - aspects.mean()))
    return np.where(fits_K, cropped_K + WORTH_OF_AREA * np.abs(np.log(area_K) - wanted.mean()), np.inf)

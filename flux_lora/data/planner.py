"""Choose the buckets that cost this very set least: by cropping, by area missed, and by batches that run short.

Each picture starts in the bucket it would have alone. Then the two groups that gain most by sharing a bucket are
put together, again and again, until a bucket fewer is no longer worth what it crops.

Shape letters: G groups of pictures that share a bucket, K buckets to choose from, 2 width and height.
"""

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from flux_lora.data.buckets import Bucket, buckets
from flux_lora.data.placing import WORTH_OF_AREA, Limits, Place, Shape, own_place

WORTH_OF_BUCKET = 0.1
"""Share of one picture that may be lost to have one bucket fewer: batches are then more mixed."""
WORTH_OF_SLOT = 0.1
"""Share of one picture that may be lost to fill one empty place of a batch that runs short."""
MOST_LOST_TO_SHARING = 0.08
"""No picture is cropped more than this for the sake of a shared bucket; check warns above 0.1."""
NEIGHBOURS = 12
"""With how many of the nearest groups a group may be put together."""

Floats = NDArray[np.float64]


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
    crowd = _Crowd(sides_K2, batch_size)
    for home in sorted(at_home):
        shown = sum(shapes[shape] for shape in at_home[home])
        costs_K = _costs([places[shape] for shape in at_home[home]], numbers[home], sides_K2)
        crowd.add(costs_K * shown, shown, at_home[home])
    crowd.share()
    return {shape: offered[choice] for choice, members in crowd.settled() for shape in members}


def empty_places(pictures: int, batch_size: int) -> int:
    """Places of batches that stay empty when so many pictures of a bucket are shown."""
    return -pictures % batch_size


def _costs(places: Sequence[Place], home: int, sides_K2: Floats) -> Floats:
    """What a picture of these places loses on average in each bucket; infinite where one of them cannot go."""
    width_K, height_K = sides_K2.T
    area_K = width_K * height_K
    aspect = np.exp(np.mean(np.log([place.aspect for place in places])))
    wanted = np.exp(np.mean(np.log([place.wanted for place in places])))
    off_shape_K = 1 - np.exp(-np.abs(np.log(width_K / height_K / aspect)))
    fits_K = (width_K <= min(place.width for place in places)) & (height_K <= min(place.height for place in places))
    fits_K &= area_K <= min(place.area for place in places)
    fits_K &= off_shape_K <= MOST_LOST_TO_SHARING
    fits_K[home] = True
    return np.where(fits_K, off_shape_K + WORTH_OF_AREA * np.abs(np.log(area_K / wanted)), np.inf)


class _Crowd:
    """Groups of pictures, each of which may still share its bucket with another."""

    def __init__(self, sides_K2: Floats, batch_size: int) -> None:
        """Nobody is in it yet."""
        self._spots_K2 = np.log(sides_K2)
        self._batch_size = batch_size
        self._costs: list[Floats] = []
        self._pictures: list[int] = []
        self._members: list[list[Shape]] = []
        self._choices: list[int] = []
        self._alive: dict[int, None] = {}

    def add(self, costs_K: Floats, pictures: int, members: list[Shape]) -> None:
        """One more group: what it loses in each bucket, and how many pictures it shows."""
        self._costs.append(costs_K)
        self._pictures.append(pictures)
        self._members.append(members)
        self._choices.append(int(costs_K.argmin()))
        self._alive[len(self._costs) - 1] = None

    def share(self) -> None:
        """Put the two together that gain most, until none gain."""
        gains = [pair for number in self._alive for pair in self._gains(number)]
        heapify(gains)
        while gains:
            _, one, other = heappop(gains)
            if one in self._alive and other in self._alive:
                del self._alive[one], self._alive[other]
                members = self._members[one] + self._members[other]
                self.add(self._costs[one] + self._costs[other], self._pictures[one] + self._pictures[other], members)
                for pair in self._gains(len(self._costs) - 1):
                    heappush(gains, pair)

    def settled(self) -> list[tuple[int, list[Shape]]]:
        """The bucket of each group that is left, and who is in it."""
        return [(self._choices[number], self._members[number]) for number in self._alive]

    def _gains(self, number: int) -> list[tuple[float, int, int]]:
        """What the group would gain with each of its neighbours, where it gains; negative, to be least first."""
        others = list(self._alive)
        spots = self._spots_K2[[self._choices[other] for other in others]]
        apart = np.abs(spots - self._spots_K2[self._choices[number]]).sum(axis=1)
        near = [others[place] for place in np.argsort(apart, kind="stable")[: NEIGHBOURS + 1]]
        gains = [(-self._gain(number, other), number, other) for other in near if other != number]
        return [each for each in gains if each[0] < 0]

    def _gain(self, one: int, other: int) -> float:
        lost = (self._costs[one] + self._costs[other]).min()
        lost -= self._costs[one][self._choices[one]] + self._costs[other][self._choices[other]]
        counts = self._pictures[one], self._pictures[other]
        filled = sum(empty_places(each, self._batch_size) for each in counts)
        filled -= empty_places(sum(counts), self._batch_size)
        return WORTH_OF_BUCKET + WORTH_OF_SLOT * filled - float(lost)

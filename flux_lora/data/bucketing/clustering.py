"""Cluster groups of images into shared buckets, so that cropping, empty batch places and buckets cost least.

Greedy agglomeration, then local search.

Shape letters: G groups, K buckets to choose from, 2 width and height.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

SLOT_WEIGHTS = (1.0, 0.0, 3.0)
"""Weights of empty places while clusters merge. Of few groups each is tried, and the cheapest outcome kept."""
FEW = 200
"""Groups. With more of them there is no local search: it would gain a few empty places."""
NEIGHBOURS = 12
"""How many of the nearest clusters a cluster may merge with."""
ROUNDS = 10
"""Most rounds of the local search."""

Floats = NDArray[np.float64]
Members = tuple[int, ...]
"""Numbers of groups that share a bucket, ascending."""


@dataclass(frozen=True)
class Worth:
    """Prices in units of one image cropped away whole."""

    bucket: float = 0.2
    """Of one bucket more: fewer buckets make more mixed batches."""
    slot: float = 0.3
    """Of one empty place in a batch."""


@dataclass(frozen=True)
class Cluster:
    """Numbers of groups, and the number of the bucket that they share."""

    groups: Members
    bucket: int


def cluster(
    costs_GK: Floats, images: Sequence[int], sides_K2: Floats, batch_size: int, worth: Worth | None = None
) -> list[Cluster]:
    """Clusters of least total cost.

    `costs_GK`: loss of all images of a group together in each bucket; infinite where they do not fit. `images`: how
    many each group shows in an epoch. `sides_K2`: width and height of the buckets.
    """
    costs = _ClusterCosts(costs_GK, images, batch_size, worth or Worth())
    log_sides_K2 = np.log(sides_K2)
    few = len(images) <= FEW
    outcomes = [_merged(costs, log_sides_K2, weight) for weight in (SLOT_WEIGHTS if few else SLOT_WEIGHTS[:1])]
    if few:
        outcomes = [_locally_searched(costs, clusters) for clusters in outcomes]
    best = min(outcomes, key=lambda clusters: round(sum(map(costs.of, clusters)), 9))
    return [Cluster(members, costs.bucket_of(members)) for members in best]


def empty_places(images: int, batch_size: int) -> int:
    """Empty places in the batches of one bucket that shows so many images an epoch."""
    return -images % batch_size


class _ClusterCosts:
    """Costs of clusters, in images cropped away whole. Each is computed once."""

    def __init__(self, costs_GK: Floats, images: Sequence[int], batch_size: int, worth: Worth) -> None:
        """Of G groups; arguments as `cluster` takes them."""
        self._costs_GK = costs_GK
        self._images = images
        self._batch_size = batch_size
        self._worth = worth
        self._found: dict[Members, tuple[float, int, int]] = {}

    def of(self, members: Members, slot_weight: float = 1.0) -> float:
        """Cropping, one bucket and empty places; 0 for an empty cluster."""
        if not members:
            return 0.0
        lost, _, empty = self._at(members)
        return lost + self._worth.bucket + slot_weight * self._worth.slot * empty

    def bucket_of(self, members: Members) -> int:
        """Number of the bucket that costs them least."""
        return self._at(members)[1]

    def groups(self) -> range:
        """Numbers of all groups."""
        return range(len(self._images))

    def _at(self, members: Members) -> tuple[float, int, int]:
        """Loss, number of the bucket, empty places."""
        if members not in self._found:
            costs_K = self._costs_GK[list(members)].sum(axis=0)
            bucket = int(costs_K.argmin())
            empty = empty_places(sum(self._images[group] for group in members), self._batch_size)
            self._found[members] = float(costs_K[bucket]), bucket, empty
        return self._found[members]


def _merged(costs: _ClusterCosts, log_sides_K2: Floats, slot_weight: float) -> list[Members]:
    """Greedy agglomeration: the two clusters that gain most merge, until none gain."""
    alive: dict[Members, None] = {(group,): None for group in costs.groups()}

    def gains(one: Members) -> Iterator[tuple[float, Members, Members]]:
        for other in _nearest(one, alive, costs, log_sides_K2):
            apart = costs.of(one, slot_weight) + costs.of(other, slot_weight)
            gain = apart - costs.of(_joined(one, other), slot_weight)
            if gain > 0:
                yield -gain, one, other

    queue = [merge for one in alive for merge in gains(one)]
    heapify(queue)
    while queue:
        _, one, other = heappop(queue)
        if one in alive and other in alive:
            del alive[one], alive[other]
            joined = _joined(one, other)
            alive[joined] = None
            for merge in gains(joined):
                heappush(queue, merge)
    return list(alive)


def _locally_searched(costs: _ClusterCosts, clusters: Sequence[Members]) -> list[Members]:
    """Move groups to other clusters, and dissolve clusters into the others, while the total cost falls."""
    clusters = list(clusters)
    for _ in range(ROUNDS):
        before = sum(map(costs.of, clusters))
        for group in costs.groups():
            clusters = _moved(costs, clusters, group)
        for cluster in tuple(clusters):
            clusters = _dissolved(costs, clusters, cluster)
        if sum(map(costs.of, clusters)) > before - 1e-9:
            break
    return clusters


def _moved(costs: _ClusterCosts, clusters: list[Members], group: int) -> list[Members]:
    """The group moved to the cluster where the total cost is least, which may be a cluster of its own."""
    current = next(cluster for cluster in clusters if group in cluster)
    left = tuple(other for other in current if other != group)
    rest = [cluster for cluster in clusters if cluster != current] + ([left] if left else [])

    def rise(to: Members) -> float:
        return round(costs.of(_joined(to, (group,))) - costs.of(to), 9)

    chosen = min([left, *(cluster for cluster in rest if cluster != left), ()], key=rise)
    return [cluster for cluster in rest if cluster != chosen] + [_joined(chosen, (group,))]


def _dissolved(costs: _ClusterCosts, clusters: list[Members], cluster: Members) -> list[Members]:
    """Without the cluster, its groups moved to where they cost least, if the total cost falls."""
    if cluster not in clusters or len(clusters) == 1:
        return clusters
    spread = [other for other in clusters if other != cluster]
    for group in cluster:
        chosen = min(spread, key=lambda to: costs.of(_joined(to, (group,))) - costs.of(to))  # noqa: B023
        spread = [other for other in spread if other != chosen] + [_joined(chosen, (group,))]
    cheaper = sum(map(costs.of, spread)) < sum(map(costs.of, clusters)) - 1e-9
    return spread if cheaper else clusters


def _nearest(one: Members, alive: Iterable[Members], costs: _ClusterCosts, log_sides_K2: Floats) -> list[Members]:
    """The NEIGHBOURS clusters whose buckets are nearest, by the logarithms of their sides."""
    others = [other for other in alive if other != one]
    if not others:
        return []
    buckets = [costs.bucket_of(other) for other in others]
    apart = np.abs(log_sides_K2[buckets] - log_sides_K2[costs.bucket_of(one)]).sum(axis=1)
    return [others[index] for index in np.argsort(apart, kind="stable")[:NEIGHBOURS]]


def _joined(one: Members, other: Members) -> Members:
    return tuple(sorted((*one, *other)))

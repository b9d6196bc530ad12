"""Which groups of pictures share a bucket: so that what they lose by it, empty places and buckets cost least.

Shape letters: G groups, K buckets to choose from, 2 width and height.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

EAGER = (1.0, 0.0, 3.0)
"""How eagerly empty places are filled at first. Where groups are few each is tried, and the cheapest outcome kept."""
FEW = 200
"""Groups. With more of them, the last few empty places are not worth a search."""
NEIGHBOURS = 12
"""With how many of the nearest clusters a cluster may be put together."""
ROUNDS = 10
"""Most times that every group is asked whether it had better move."""

Floats = NDArray[np.float64]
Members = tuple[int, ...]
"""Numbers of groups that share a bucket, ascending."""


@dataclass(frozen=True)
class Worth:
    """What may be lost for the sake of sharing, in shares of one picture."""

    bucket: float = 0.2
    """To have one bucket fewer: batches are then more mixed."""
    slot: float = 0.3
    """To fill one empty place of a batch that runs short."""


@dataclass(frozen=True)
class Cluster:
    """Groups, and the number of the bucket that they share."""

    groups: Members
    bucket: int


def cluster(
    costs_GK: Floats, pictures: Sequence[int], sides_K2: Floats, batch_size: int, worth: Worth | None = None
) -> list[Cluster]:
    """`costs_GK` is what all pictures of a group lose together in each bucket; infinite where they cannot go."""
    prices = _Prices(costs_GK, pictures, batch_size, worth or Worth())
    spots_K2 = np.log(sides_K2)
    few = len(pictures) <= FEW
    outcomes = [_put_together(prices, spots_K2, eager) for eager in (EAGER if few else EAGER[:1])]
    if few:
        outcomes = [_settled(prices, clusters) for clusters in outcomes]
    best = min(outcomes, key=lambda clusters: round(sum(map(prices.of, clusters)), 9))
    return [Cluster(members, prices.choice(members)) for members in best]


def empty_places(pictures: int, batch_size: int) -> int:
    """Places of batches that stay empty when so many pictures of a bucket are shown."""
    return -pictures % batch_size


class _Prices:
    """What clusters cost, in whole pictures. Each is worked out once."""

    def __init__(self, costs_GK: Floats, pictures: Sequence[int], batch_size: int, worth: Worth) -> None:
        """Of these groups."""
        self._costs_GK = costs_GK
        self._pictures = pictures
        self._batch_size = batch_size
        self._worth = worth
        self._found: dict[Members, tuple[float, int, int]] = {}

    def of(self, members: Members, eager: float = 1.0) -> float:
        """Nobody costs nothing."""
        if not members:
            return 0.0
        lost, _, empty = self._at(members)
        return lost + self._worth.bucket + eager * self._worth.slot * empty

    def choice(self, members: Members) -> int:
        """The bucket that costs them least."""
        return self._at(members)[1]

    def groups(self) -> range:
        """All of them."""
        return range(len(self._pictures))

    def _at(self, members: Members) -> tuple[float, int, int]:
        if members not in self._found:
            costs_K = self._costs_GK[list(members)].sum(axis=0)
            choice = int(costs_K.argmin())
            empty = empty_places(sum(self._pictures[group] for group in members), self._batch_size)
            self._found[members] = float(costs_K[choice]), choice, empty
        return self._found[members]


def _put_together(prices: _Prices, spots_K2: Floats, eager: float) -> list[Members]:
    """The two clusters that gain most become one, until none gain."""
    alive: dict[Members, None] = {(group,): None for group in prices.groups()}

    def gains(one: Members) -> Iterator[tuple[float, Members, Members]]:
        for other in _near(one, alive, prices, spots_K2):
            gain = prices.of(one, eager) + prices.of(other, eager) - prices.of(_joined(one, other), eager)
            if gain > 0:
                yield -gain, one, other

    waiting = [each for one in alive for each in gains(one)]
    heapify(waiting)
    while waiting:
        _, one, other = heappop(waiting)
        if one in alive and other in alive:
            del alive[one], alive[other]
            joined = _joined(one, other)
            alive[joined] = None
            for each in gains(joined):
                heappush(waiting, each)
    return list(alive)


def _settled(prices: _Prices, clusters: Sequence[Members]) -> list[Members]:
    """Groups move to another cluster, and clusters dissolve into the others, while that makes all of it cheaper."""
    clusters = list(clusters)
    for _ in range(ROUNDS):
        before = sum(map(prices.of, clusters))
        for group in prices.groups():
            clusters = _moved(prices, clusters, group)
        for cluster in tuple(clusters):
            clusters = _dissolved(prices, clusters, cluster)
        if sum(map(prices.of, clusters)) > before - 1e-9:
            break
    return clusters


def _moved(prices: _Prices, clusters: list[Members], group: int) -> list[Members]:
    """The group where it makes all of it cheapest; a bucket of its own is a choice too."""
    home = next(cluster for cluster in clusters if group in cluster)
    left = tuple(other for other in home if other != group)
    rest = [cluster for cluster in clusters if cluster != home] + ([left] if left else [])

    def rise(to: Members) -> float:
        return round(prices.of(_joined(to, (group,))) - prices.of(to), 9)

    chosen = min([left, *(cluster for cluster in rest if cluster != left), ()], key=rise)
    return [cluster for cluster in rest if cluster != chosen] + [_joined(chosen, (group,))]


def _dissolved(prices: _Prices, clusters: list[Members], cluster: Members) -> list[Members]:
    """Without the cluster, its groups going wherever they cost least, if that is cheaper."""
    if cluster not in clusters or len(clusters) == 1:
        return clusters
    spread = [other for other in clusters if other != cluster]
    for group in cluster:
        chosen = min(spread, key=lambda to: prices.of(_joined(to, (group,))) - prices.of(to))  # noqa: B023
        spread = [other for other in spread if other != chosen] + [_joined(chosen, (group,))]
    cheaper = sum(map(prices.of, spread)) < sum(map(prices.of, clusters)) - 1e-9
    return spread if cheaper else clusters


def _near(one: Members, alive: Iterable[Members], prices: _Prices, spots_K2: Floats) -> list[Members]:
    others = [other for other in alive if other != one]
    if not others:
        return []
    apart = np.abs(spots_K2[[prices.choice(other) for other in others]] - spots_K2[prices.choice(one)]).sum(axis=1)
    return [others[place] for place in np.argsort(apart, kind="stable")[:NEIGHBOURS]]


def _joined(one: Members, other: Members) -> Members:
    return tuple(sorted((*one, *other)))

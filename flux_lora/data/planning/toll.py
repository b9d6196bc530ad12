"""What a choice of buckets costs a set, in shares of it: the one number by which plans are compared."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from flux_lora.data.planning.buckets import Bucket
from flux_lora.data.planning.placing import Shape, lost_in, scale_into
from flux_lora.data.planning.sharing import empty_places


@dataclass(frozen=True)
class BucketingCost:
    """Each a share, and 0 is best."""

    cropped: float
    """Of a picture's area, what falls outside its bucket, on average."""
    missed: float
    """Of the pixels that were asked for and that the picture has, those the bucket has no room for."""
    enlarged: float
    """Of the trained pixels, those that enlarging made up."""
    empty: float
    """Places of an epoch's batches without a picture of their own."""
    buckets: float
    """Buckets to a picture."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.cropped + self.missed + self.enlarged + self.empty + self.buckets


def bucketing_cost(shown: Mapping[Shape, int], chosen: Mapping[Shape, Bucket], batch_size: int) -> BucketingCost:
    """Of showing each shape so often, in the bucket chosen for it."""
    pictures = sum(shown.values())
    filled: Counter[Bucket] = Counter()
    cropped = missed = enlarged = 0.0
    for shape, times in shown.items():
        bucket = chosen[shape]
        filled[bucket] += times
        cropped += times * lost_in(shape.width, shape.height, bucket)
        missed += times * max(0.0, 1 - bucket.area / min(shape.width * shape.height, shape.resolution**2))
        enlarged += times * (1 - 1 / max(1.0, scale_into(shape.width, shape.height, bucket)) ** 2)
    empty = sum(empty_places(count, batch_size) for count in filled.values())
    return BucketingCost(
        cropped / pictures,
        missed / pictures,
        enlarged / pictures,
        empty / (pictures + empty),
        len(filled) / pictures,
    )

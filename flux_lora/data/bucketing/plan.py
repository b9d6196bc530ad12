"""Plan an epoch: bucket, crop and exposures of every sample, from image sizes, before anything is encoded."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from math import ceil
from pathlib import Path

from flux_lora.config.choices import AlphaPolicy, CropMode
from flux_lora.data.bucketing.assign import assign_buckets
from flux_lora.data.bucketing.buckets import (
    LONGEST_ASPECT,
    MOST_CROPPED,
    MOST_ENLARGED,
    Bucket,
    BucketLimits,
    Shape,
    lost_in,
    scale_into,
)
from flux_lora.data.bucketing.crops import crop_window, intersection, protected_box
from flux_lora.data.images.decode import upright_size
from flux_lora.data.samples import Box, Sample

Sizes = Callable[[Path], tuple[int, int]]
"""Image file -> upright width and height."""
Keep = Callable[[Sample], Box | None]
"""Sample -> the box that crops must hold, in pixels of its image, or None."""
MATTERS = 0.02
"""Share of an image. Crops that take less are centred, without detecting a subject."""


@dataclass(frozen=True)
class BucketOptions:
    """Options of bucketing and cropping."""

    step: int
    """Pixels per side of one image token: sides of buckets are multiples of it."""
    resolutions: tuple[int, ...]
    """Sides of squares whose areas buckets fill. Every image is shown at each of them."""
    batch_size: int = 1
    """Images of a batch, over all processes together."""
    world_size: int = 1
    """Processes that share each batch."""
    crop: CropMode = CropMode.centre
    alpha: AlphaPolicy = AlphaPolicy.composite
    """Under AlphaPolicy.mask crops hold the opaque part."""
    longest_aspect: float = LONGEST_ASPECT
    """Long side over short side; longer images are cropped to it."""
    max_upscale: float = MOST_ENLARGED
    """An image too small for a resolution gets a smaller bucket rather than be enlarged more than this."""
    max_crop: float = MOST_CROPPED
    """No image is cropped more than this for the sake of a shared bucket."""
    seed: int = 0
    """Of random crops."""


@dataclass(frozen=True)
class Prepared:
    """A sample with its bucket and crop, and what it loses by them."""

    sample: Sample
    bucket: Bucket
    scale: float
    """Resize factor. Above 1 the image is enlarged to fill its bucket, and trains blurred."""
    cropped: float
    """Share of the image that falls outside the bucket, 0 to 1."""
    box: Box
    """The crop: the part that fills the bucket, in pixels of the upright image."""
    size: tuple[int, int]
    """Width and height of the upright image."""
    resolution: int
    """Of `BucketOptions.resolutions`, the one this is for."""
    exposures: int = 1
    """How often this crop is shown in an epoch."""
    whole: bool = True
    """Whether the crop holds all of the subject's box, or there is none."""

    @property
    def cover(self) -> tuple[int, int]:
        """Least width and height at which the image may be decoded without losing resolution in the bucket."""
        return ceil(self.size[0] * self.scale), ceil(self.size[1] * self.scale)


@dataclass(frozen=True)
class Plan:
    """What is shown in an epoch, sample by sample."""

    prepared: tuple[Prepared, ...]
    options: BucketOptions

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Those that are used, sorted."""
        return tuple(sorted({one.bucket for one in self.prepared}))

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of prepared samples by bucket, each as often as it is shown in an epoch."""
        members: dict[Bucket, list[int]] = {}
        for number, one in enumerate(self.prepared):
            members.setdefault(one.bucket, []).extend([number] * one.exposures)
        return tuple(
            tuple(members[bucket]) for bucket in sorted(members, key=lambda bucket: (bucket.height, bucket.width))
        )

    @property
    def exposures(self) -> int:
        """Images shown in an epoch."""
        return sum(one.exposures for one in self.prepared)

    def batches(self, batch_size: int) -> int:
        """Batches in an epoch."""
        return sum(-(-len(group) // batch_size) for group in self.groups)


def plan(
    samples: Sequence[Sample], options: BucketOptions, *, sizes: Sizes = upright_size, keep: Keep | None = None
) -> Plan:
    """Every sample, in order, at every resolution. Nothing is dropped, and no pixels are read without need.

    Crops hold a sample's own box. `keep` is called for the others, and only where they are cropped; by default it is
    protected_box.
    """
    image_sizes = [sizes(sample.image) for sample in samples]
    shapes: Counter[Shape] = Counter()
    for sample, size in zip(samples, image_sizes, strict=True):
        shapes.update({Shape(*size, side): sample.repeats for side in options.resolutions})
    limits = BucketLimits(options.step, options.longest_aspect, options.max_upscale, options.max_crop)
    chosen = assign_buckets(shapes, limits, max(options.batch_size, options.world_size)) if shapes else {}
    keep = keep or partial(protected_box, crop=options.crop, alpha=options.alpha)
    prepared: list[Prepared] = []
    for sample, size in zip(samples, image_sizes, strict=True):
        centred = [_centred(sample, Shape(*size, side), chosen[Shape(*size, side)]) for side in options.resolutions]
        prepared += _merged([crop for one in centred for crop in _cropped(one, options, keep)])
    return Plan(tuple(prepared), options)


def _centred(sample: Sample, shape: Shape, bucket: Bucket) -> Prepared:
    """The sample in its bucket, cropped around the middle."""
    size = shape.width, shape.height
    return Prepared(
        sample=sample,
        bucket=bucket,
        scale=scale_into(*size, bucket),
        cropped=max(0.0, lost_in(*size, bucket)),
        box=crop_window(size, bucket),
        size=size,
        resolution=shape.resolution,
        exposures=sample.repeats,
    )


def _cropped(one: Prepared, options: BucketOptions, keep: Keep) -> list[Prepared]:
    """The sample with its crop; under CropMode.random one crop for each exposure."""
    own_box = intersection(one.sample.box, Box(0, 0, *one.size)) if one.sample.box else None
    if one.cropped <= MATTERS:
        return [_with_crop(one, own_box, None)]
    kept = own_box or keep(one.sample)
    if options.crop is not CropMode.random:
        return [_with_crop(one, kept, None)]
    positions = [_random_position(options.seed, one, number) for number in range(one.exposures)]
    return [replace(_with_crop(one, kept, position), exposures=1) for position in positions]


def _with_crop(one: Prepared, kept: Box | None, at: float | None) -> Prepared:
    box = crop_window(one.size, one.bucket, kept, at)
    return replace(one, box=box, whole=kept is None or box.holds(kept))


def _random_position(seed: int, one: Prepared, number: int) -> float:
    """In [0, 1), from the seed and the image's name, so the same whatever else is in the set."""
    key = f"{seed}|{one.sample.image.name}|{one.resolution}|{number}|crop"
    return int.from_bytes(blake2b(key.encode(), digest_size=7).digest()) / 2**56


def _merged(crops: Sequence[Prepared]) -> list[Prepared]:
    """Equal crops of an image become one with all their exposures: it is encoded only once."""
    found: dict[tuple[Bucket, Box], Prepared] = {}
    for crop in crops:
        key = (crop.bucket, crop.box)
        before = found[key].exposures if key in found else 0
        found[key] = replace(found.get(key, crop), exposures=before + crop.exposures)
    return list(found.values())

"""Choose buckets and crops for a set from its sizes: what each picture loses is known before anything is encoded."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from math import ceil
from pathlib import Path

from flux_lora.config.choices import AlphaPolicy, CropMode
from flux_lora.data.box import Box
from flux_lora.data.pictures.decode import upright_size
from flux_lora.data.planning.buckets import LONGEST_ASPECT, Bucket
from flux_lora.data.planning.crops import crop_window, intersection, protected_box
from flux_lora.data.planning.placing import MOST_CROPPED, MOST_ENLARGED, BucketLimits, Shape, lost_in, scale_into
from flux_lora.data.planning.planner import assign_buckets
from flux_lora.data.samples import Sample

Sizes = Callable[[Path], tuple[int, int]]
"""Image file -> width and height as people see it."""
Keep = Callable[[Sample], Box | None]
"""Sample -> the part of it that must not be cropped away, if any is known."""
MATTERS = 0.02
"""Crops that take less than this share are taken from the middle: no subject is looked for."""


@dataclass(frozen=True)
class BucketOptions:
    """What the buckets are for."""

    resolutions: tuple[int, ...]
    """Sides of squares whose areas are filled. Every picture is shown at each of them."""
    batch_size: int = 1
    """Pictures of a batch, over all processes together."""
    world_size: int = 1
    """Processes that share each batch."""
    crop: CropMode = CropMode.centre
    alpha: AlphaPolicy = AlphaPolicy.composite
    """Under AlphaPolicy.mask what is opaque is kept inside crops."""
    longest_aspect: float = LONGEST_ASPECT
    """Long side over short side; longer pictures are cropped to it."""
    most_enlarged: float = MOST_ENLARGED
    """A picture too small for a resolution gets a smaller bucket rather than be enlarged more than this."""
    most_cropped: float = MOST_CROPPED
    """No picture is cropped more than this for the sake of a shared bucket."""
    seed: int = 0
    """Random crops follow from it."""


@dataclass(frozen=True)
class Prepared:
    """A sample with its bucket and crop chosen, and what that costs it."""

    sample: Sample
    bucket: Bucket
    scale: float
    """Above 1 the picture is enlarged to fill its bucket, and will train as blurred as that looks."""
    cropped: float
    """Share of the picture that falls outside the bucket, 0 to 1."""
    box: Box
    """The part that fills the bucket."""
    size: tuple[int, int]
    """Of the picture as people see it; the box is measured in it."""
    resolution: int
    """What was asked for."""
    exposures: int = 1
    """How often it is shown in an epoch."""
    whole: bool = True
    """Whether what must not be lost is inside the box."""

    @property
    def cover(self) -> tuple[int, int]:
        """Width and height that a smaller decoding of the picture must still have, so that nothing is lost by it."""
        return ceil(self.size[0] * self.scale), ceil(self.size[1] * self.scale)


@dataclass(frozen=True)
class Plan:
    """What is shown in an epoch, sample by sample."""

    prepared: tuple[Prepared, ...]
    options: BucketOptions

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Those that are used."""
        return tuple(sorted({one.bucket for one in self.prepared}))

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of prepared samples that share a bucket, each once for every time it is shown in an epoch."""
        members: dict[Bucket, list[int]] = {}
        for number, one in enumerate(self.prepared):
            members.setdefault(one.bucket, []).extend([number] * one.exposures)
        return tuple(tuple(members[bucket]) for bucket in sorted(members, key=lambda each: (each.height, each.width)))

    @property
    def exposures(self) -> int:
        """Pictures shown in an epoch."""
        return sum(one.exposures for one in self.prepared)

    def batches(self, batch_size: int) -> int:
        """Batches in an epoch."""
        return sum(-(-len(group) // batch_size) for group in self.groups)


def plan(
    samples: Sequence[Sample], wish: BucketOptions, *, sizes: Sizes = upright_size, keep: Keep | None = None
) -> Plan:
    """Every sample, in order, at every resolution. Nothing is dropped, and no pixels are read without need.

    What a sample's own box marks is kept inside its crops. `keep` is asked about the others, and only where they are
    cropped; by itself, it is what masks keep and, under CropMode.subject, what stands out.
    """
    seen = [sizes(sample.image) for sample in samples]
    shapes: Counter[Shape] = Counter()
    for sample, size in zip(samples, seen, strict=True):
        shapes.update({Shape(*size, side): sample.repeats for side in wish.resolutions})
    limits = BucketLimits(wish.longest_aspect, wish.most_enlarged, wish.most_cropped)
    chosen = assign_buckets(shapes, limits, max(wish.batch_size, wish.world_size)) if shapes else {}
    keep = keep or partial(protected_box, crop=wish.crop, alpha=wish.alpha)
    prepared: list[Prepared] = []
    for sample, size in zip(samples, seen, strict=True):
        alone = [_placed(sample, Shape(*size, side), chosen[Shape(*size, side)]) for side in wish.resolutions]
        prepared += _gathered([part for one in alone for part in _cropped(one, wish, keep)])
    return Plan(tuple(prepared), wish)


def _placed(sample: Sample, shape: Shape, bucket: Bucket) -> Prepared:
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


def _cropped(one: Prepared, wish: BucketOptions, keep: Keep) -> list[Prepared]:
    """The picture with its crop chosen; under CropMode.random with one crop for each time that it is shown."""
    given = intersection(one.sample.box, Box(0, 0, *one.size)) if one.sample.box else None
    if one.cropped <= MATTERS:
        return [_windowed(one, given, None)]
    kept = given or keep(one.sample)
    if wish.crop is not CropMode.random:
        return [_windowed(one, kept, None)]
    shares = [_chance(wish.seed, one, number) for number in range(one.exposures)]
    return [replace(_windowed(one, kept, share), exposures=1) for share in shares]


def _windowed(one: Prepared, kept: Box | None, at: float | None) -> Prepared:
    box = crop_window(one.size, one.bucket, kept, at)
    return replace(one, box=box, whole=kept is None or box.holds(kept))


def _chance(seed: int, one: Prepared, number: int) -> float:
    """Between 0 and 1, and the same whatever else is in the set."""
    drawn = f"{seed}|{one.sample.image.name}|{one.resolution}|{number}|crop"
    return int.from_bytes(blake2b(drawn.encode(), digest_size=7).digest()) / 2**56


def _gathered(parts: Sequence[Prepared]) -> list[Prepared]:
    """Equal parts of a picture become one that is shown more often: it need be encoded only once."""
    found: dict[tuple[Bucket, Box], Prepared] = {}
    for part in parts:
        key = (part.bucket, part.box)
        before = found[key].exposures if key in found else 0
        found[key] = replace(found.get(key, part), exposures=before + part.exposures)
    return list(found.values())

"""Whole plans keep their promises: whatever the sizes, repeats, batches, processes, resolutions and limits."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flux_lora.config.choices import CropMode
from flux_lora.data.batches import batches_per_epoch, sample_indices_at, share_of_rank
from flux_lora.data.bucketing.buckets import SMALLEST, largest_area, scale_into
from flux_lora.data.bucketing.plan import MATTERS, BucketOptions, Plan, Prepared, plan
from flux_lora.data.samples import Box, Sample

PROMISED = 10_000
SLACK = 1e-6


@dataclass(frozen=True)
class Image:
    """Nothing but a size, how often it repeats, and what of it is to be kept, in shares of its sides."""

    width: int
    height: int
    repeats: int
    keep: tuple[float, float, float, float] | None

    @property
    def kept(self) -> Box | None:
        if self.keep is None:
            return None
        (left, right), (top, bottom) = sorted(self.keep[:2]), sorted(self.keep[2:])
        return Box(left * self.width, top * self.height, right * self.width, bottom * self.height)


sides = st.integers(16, 9000) | st.sampled_from([64, 512, 1024, 1080, 4032, 3024])
shares = st.floats(0, 1)
images = st.builds(Image, sides, sides, st.integers(1, 12), st.none() | st.tuples(shares, shares, shares, shares))
sets = st.lists(images, min_size=1, max_size=24)
STEP = 16
bucket_options = st.builds(
    BucketOptions,
    step=st.just(STEP),
    resolutions=st.lists(st.integers(4, 96).map(lambda steps: STEP * steps), min_size=1, max_size=2, unique=True)
    .map(sorted)
    .map(tuple),
    batch_size=st.integers(1, 16),
    world_size=st.integers(1, 5),
    crop=st.sampled_from(CropMode),
    longest_aspect=st.floats(1.0, 6.0),
    max_upscale=st.floats(1.0, 2.0),
    max_crop=st.floats(0.0, 0.4),
    seed=st.integers(0, 2**32),
)


def planned(of: list[Image], options: BucketOptions) -> Plan:
    files = {Path(f"{number:03}.jpg"): one for number, one in enumerate(of)}
    samples = [Sample(image=file, caption="", repeats=one.repeats) for file, one in files.items()]

    def size(file: Path) -> tuple[int, int]:
        return files[file].width, files[file].height

    return plan(samples, options, sizes=size, keep=lambda sample: files[sample.image].kept)


def keeps_its_promises(of: list[Image], options: BucketOptions, epoch: int) -> None:
    made = planned(of, options)
    kept = {f"{number:03}.jpg": one.kept for number, one in enumerate(of)}
    _shows_everything(made, of, options, epoch)
    for one in made.prepared:
        width, height = one.size
        bucket = one.bucket
        assert bucket.width % STEP == bucket.height % STEP == 0
        long, short = max(bucket.width, bucket.height), min(bucket.width, bucket.height)
        assert long <= options.longest_aspect * short + SLACK
        assert bucket.area <= largest_area(one.resolution, options.step, options.longest_aspect)
        assert one.scale == pytest.approx(scale_into(width, height, bucket))
        assert one.scale <= options.max_upscale + 1e-5 or _too_small(one.size, one.resolution, options)
        assert Box(0, 0, width, height).holds(one.box, slack=SLACK * max(width, height))
        assert one.box.width * one.scale == pytest.approx(bucket.width, rel=1e-6)
        assert one.box.height * one.scale == pytest.approx(bucket.height, rel=1e-6)
        assert one.cropped == pytest.approx(1 - one.box.width * one.box.height / (width * height), abs=1e-6)
        _keeps(one, kept[one.sample.image.name])


def _keeps(one: Prepared, wanted: Box | None) -> None:
    """Only an image that is hardly cropped is taken from the middle without asking."""
    if wanted is None or one.cropped <= MATTERS:
        return
    fits = wanted.width <= one.box.width and wanted.height <= one.box.height
    assert one.whole == one.box.holds(wanted) and (one.whole or not fits)


def _too_small(size: tuple[int, int], resolution: int, options: BucketOptions) -> bool:
    """Only then is an image enlarged more than allowed: it would be less than 256 x 256, or no side of 16 fits it."""
    width = min(size[0], options.longest_aspect * size[1])
    height = min(size[1], options.longest_aspect * size[0])
    return width * height < min(resolution, SMALLEST) ** 2 or min(width, height) < 2 * STEP


def _shows_everything(made: Plan, of: list[Image], options: BucketOptions, epoch: int) -> None:
    """In an epoch, over all processes: every image as often as it repeats, at every resolution, in even batches."""
    length = batches_per_epoch(made.groups, options.batch_size)
    assert length == made.batches(options.batch_size)
    seen: Counter[str] = Counter()
    for number in range(epoch * length, (epoch + 1) * length):
        members = sample_indices_at(made.groups, options.batch_size, options.seed, number)
        assert 0 < len(members) <= options.batch_size
        assert len({made.prepared[each].bucket for each in members}) == 1
        parts = [share_of_rank(len(members), rank, options.world_size) for rank in range(options.world_size)]
        assert sorted(place for part in parts for place in part) == list(range(len(members)))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        seen.update(made.prepared[each].sample.image.name for each in members)
    assert seen == {f"{n:03}.jpg": one.repeats * len(options.resolutions) for n, one in enumerate(of)}


@settings(max_examples=100, deadline=None)
@given(sets, bucket_options, st.integers(0, 5))
def test_whole_plans_keep_their_promises(of: list[Image], options: BucketOptions, epoch: int):
    keeps_its_promises(of, options, epoch)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=PROMISED, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sets, bucket_options, st.integers(0, 5))
def test_whole_plans_keep_their_promises_in_ten_thousand_cases(of: list[Image], options: BucketOptions, epoch: int):
    keeps_its_promises(of, options, epoch)

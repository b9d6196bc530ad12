"""What buckets and crops cost each image is known before anything is encoded, and no image is dropped."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.config.choices import CropMode
from flux_lora.data.batches import batches_per_epoch, sample_indices_at, share_of_rank
from flux_lora.data.bucketing.buckets import Bucket
from flux_lora.data.bucketing.plan import BucketOptions, Plan, Prepared, plan
from flux_lora.data.samples import Box, Sample
from tests.data.drawn_images import gradient, write_sample

PHONE = [(4032, 3024), (3024, 4032), (3840, 2160), (1080, 1080), (6000, 4000)]


def planned(sizes: list[tuple[int, int]], wish: BucketOptions, repeats: list[int] | None = None, **options) -> Plan:
    """Images that are nothing but a size."""
    often = repeats or [1] * len(sizes)
    of_file = {Path(f"{number:03}.jpg"): size for number, size in enumerate(sizes)}
    samples = [Sample(image=file, caption="", repeats=times) for file, times in zip(of_file, often, strict=True)]
    return plan(samples, wish, sizes=of_file.__getitem__, **options)


def shown(made: Plan, batch_size: int, world_size: int, epoch: int = 0) -> Counter[Path]:
    """How often each image is in an epoch, over all processes."""
    length, seen = batches_per_epoch(made.groups, batch_size), Counter()
    for number in range(epoch * length, (epoch + 1) * length):
        members = sample_indices_at(made.groups, batch_size, 0, number)
        for rank in range(world_size):
            parts = [made.prepared[members[place]] for place in share_of_rank(len(members), rank, world_size)]
            seen.update(part.sample.image for part in parts)
    return seen


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(64, 5000), st.integers(64, 5000), st.integers(1, 3)), min_size=1, max_size=20),
    st.builds(
        BucketOptions,
        st.just(16),
        st.sampled_from([(512,), (512, 1024)]),
        st.integers(1, 8),
        st.integers(1, 4),
        st.sampled_from([CropMode.centre, CropMode.random]),
    ),
)
def test_whatever_the_set_every_image_is_shown_as_often_as_it_repeats(images, wish):
    """Other trainers drop what does not fill a batch: the same images each epoch, or all of a small set."""
    made = planned([(width, height) for width, height, _ in images], wish, [times for *_, times in images])
    wanted = {Path(f"{n:03}.jpg"): times * len(wish.resolutions) for n, (*_, times) in enumerate(images)}
    assert shown(made, wish.batch_size, wish.world_size) == wanted
    assert made.exposures == sum(wanted.values())
    for one in made.prepared:
        width, height = one.size
        assert Box(0, 0, width, height).holds(one.box, slack=1e-6)
        assert one.cropped == pytest.approx(1 - one.box.width * one.box.height / (width * height), abs=1e-6)
        assert one.box.width * one.scale == pytest.approx(one.bucket.width, rel=1e-6)


def test_samples_are_planned_in_order():
    made = planned(PHONE, BucketOptions(16, (512,)))
    assert [one.sample.image.name for one in made.prepared] == [f"{number:03}.jpg" for number in range(5)]
    assert len(made.groups) == len(made.buckets) > 1


def test_scale_and_crop_say_what_the_bucket_costs(tmp_path):
    large = write_sample(tmp_path, "large.png", "", gradient(256, 256))
    long = write_sample(tmp_path, "long.png", "", gradient(1280, 64))
    first, second = plan([large, long], BucketOptions(16, (64,))).prepared
    assert (first.bucket, first.scale, first.cropped) == (Bucket(64, 64), 0.25, 0.0)
    assert second.bucket == Bucket(128, 32)
    assert second.scale == pytest.approx(0.5)
    assert second.cropped == pytest.approx(1 - 4 / 20)
    assert second.box == Box(512, 0, 768, 64)
    assert second.cover == (640, 32)


def test_a_photo_held_sideways_is_planned_as_people_see_it(tmp_path):
    image = gradient(128, 32)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    turned = plan([Sample(image=tmp_path / "a.jpg", caption="")], BucketOptions(16, (64,))).prepared[0]
    assert (turned.bucket, turned.size) == (Bucket(32, 128), (32, 128))


def test_a_crop_keeps_what_is_to_be_kept_and_says_where_it_cannot():
    def cropped(keep: Box) -> Prepared:
        return planned([(5000, 1000)], BucketOptions(16, (512,), crop=CropMode.subject), keep=lambda _: keep).prepared[
            0
        ]

    near, whole = Box(0, 0, 900, 1000), Box(0, 0, 5000, 1000)
    assert cropped(near).whole and cropped(near).box.holds(near)
    assert not cropped(whole).whole and cropped(whole).box.left == pytest.approx(500)


def test_nobody_is_asked_what_to_keep_of_an_image_that_is_not_cropped():
    def never(sample: Sample) -> Box | None:
        raise AssertionError(sample)

    assert all(one.cropped < 0.02 for one in planned(PHONE[:4], BucketOptions(16, (512,)), keep=never).prepared)


def test_a_mask_is_kept_inside_by_itself(tmp_path):
    long = write_sample(tmp_path, "long.png", "", gradient(1200, 100))
    mask = gradient(1200, 100).convert("L").point([0] * 256)
    mask.paste(255, (1000, 20, 1150, 80))
    mask.save(tmp_path / "long.mask.png")
    one = plan([replace(long, mask=tmp_path / "long.mask.png")], BucketOptions(16, (256,))).prepared[0]
    assert one.whole and one.box.right >= 1149


def boxed(box: Box, wish: BucketOptions, size: tuple[int, int] = (5000, 1000)) -> Prepared:
    def never(sample: Sample) -> Box | None:
        raise AssertionError(sample)

    return plan([Sample(image=Path("a.jpg"), caption="", box=box)], wish, sizes=lambda _: size, keep=never).prepared[0]


@pytest.mark.parametrize("crop", CropMode)
def test_a_box_that_came_with_the_image_is_kept_and_nothing_else_is_looked_for(crop):
    one = boxed(Box(4500, 300, 4990, 700), BucketOptions(16, (512,), crop=crop))
    assert one.whole and one.box.right >= 4990


def test_a_box_is_kept_to_the_pixel_in_an_image_that_is_hardly_cropped():
    centred = planned([(1030, 1024)], BucketOptions(16, (512,))).prepared[0]
    one = boxed(Box(1000, 0, 1030, 1024), BucketOptions(16, (512,)), (1030, 1024))
    assert 0 < one.cropped < 0.02 and centred.box.right < 1030
    assert one.box.right == pytest.approx(1030)


def test_a_box_beyond_the_image_counts_as_far_as_it_lies_in_it():
    one = boxed(Box(4500, -50, 5600, 700), BucketOptions(16, (512,)))
    assert one.whole and one.box.right == pytest.approx(5000)
    far = Sample(image=Path("a.jpg"), caption="", box=Box(6000, 0, 7000, 10))
    asked = plan([far], BucketOptions(16, (512,)), sizes=lambda _: (5000, 1000), keep=lambda _: Box(0, 0, 10, 10))
    assert asked.prepared[0].box.left == 0, "it says nothing of this image"


def test_random_crops_differ_by_repeat_stay_with_the_seed_and_ask_for_no_company():
    wish = BucketOptions(16, (512,), crop=CropMode.random, seed=3)
    boxes = [one.box for one in planned([(5000, 1000)], wish, [4]).prepared]
    assert len(set(boxes)) == 4
    with_others = planned([(5000, 1000), *PHONE], wish, [4, 1, 1, 1, 1, 1]).prepared
    assert [one.box for one in with_others[:4]] == boxes
    other_seed = planned([(5000, 1000)], replace(wish, seed=4), [4]).prepared
    assert not {one.box for one in other_seed} & set(boxes)


def test_an_image_that_needs_no_crop_is_encoded_once_however_often_it_is_shown():
    made = planned([(1024, 1024)], BucketOptions(16, (512,), crop=CropMode.random), [7])
    assert [one.exposures for one in made.prepared] == [7]


def test_an_image_too_small_for_two_resolutions_is_encoded_once_and_shown_as_often_as_others():
    made = planned([(400, 400), (4000, 4000)], BucketOptions(16, (512, 1024)))
    assert [(one.bucket.width, one.exposures) for one in made.prepared] == [(400, 2), (512, 1), (1024, 1)]


def test_the_groups_are_those_of_the_latents_shapes():
    made = planned([*PHONE, *PHONE], BucketOptions(16, (512,)))
    homes = [[made.prepared[number].bucket for number in group] for group in made.groups]
    assert all(len(set(home)) == 1 for home in homes)
    shapes = [(home[0].height, home[0].width) for home in homes]
    assert shapes == sorted(shapes)


def test_an_empty_set_has_an_empty_plan():
    assert planned([], BucketOptions(16, (512,))).prepared == ()
    assert planned([], BucketOptions(16, (512,))).batches(4) == 0


def test_a_prepared_sample_covers_its_bucket_when_decoded_no_larger_than_need_be():
    for one in planned(PHONE, BucketOptions(16, (512,))).prepared:
        assert isinstance(one, Prepared)
        assert one.cover[0] >= one.bucket.width and one.cover[1] >= one.bucket.height

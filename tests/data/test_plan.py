"""What a bucket costs each picture is known before pixels are read."""

import pytest

from flux_lora.data.buckets import Bucket
from flux_lora.data.plan import plan
from tests.data.pictures import gradient, write_sample


def test_every_sample_is_planned_in_order_and_none_is_dropped(tmp_path):
    sizes = [(640, 640), (30, 500), (500, 30), (64, 64)]
    samples = [write_sample(tmp_path, f"{number}.png", "a mug", gradient(*size)) for number, size in enumerate(sizes)]
    assert [one.sample for one in plan(samples, 64)] == samples


def test_scale_and_crop_say_what_the_bucket_costs(tmp_path):
    large = write_sample(tmp_path, "large.png", "", gradient(256, 256))
    long = write_sample(tmp_path, "long.png", "", gradient(1280, 64))
    first, second = plan([large, long], 64)
    assert (first.bucket, first.scale, first.cropped) == (Bucket(64, 64), 0.25, 0.0)
    assert second.bucket == Bucket(128, 32)
    assert second.scale == pytest.approx(0.5)
    assert second.cropped == pytest.approx(1 - 4 / 20)


def test_a_photo_held_sideways_is_planned_as_people_see_it(tmp_path):
    picture = gradient(128, 32)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    sample = write_sample(tmp_path, "b.png", "")
    turned = plan([type(sample)(image=tmp_path / "a.jpg", caption="")], 64)
    assert turned[0].bucket == Bucket(32, 128)

"""The comparison with plain Pillow is fair: the same part of the same image at the same size."""

from pathlib import Path

import pytest

from benchmarks import prepare
from benchmarks.photographs import folder
from flux_lora.data.bucketing.plan import BucketOptions, Prepared, plan
from flux_lora.data.samples import Sample

pytestmark = pytest.mark.skipif(
    folder() is None, reason="scikit-image, which carries the photographs, is not installed"
)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    file: Path = tmp_path_factory.mktemp("mosaic") / "a.jpg"
    prepare.mosaic((972, 756)).save(file, quality=prepare.JPEG_QUALITY)
    return plan([Sample(image=file, caption="a photo")], BucketOptions(16, resolutions=(256,))).prepared[0]


def test_nothing_is_cropped_so_that_no_way_gains_by_it(one):
    assert one.cropped < 0.01


@pytest.mark.parametrize("name", prepare.WAYS)
def test_every_way_gives_the_bucket_as_good_as_plain_pillow_does(one, name):
    image = prepare.WAYS[name](one)
    assert image.size == (one.bucket.width, one.bucket.height)
    assert prepare.decibels(image, prepare.plain(one)) >= 40


def test_a_mosaic_holds_photographs_to_its_last_corner():
    assert len(prepare.mosaic((972, 756)).crop((900, 700, 972, 756)).getcolors(10_000) or range(10_000)) > 100

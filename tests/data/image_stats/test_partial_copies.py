import pytest

from benchmarks.photographs import after, cropped, folder, jpeg, photograph, resized
from flux_lora.data.image_stats.copies import is_part, small_copy
from tests.data.scenes import product, scene


@pytest.mark.parametrize(
    "cut", [(0.1, 0.1, 0.1, 0.1), (0.3, 0.0, 0.0, 0.2), (0.0, 0.15, 0.2, 0.05), (0.0, 0.0, 0.25, 0.0)]
)
@pytest.mark.parametrize("seed", range(3))
def test_a_crop_is_a_part_of_the_photo_either_way_round(cut, seed):
    whole = small_copy(scene(seed))
    part = small_copy(after(cropped(*cut), after(resized(0.8), jpeg(70)))(scene(seed)))
    assert is_part(part, whole)
    assert is_part(whole, part)


def test_other_images_are_no_parts_of_each_other():
    copies = [small_copy(scene(seed)) for seed in range(8)]
    assert not any(is_part(one, other) for index, one in enumerate(copies) for other in copies[:index])


def test_the_same_shapes_before_another_ground_are_no_part():
    assert not is_part(small_copy(product((250, 200, 190))), small_copy(product((180, 200, 240), size=0.5)))


@pytest.mark.skipif(folder() is None, reason="scikit-image is not installed")
@pytest.mark.parametrize("name", ["brick.png", "grass.png", "gravel.png"])
def test_a_crop_of_fine_texture_is_a_part_of_it_and_of_no_other(name):
    part = small_copy(after(cropped(0.15, 0.15, 0.15, 0.15), jpeg(80))(photograph(name)))
    others = ("brick.png", "grass.png", "gravel.png")
    assert [other for other in others if is_part(part, small_copy(photograph(other)))] == [name]

import pytest

from benchmarks.photographs import after, cropped, jpeg, resized
from flux_lora.data.looks.parts import is_part, small_copy
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


def test_other_pictures_are_no_parts_of_each_other():
    copies = [small_copy(scene(seed)) for seed in range(8)]
    assert not any(is_part(one, other) for index, one in enumerate(copies) for other in copies[:index])


def test_the_same_shapes_before_another_ground_are_no_part():
    assert not is_part(small_copy(product((250, 200, 190))), small_copy(product((180, 200, 240), size=0.5)))

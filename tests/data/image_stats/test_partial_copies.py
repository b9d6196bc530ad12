import pytest
from PIL import ImageOps

from benchmarks.photographs import after, cropped, exposed, folder, jpeg, photograph, resized
from flux_lora.data.image_stats.copies import is_mirror_image, is_part, small_copy
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


@pytest.mark.parametrize("change", [jpeg(30), resized(0.5), exposed(1.2)])
@pytest.mark.parametrize("seed", range(3))
def test_a_mirrored_copy_is_known_whatever_was_done_to_its_file(change, seed):
    assert is_mirror_image(small_copy(scene(seed)), small_copy(change(ImageOps.mirror(scene(seed)))))


def test_neither_the_same_nor_a_cropped_nor_another_image_is_a_mirror_image():
    whole = small_copy(scene(1))
    others = [scene(1), jpeg(50)(scene(1)), scene(2), cropped(0.05, 0, 0, 0)(ImageOps.mirror(scene(1)))]
    assert not any(is_mirror_image(whole, small_copy(other)) for other in others)

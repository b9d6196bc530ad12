import pytest
from PIL import Image, ImageOps

from benchmarks.photographs import after, cropped, exposed, jpeg, resized
from flux_lora.data.image_stats.copies import distances, perceptual_hashes, small_copy, stack_hashes
from flux_lora.data.image_stats.turned_copies import is_mirror_image, mirrored_hashes, turned_by, turned_hashes
from tests.data.scenes import scene


@pytest.mark.parametrize("change", [jpeg(30), resized(0.5), exposed(1.2), cropped(0.05, 0, 0.02, 0.04)])
@pytest.mark.parametrize("seed", range(3))
def test_a_mirrored_copy_is_known_whatever_was_done_to_its_file(change, seed):
    assert is_mirror_image(small_copy(scene(seed)), small_copy(change(ImageOps.mirror(scene(seed)))))


def test_neither_the_same_nor_another_image_nor_half_of_it_is_a_mirror_image():
    whole = small_copy(scene(1))
    others = [scene(1), jpeg(50)(scene(1)), scene(2), cropped(0.5, 0, 0, 0)(ImageOps.mirror(scene(1)))]
    assert not any(is_mirror_image(whole, small_copy(other)) for other in others)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_copy_is_known_by_the_turn_that_brings_it_back(quarters):
    turned = after(resized(0.7), jpeg(60))(scene(1)).rotate(-90 * quarters, expand=True)
    assert turned_by(small_copy(scene(1)), small_copy(turned)) == quarters
    assert turned_by(small_copy(scene(2)), small_copy(turned)) == 0


def test_what_looks_the_same_when_it_is_turned_is_no_turned_copy():
    plain = small_copy(Image.new("RGB", (64, 64), "teal"))
    assert turned_by(plain, plain) == 0


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_the_hash_of_a_turned_image_is_the_turned_hash(quarters):
    whole, turned = (
        stack_hashes([perceptual_hashes(image)]) for image in (scene(3), scene(3).rotate(90 * quarters, expand=True))
    )
    assert distances(turned, turned_hashes(whole, quarters))[0, 0] <= 8  # those that are nearly 0


def test_the_hashes_of_a_mirrored_image_are_the_mirrored_hashes_in_another_order():
    whole, mirrored = (stack_hashes([perceptual_hashes(image)]) for image in (scene(3), ImageOps.mirror(scene(3))))
    assert distances(mirrored, mirrored_hashes(whole))[0, 0] <= 8  # those that are nearly 0

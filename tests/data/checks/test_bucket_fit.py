"""What a bucket does to an image is said, and what near misses need is silence."""

from dataclasses import replace
from pathlib import Path

import pytest

from flux_lora.config.choices import Severity
from flux_lora.config.schema import TrainConfig
from flux_lora.data.bucketing.crops import Box
from flux_lora.data.bucketing.plan import BucketOptions, Plan, plan
from flux_lora.data.checks.bucket_fit import judge_bucket_fit, steps_in_words
from flux_lora.data.findings import Finding
from flux_lora.data.samples import Sample

MUG = Path("mug.jpg")


def planned(
    *sizes: tuple[int, int], wish: BucketOptions | None = None, repeats: int = 1, mask: Box | None = None
) -> Plan:
    of_file = dict(zip([MUG, *(Path(f"{number}.jpg") for number in range(len(sizes)))], sizes, strict=False))
    samples = [
        Sample(image=file, caption="", repeats=repeats, mask=Path("mug.mask.png") if mask else None) for file in of_file
    ]
    return plan(samples, wish or BucketOptions(16, (512,)), sizes=of_file.__getitem__, keep=lambda _: mask)


def findings(*sizes: tuple[int, int], allow_crop: float = 0.25, wish: BucketOptions | None = None) -> list[Finding]:
    return list(judge_bucket_fit(planned(*sizes, wish=wish), allow_crop))


def rules(*sizes: tuple[int, int], allow_crop: float = 0.25, wish: BucketOptions | None = None) -> list[str]:
    return [finding.rule for finding in findings(*sizes, allow_crop=allow_crop, wish=wish)]


def test_photos_of_common_shapes_are_passed_in_silence():
    assert rules((4032, 3024), (6000, 4000), (2160, 3840), (1024, 1024), (512, 512)) == []


def test_an_image_that_must_be_enlarged_is_small():
    found = findings((200, 200))
    assert [finding.rule for finding in found] == ["small"]
    assert found[0].problem == "is 200x200 and would be enlarged 1.3 times to 256x256"


def test_an_image_enlarged_by_a_hair_is_not():
    assert rules((250, 250), wish=BucketOptions(16, (256,))) == []


def test_an_image_with_under_half_of_the_pixels_is_small_and_one_with_most_of_them_is_only_noted():
    assert [(each.rule, each.severity) for each in findings((350, 350))] == [("small", Severity.warning)]
    assert [(each.rule, each.severity) for each in findings((460, 460))] == [("below-resolution", Severity.note)]
    assert rules((500, 500)) == []


@pytest.mark.parametrize(("size", "rule"), [((4400, 1000), []), ((4700, 1000), ["cropped"])])
def test_more_than_a_tenth_cropped_is_warned_of(size, rule):
    assert rules(size) == rule


def test_more_than_a_quarter_cropped_is_refused_unless_it_is_allowed():
    found = findings((8000, 1000))
    assert [(each.rule, each.severity) for each in found] == [("cropped-away", Severity.error)]
    assert found[0].problem == "loses 50% of itself to its bucket of 1024x256"
    assert found[0].fix.endswith("or set data.max_crop=0.51")
    assert rules((8000, 1000), allow_crop=0.51) == ["cropped"]


def test_a_mask_that_does_not_fit_is_named_and_one_that_does_is_not():
    cut = [each.rule for each in judge_bucket_fit(planned((4700, 1000), mask=Box(0, 0, 4600, 1000)))]
    kept = [each.rule for each in judge_bucket_fit(planned((4700, 1000), mask=Box(0, 0, 2000, 1000)))]
    assert cut == ["cropped", "mask-cropped"]
    assert kept == ["cropped"]


def boxed(box: Box) -> list[str]:
    made = plan([Sample(image=MUG, caption="", box=box)], BucketOptions(16, (512,)), sizes=lambda _: (4700, 1000))
    return [f"{each.rule}: {each.problem}" for each in judge_bucket_fit(made) if each.rule != "cropped"]


def test_a_box_that_does_not_fit_or_is_not_in_the_image_is_named_and_one_that_fits_is_not():
    assert boxed(Box(0, 0, 4600, 1000)) == [
        "box-cropped: has a box (0, 0, 4600, 1000) that does not fit into its bucket of 1024x256"
    ]
    assert boxed(Box(5000, 0, 5200, 900)) == [
        "box-cropped: has a box (5000, 0, 5200, 900) that goes beyond its 4700x1000 pixels"
    ]
    assert boxed(Box(2700, 0, 4700, 1000)) == []


def test_an_image_alone_in_its_bucket_is_noted_where_batches_are_shared():
    sizes = [(3000, 3000)] * 4 + [(4000, 1100)]
    assert rules(*sizes, wish=BucketOptions(16, (512,), batch_size=4)) == ["lone-bucket"]
    assert rules(*sizes, wish=BucketOptions(16, (512,), batch_size=1)) == []
    assert rules((3000, 3000), wish=BucketOptions(16, (512,), batch_size=4)) == []


def test_an_image_is_named_once_whatever_the_number_of_resolutions_and_crops():
    made = planned((300, 300), wish=BucketOptions(16, (512, 768, 1024)), repeats=3)
    found = list(judge_bucket_fit(made))
    assert [(each.rule, each.file) for each in found] == [("small", MUG)]
    assert "of the pixels asked for" in found[0].problem


def test_steps_and_exposures_mean_one_thing():
    made = planned(*[(3000, 3000)] * 5, repeats=2)
    assert steps_in_words(made, TrainConfig(steps=30, batch_size=4)) == (
        "An epoch is 3 steps of up to 4 images and shows each of 5 images 2 times. "
        "In 30 steps each image is seen about 20 times."
    )


def test_batches_that_are_accumulated_belong_to_one_step():
    made = planned(*[(3000, 3000)] * 5, repeats=2)
    assert steps_in_words(made, TrainConfig(steps=30, batch_size=4, gradient_accumulation_steps=2)) == (
        "An epoch is 2 steps of 2 times up to 4 images and shows each of 5 images 2 times. "
        "In 30 steps each image is seen about 40 times."
    )


def test_images_that_repeat_differently_are_said_so():
    made = planned(*[(3000, 3000)] * 2)
    often = replace(made, prepared=(replace(made.prepared[0], exposures=3), made.prepared[1]))
    assert steps_in_words(often, TrainConfig(steps=8)) == (
        "An epoch is 4 steps of 1 image and shows each of 2 images 1 to 3 times. "
        "In 8 steps each image is seen about 2 to 6 times."
    )


def test_what_is_seen_once_is_said_to_be():
    assert steps_in_words(planned(*[(3000, 3000)] * 5), TrainConfig(steps=5)).endswith("each image is seen about once.")


def test_a_set_of_nothing_is_said_to_be_one():
    assert steps_in_words(planned(), TrainConfig(steps=100, batch_size=4)) == "There is nothing to show."

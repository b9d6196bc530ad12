from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs import (
    after,
    as_screenshot,
    barred,
    blurred,
    defocused,
    enlarged,
    exposed,
    faded,
    jpeg,
    same,
    shaken,
    signed,
)
from flux_lora.data.checks.image_quality import QUALITY_RULES, judge_image_quality
from flux_lora.data.image_stats.measure import measure
from tests.data.scenes import look, product, scene


def rules_of(*images: Image.Image, resolution: int = 0) -> set[str]:
    return {finding.rule for finding in judge_image_quality([look(each) for each in images], resolution=resolution)}


def clipped(image: Image.Image, times: float) -> Image.Image:
    return Image.fromarray((np.asarray(image) * times).clip(0, 255).astype(np.uint8))


DEFECTS = [
    ("blurred", blurred(5)),
    ("blurred", defocused(9)),
    ("blurred", shaken(30)),
    ("enlarged-before", enlarged(2)),
    ("dark", exposed(0.02)),
    ("overexposed", lambda image: clipped(image, 6.0)),
    ("low-contrast", faded(0.12)),
    ("jpeg-blocks", jpeg(10)),
    ("borders", barred(0.1)),
    ("borders", barred(0.06, 0.05, "white")),
    ("screen-bars", as_screenshot),
    ("lettering", signed),
    ("extreme-aspect", lambda image: image.resize((960, 240))),
]
NEAR_MISSES = [
    same,
    blurred(0.4),
    exposed(0.5),
    exposed(1.4),
    faded(0.5),
    jpeg(80),
    after(enlarged(1.2), jpeg(90)),
    lambda image: image.resize((700, 240)),
]


@pytest.mark.parametrize(("rule", "change"), DEFECTS)
def test_a_defect_is_found_by_its_rule(rule, change):
    assert rule in rules_of(change(scene(4)))


@pytest.mark.parametrize("change", NEAR_MISSES)
def test_an_image_that_is_only_near_a_defect_is_left_alone(change):
    assert rules_of(change(scene(4))) - {"enlarged-before"} == set()


def test_every_rule_has_a_defect_here():
    assert {rule.id for rule in QUALITY_RULES} == {rule for rule, _ in DEFECTS}


@pytest.mark.parametrize("ground", [(255, 255, 255), (0, 0, 0), (200, 60, 50), (128, 128, 128)])
def test_a_product_before_a_plain_sweep_has_nothing_wrong(ground):
    assert rules_of(product(ground)) == set()


def test_a_sharp_thing_before_a_soft_ground_is_not_blurred():
    soft = blurred(8)(scene(3))
    soft.paste(scene(3).crop((100, 60, 220, 180)), (100, 60))
    assert "blurred" not in rules_of(soft)


def test_a_blurred_image_is_not_also_called_enlarged():
    assert rules_of(blurred(6)(scene(4))) == {"blurred"}


def test_an_enlarged_image_passes_when_its_detail_is_enough_for_the_resolution():
    large = enlarged(2)(scene(4, width=800, height=600))
    assert "enlarged-before" in rules_of(large, resolution=512)
    assert "enlarged-before" not in rules_of(large, resolution=256)


def test_a_file_saved_at_low_quality_is_named_with_its_quality(tmp_path: Path):
    for quality, said in ((20, True), (85, False)):
        file = tmp_path / f"{quality}.jpg"
        scene(2).save(file, quality=quality)
        with Image.open(file) as opened:
            found = list(judge_image_quality([measure(file, opened.convert("RGB"))]))
        assert [each.rule for each in found] == ["jpeg-blocks"] * said
        assert all(each.problem.endswith(f"saved at quality {quality} or so") for each in found)


def test_bars_are_named_with_their_sides_and_pixels():
    (finding,) = judge_image_quality([look(barred(0.1)(scene(4)))])
    assert finding.problem == "has bars around it (pixels: top 24, bottom 24)"
    assert finding.file.name == "a.png"

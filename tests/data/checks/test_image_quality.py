from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs import (
    after,
    as_screenshot,
    barred,
    beside,
    blurred,
    defocused,
    enlarged,
    exposed,
    faded,
    filled,
    jpeg,
    noisy,
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
    ("noisy", noisy(30)),
    ("noisy", noisy(30, grey=True)),
    ("noisy", after(noisy(45), jpeg(85))),
    ("collage", beside(scene(5))),
    ("collage", beside(scene(5), gap=8)),
    ("blurred-sides", filled(0.6)),
    ("blurred-sides", after(filled(0.6), lambda image: image.transpose(Image.Transpose.ROTATE_90))),
    ("dark", exposed(0.02)),
    ("overexposed", lambda image: clipped(image, 6.0)),
    ("overexposed", exposed(16)),
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
    noisy(3),
    beside(),
]


@pytest.mark.parametrize(("rule", "change"), DEFECTS)
def test_a_defect_is_found_by_its_rule(rule, change):
    assert rule in rules_of(change(scene(4)))


@pytest.mark.parametrize("change", NEAR_MISSES)
def test_an_image_that_is_only_near_a_defect_is_left_alone(change):
    assert rules_of(change(scene(4))) - {"enlarged-before"} == set()


def test_a_wide_white_ground_or_a_drawing_in_pure_colours_is_not_overexposed():
    wide = Image.new("RGB", (400, 300), "white")
    wide.paste(product((200, 60, 50)).resize((200, 200)), (100, 60))
    drawing = Image.new("RGB", (256, 256), (255, 255, 0))
    drawing.paste((255, 0, 0), (60, 60, 200, 200))
    assert "overexposed" not in rules_of(wide) | rules_of(drawing)


@pytest.mark.parametrize("side", ["left", "middle"])
def test_the_straight_edge_of_a_box_is_no_seam_between_photos(side):
    box = scene(3)
    box.paste((30, 60, 120), (160 if side == "middle" else 80, 40, 240, 200))
    assert "collage" not in rules_of(box)


def test_a_chequered_ground_is_no_collage():
    squares = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((48, 48)))[..., None] * 60 + 150
    ground = Image.fromarray(np.broadcast_to(squares, (384, 384, 3)).astype(np.uint8))
    ground.paste(product((200, 60, 50)).crop((80, 60, 180, 200)), (150, 120))
    assert "collage" not in rules_of(ground)


def test_a_vase_before_a_soft_wall_has_no_blurred_sides():
    wall = blurred(20)(scene(3))
    wall.paste(scene(2).crop((100, 60, 180, 180)), (120, 60))
    assert "blurred-sides" not in rules_of(wall)


def test_every_rule_has_a_defect_here():
    assert {rule.id for rule in QUALITY_RULES} == {rule for rule, _ in DEFECTS}


@pytest.mark.parametrize("ground", [(255, 255, 255), (0, 0, 0), (200, 60, 50), (128, 128, 128)])
def test_a_product_before_a_plain_sweep_has_nothing_wrong(ground):
    assert rules_of(product(ground)) == set()


def test_a_sharp_thing_before_a_soft_ground_is_not_blurred():
    soft = blurred(8)(scene(3))
    soft.paste(scene(3).crop((100, 60, 220, 180)), (100, 60))
    assert "blurred" not in rules_of(soft)


def test_an_image_enlarged_eight_times_is_named_with_the_size_that_would_hold_it():
    (found,) = judge_image_quality([look(after(enlarged(8), jpeg(92))(scene(4, width=1600, height=1200)))])
    assert found.problem == "is 1600x1200 but shows no more than 400x300 could hold"


def test_a_pair_of_shoes_on_white_is_no_collage():
    pair = Image.new("RGB", (412, 256), "white")
    pair.paste(product(size=0.9).crop((50, 0, 206, 256)), (44, 0))
    pair.paste(product(size=0.9).crop((50, 0, 206, 256)), (212, 0))
    assert "collage" not in rules_of(pair)


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

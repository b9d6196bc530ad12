"""A sheet shows every image, whole."""

from PIL import Image

from flux_lora.render.sheets import GAP, LETTER, MARGIN, contact_sheet


def test_a_sheet_without_labels_is_only_images_and_gaps() -> None:
    red, blue = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    sheet = contact_sheet([[red, blue], [blue, red]], tile=64)
    assert sheet.size == (2 * MARGIN + 2 * 64 + GAP, 2 * MARGIN + 2 * 64 + GAP)
    assert sheet.getpixel((MARGIN, MARGIN)) == (255, 0, 0)
    assert sheet.getpixel((MARGIN + 64 + GAP, MARGIN)) == (0, 0, 255)


def test_a_wide_image_keeps_its_shape() -> None:
    sheet = contact_sheet([[Image.new("RGB", (128, 64), "red")]], tile=64)
    red = [(x, y) for x in range(sheet.width) for y in range(sheet.height) if sheet.getpixel((x, y)) == (255, 0, 0)]
    assert len(red) == 64 * 32


def test_labels_make_room_for_themselves_and_a_long_one_is_cut() -> None:
    image = Image.new("RGB", (64, 64), "red")
    plain = contact_sheet([[image]], tile=64)
    labelled = contact_sheet([[image]], ["a very long prompt that has no room here"], ["base"], tile=64)
    assert labelled.size == (plain.width, plain.height + 2 * (LETTER + GAP))

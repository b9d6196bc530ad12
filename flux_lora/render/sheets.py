"""Contact sheets: many images in one, with labels."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

PAPER, INK = (250, 249, 247), (60, 57, 53)
GAP, MARGIN, LETTER = 8, 16, 14
"""Pixels."""


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    *,
    tile: int = 192,
) -> Image.Image:
    """Rows of images on one page. Each row's label stands above it, column labels on top.

    Images keep their aspect ratio and are scaled to fit a square of `tile` pixels.
    """
    assert rows and all(rows), "a sheet has at least one image in each row"
    columns = max(len(row) for row in rows)
    top = MARGIN + (LETTER + GAP if column_labels else 0)
    band = tile + GAP + (LETTER + GAP if row_labels else 0)
    width = 2 * MARGIN + columns * (tile + GAP) - GAP
    sheet = Image.new("RGB", (width, top + len(rows) * band - GAP + MARGIN), PAPER)
    for column, label in enumerate(column_labels):
        _draw_label(sheet, (MARGIN + column * (tile + GAP), MARGIN), label, tile)
    for number, row in enumerate(rows):
        y = top + number * band
        if row_labels:
            _draw_label(sheet, (MARGIN, y), row_labels[number], width - 2 * MARGIN)
            y += LETTER + GAP
        for column, image in enumerate(row):
            _paste(sheet, image, (MARGIN + column * (tile + GAP), y), tile)
    return sheet


def _draw_label(sheet: Image.Image, corner: tuple[int, int], label: str, width: int) -> None:
    """One line of text, cut with an ellipsis to `width` pixels."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTER)
    text = " ".join(label.split())
    if draw.textlength(text, font=font) > width:
        while text and draw.textlength(text + "…", font=font) > width:
            text = text[:-1]
        text = text.rstrip() + "…"
    draw.text(corner, text, fill=INK, font=font)


def _paste(sheet: Image.Image, image: Image.Image, corner: tuple[int, int], tile: int) -> None:
    """An image in the middle of a tile."""
    scale = tile / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    fitted = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    sheet.paste(fitted, (corner[0] + (tile - width) // 2, corner[1] + (tile - height) // 2))

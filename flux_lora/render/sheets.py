"""Many pictures on one sheet, with labels, for a folder or a README."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

PAPER, INK = (250, 249, 247), (60, 57, 53)
GAP, MARGIN, LETTER = 8, 16, 14


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    *,
    tile: int = 192,
) -> Image.Image:
    """Rows of pictures on one page. Each row's label stands above it, column labels on top.

    Pictures keep their shape and are shrunk or grown to fit a square tile.
    """
    assert rows and all(rows), "a sheet has at least one picture in each row"
    columns = max(len(row) for row in rows)
    top = MARGIN + (LETTER + GAP if column_labels else 0)
    band = tile + GAP + (LETTER + GAP if row_labels else 0)
    width = 2 * MARGIN + columns * (tile + GAP) - GAP
    sheet = Image.new("RGB", (width, top + len(rows) * band - GAP + MARGIN), PAPER)
    for column, label in enumerate(column_labels):
        _write(sheet, (MARGIN + column * (tile + GAP), MARGIN), label, tile)
    for number, row in enumerate(rows):
        y = top + number * band
        if row_labels:
            _write(sheet, (MARGIN, y), row_labels[number], width - 2 * MARGIN)
            y += LETTER + GAP
        for column, picture in enumerate(row):
            _paste(sheet, picture, (MARGIN + column * (tile + GAP), y), tile)
    return sheet


def _write(sheet: Image.Image, place: tuple[int, int], label: str, room: int) -> None:
    """One line of text, cut with an ellipsis where the room ends."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTER)
    text = " ".join(label.split())
    if draw.textlength(text, font=font) > room:
        while text and draw.textlength(text + "…", font=font) > room:
            text = text[:-1]
        text = text.rstrip() + "…"
    draw.text(place, text, fill=INK, font=font)


def _paste(sheet: Image.Image, picture: Image.Image, place: tuple[int, int], tile: int) -> None:
    scale = tile / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    fitted = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    sheet.paste(fitted, (place[0] + (tile - width) // 2, place[1] + (tile - height) // 2))

"""A picture as a few kilobytes of JPEG, and its mask as an outline, for a page that holds thousands.

Both are made from one picture alone and are plain bytes, so that the workers that decode can make and return them.
"""

from base64 import b64encode
from io import BytesIO

from PIL import Image, ImageChops, ImageFilter

LONGEST = 160
LONGEST_OF_MANY = 96
MANY = 400
"""Above this number of pictures a page has smaller ones, or it would weigh tens of megabytes."""
QUALITY = 80
OUTLINE = (255, 61, 129)
"""A colour that photos hardly ever have."""


def thumbnail_of(picture: Image.Image, count: int) -> bytes:
    """The whole picture, upright as given, as a small JPEG. count: how many pictures the page will show."""
    packed = BytesIO()
    _small(picture, count).convert("RGB").save(packed, "JPEG", quality=QUALITY, optimize=True)
    return packed.getvalue()


def outline_of(mask: Image.Image, count: int) -> bytes:
    """A line around what the mask keeps, as a PNG that is clear elsewhere, to lie over the thumbnail."""
    grey = _small(mask.convert("L"), count)
    kept = grey.point([255 if level >= 128 else 0 for level in range(256)])
    # with an empty rim, so that a mask which reaches the picture's edge is closed there
    rimmed = Image.new("L", (grey.width + 2, grey.height + 2))
    rimmed.paste(kept, (1, 1))
    inner = rimmed.filter(ImageFilter.MinFilter(3)).crop((1, 1, grey.width + 1, grey.height + 1))
    line = ImageChops.subtract(kept, inner).point([1 if level else 0 for level in range(256)])
    drawn = Image.frombytes("P", line.size, line.tobytes())
    drawn.putpalette((0, 0, 0, *OUTLINE))
    packed = BytesIO()
    drawn.save(packed, "PNG", transparency=0, bits=1, optimize=True)
    return packed.getvalue()


def bytes_data_uri(packed: bytes) -> str:
    """A thumbnail or an outline as an address that needs no file."""
    kind = "png" if packed.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(packed).decode()}"


def _small(picture: Image.Image, count: int) -> Image.Image:
    longest = LONGEST if count <= MANY else LONGEST_OF_MANY
    share = min(1.0, longest / max(picture.size))
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)

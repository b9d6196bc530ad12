"""Lanczos resize by torch or Pillow; thumbnails and mask outlines for the report, as encoded bytes."""

from base64 import b64encode
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageChops, ImageFilter

Edges = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


def resize_region(image: Image.Image, size: tuple[int, int], edges: Edges) -> Image.Image:
    """Crop an RGB image to these edges and resize it to `size`, width and height, by Lanczos.

    Edges are rounded to whole pixels, and nothing outside them bleeds in. torch takes a third of Pillow's time, and
    agrees with it to a level or two of 256 in a few pixels.
    """
    region = _rounded(edges, image.size)
    part = image if region == (0, 0, *image.size) else image.crop(region)
    if part.size == size:
        return part.copy()
    return _by_torch(part, size) if torch_knows_lanczos() else part.resize(size, Image.Resampling.LANCZOS)


def in_whole_tokens(size: tuple[int, int], area: int, pixels_per_token: int) -> tuple[int, int]:
    """The width and height of an image of this size at about so many pixels, in whole image tokens."""
    scale = area**0.5 / (size[0] * size[1]) ** 0.5
    width, height = (max(1, round(side * scale / pixels_per_token)) * pixels_per_token for side in size)
    return width, height


@cache
def torch_knows_lanczos() -> bool:
    """Whether this torch has a uint8 Lanczos resize, which older ones do not."""
    try:
        _by_torch(Image.new("RGB", (4, 4)), (2, 2))
    except (NotImplementedError, ValueError):
        return False
    return True


def _rounded(edges: Edges, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Whole pixels within an image of `size`, at least one each way."""
    left, top = (min(round(edge), side - 1) for edge, side in zip(edges[:2], size, strict=True))
    right, bottom = (min(round(edge), side) for edge, side in zip(edges[2:], size, strict=True))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _by_torch(part: Image.Image, size: tuple[int, int]) -> Image.Image:
    import torch  # not before it is needed: checking photos starts without it
    from torch.nn.functional import interpolate

    values = torch.from_numpy(np.array(part)).permute(2, 0, 1)[None]  # 1CHW, but HWC in memory: the fast path
    resized = interpolate(values, size=size[::-1], mode="lanczos", antialias=True)[0]
    return Image.fromarray(np.ascontiguousarray(resized.permute(1, 2, 0).numpy()))


LONGEST = 160
LONGEST_OF_MANY = 96
"""Pixels of the longer side of a thumbnail."""
MANY = 400
"""Above this number of images thumbnails are LONGEST_OF_MANY, or a report would weigh tens of megabytes."""
QUALITY = 80
OUTLINE = (255, 61, 129)
"""RGB; a colour that photos hardly ever have."""


def thumbnail_of(image: Image.Image, count: int) -> bytes:
    """The image as a small JPEG. `count`: how many images the report will show."""
    packed = BytesIO()
    _small(image, count).convert("RGB").save(packed, "JPEG", quality=QUALITY, optimize=True)
    return packed.getvalue()


def outline_of(mask: Image.Image, count: int) -> bytes:
    """The edge of the mask's light part as a PNG, transparent elsewhere, of the thumbnail's size to overlay it."""
    grey = _small(mask.convert("L"), count)
    kept = grey.point([255 if level >= 128 else 0 for level in range(256)])
    # With an empty rim, so that the outline of a mask which reaches the image's edge is closed there.
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
    """A thumbnail or an outline as a data: URI."""
    kind = "png" if packed.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(packed).decode()}"


def _small(image: Image.Image, count: int) -> Image.Image:
    longest = LONGEST if count <= MANY else LONGEST_OF_MANY
    share = min(1.0, longest / max(image.size))
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)

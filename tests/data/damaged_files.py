"""Image files of every kind, and the ways in which they come to harm."""

import io
import struct
from collections.abc import Callable
from importlib.util import find_spec

from hypothesis import strategies as st
from PIL import Image

from tests.data.drawn_images import gradient
from tests.data.handmade_files import RGB, png, swapped_profile

TELLING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at which sizes and offsets go wrong."""
Harm = Callable[[bytes], bytes]


def sound_files() -> dict[str, bytes]:
    """One small file of each kind and way of storing."""
    image, alpha, exif = gradient(24, 16), gradient(24, 16).convert("RGBA"), Image.Exif()
    alpha.putpixel((0, 0), (9, 9, 9, 0))
    exif[0x0112] = 6
    moving = {"save_all": True, "append_images": [gradient(24, 16, seed=1), gradient(24, 16, seed=2)]}
    files = {
        "plain.jpg": _saved(image, "JPEG", exif=exif, icc_profile=swapped_profile()),
        "progressive.jpg": _saved(image, "JPEG", progressive=True, quality=95),
        "inks.jpg": _saved(image.convert("CMYK"), "JPEG"),
        "plain.png": _saved(image, "PNG", exif=exif, icc_profile=swapped_profile()),
        "alpha.png": _saved(alpha, "PNG"),
        "palette.png": _saved(image.quantize(16), "PNG", transparency=3),
        "moving.png": _saved(image, "PNG", **moving),
        "deep.png": png((16, 16), RGB, [bytes(range(96))] * 16),
        "lossy.webp": _saved(image, "WEBP", exif=exif, icc_profile=swapped_profile()),
        "lossless.webp": _saved(alpha, "WEBP", lossless=True),
        "moving.webp": _saved(image, "WEBP", **moving),
        "plain.tif": _saved(image, "TIFF", exif=exif),
        "packed.tif": _saved(image, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": _saved(image, "TIFF", compression="jpeg"),
        "fax.tif": _saved(image.convert("1"), "TIFF", compression="group4"),
        "pages.tif": _saved(image, "TIFF", **moving),
        "deep.tif": _saved(image.convert("L").convert("I;16"), "TIFF"),
        "plain.bmp": _saved(image, "BMP"),
        "palette.bmp": _saved(image.quantize(16), "BMP"),
        "moving.gif": _saved(image, "GIF", **moving),
        "plain.avif": _saved(image, "AVIF", speed=10),
        "alpha.avif": _saved(alpha, "AVIF", speed=10),
    }
    return files | _heic_files(image, alpha)


def harms() -> st.SearchStrategy[list[Harm]]:
    """What happens to a file: bytes changed, numbers overwritten, parts lost, doubled or moved, the end cut off."""
    place, byte = st.floats(0, 1, exclude_max=True), st.integers(0, 255)
    size = st.integers(1, 64)
    one = st.one_of(
        st.builds(set_byte, place, byte),
        st.builds(set_byte, st.floats(0, 0.1), byte),
        st.builds(_number_set, place, st.sampled_from(TELLING), st.sampled_from((">I", "<I", ">H", "<H"))),
        st.builds(_part_moved, place, place, size),
        st.builds(_part_lost, place, size),
        st.builds(_cut, place),
    )
    return st.lists(one, min_size=1, max_size=6)


def _saved(image: Image.Image, kind: str, **settings) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **settings)
    return content.getvalue()


def _heic_files(image: Image.Image, alpha: Image.Image) -> dict[str, bytes]:
    if find_spec("pillow_heif") is None:
        return {}
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return {"plain.heic": _saved(image, "HEIF"), "alpha.heic": _saved(alpha, "HEIF")}


def set_byte(place: float, value: int) -> Harm:
    """Another byte, this far into the file."""
    return lambda content: _put(content, place, bytes([value]))


def _number_set(place: float, number: int, form: str) -> Harm:
    most = 2 ** (8 * struct.calcsize(form)) - 1
    return lambda content: _put(content, place, struct.pack(form, number & most))


def _part_moved(origin: float, place: float, size: int) -> Harm:
    return lambda content: _put(content, place, content[int(origin * len(content)) :][:size])


def _part_lost(place: float, size: int) -> Harm:
    def lose(content: bytes) -> bytes:
        at = int(place * len(content))
        return content[:at] + content[at + size :]

    return lose


def _cut(place: float) -> Harm:
    return lambda content: content[: int(place * len(content))]


def _put(content: bytes, place: float, part: bytes) -> bytes:
    at = int(place * len(content))
    return content[:at] + part + content[at + len(part) :]

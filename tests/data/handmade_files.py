"""Image files made byte by byte, for what Pillow does not write."""

import struct
import zlib

from PIL import ImageCms

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6
"""PNG's colour types."""


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(size: tuple[int, int], colour: int, rows: list[bytes], *, bits: int = 16, between: bytes = b"") -> bytes:
    """A PNG of these rows, big-endian, with other chunks between its header and its pixels."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + between + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(size: tuple[int, int], bits: tuple[int, ...], content: bytes, *, photometric: int, planar: int = 1) -> bytes:
    """A plain little-endian TIFF in one strip, or in one for each channel."""
    width, height = size
    strips = len(bits) if planar == 2 else 1
    long = len(content) // strips
    tables_at = 8 + 2 + 12 * 10 + 4
    content_at = tables_at + 2 * len(bits) + 8 * strips
    bits_table = struct.pack(f"<{len(bits)}H", *bits)
    places = struct.pack(f"<{strips}I", *(content_at + long * number for number in range(strips)))
    lengths = struct.pack(f"<{strips}I", *[long] * strips)
    entries, tables = [], b""
    for tag, kind, count, value in (
        (256, 4, 1, struct.pack("<I", width)),
        (257, 4, 1, struct.pack("<I", height)),
        (258, 3, len(bits), bits_table),
        (259, 3, 1, b"\1"),
        (262, 3, 1, bytes([photometric])),
        (273, 4, strips, places),
        (277, 3, 1, bytes([len(bits)])),
        (278, 4, 1, struct.pack("<I", height)),
        (279, 4, strips, lengths),
        (284, 3, 1, bytes([planar])),
    ):
        inline = len(value) <= 4
        place = value.ljust(4, b"\0") if inline else struct.pack("<I", tables_at + len(tables))
        entries.append(struct.pack("<HHI", tag, kind, count) + place)
        tables += b"" if inline else value
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    return head + tables.ljust(content_at - tables_at, b"\0") + content


def swapped_profile() -> bytes:
    """An RGB profile with red and green in each other's place: whoever reads it sees the channels swapped."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = content.find(b"rXYZ"), content.find(b"gXYZ")
    content[red : red + 4], content[green : green + 4] = b"gXYZ", b"rXYZ"
    text = content.find("sRGB".encode("utf-16-be"))
    content[text : text + 8] = "odd!".encode("utf-16-be")
    return bytes(content)

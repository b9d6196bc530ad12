"""The small picture that a LoRA file shows of itself in the lists of ComfyUI, SwarmUI and Forge."""

from base64 import b64encode
from io import BytesIO

from PIL import Image

SIDE = 256
MOST_BYTES = 64 * 1024
"""Of the JPEG. It is read with the header, by every program that lists the file."""
QUALITIES = (90, 75, 60, 40, 20)


def thumbnail(picture: Image.Image) -> str:
    """The picture as modelspec wants it: a JPEG in a data URI, on white where it is transparent."""
    seen = picture.convert("RGBA")
    seen.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    small = Image.new("RGB", seen.size, "white")
    small.paste(seen, mask=seen.getchannel("A"))
    fitting = (jpeg for jpeg in (_jpeg(small, quality) for quality in QUALITIES) if len(jpeg) <= MOST_BYTES)
    return f"data:image/jpeg;base64,{b64encode(next(fitting)).decode()}"


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    written = BytesIO()
    picture.save(written, "JPEG", quality=quality, optimize=True)
    return written.getvalue()

"""Pictures as text inside a page."""

from base64 import b64encode
from io import BytesIO

from PIL import Image

SMALL = 256
"""Up to this side a picture is kept exactly; beyond, a page of dozens would weigh megabytes."""
QUALITY = 86


def image_data_uri(image: Image.Image, longest: int = 640) -> str:
    """A picture as a data: address, shrunk to fit; small ones without loss."""
    picture = image.convert("RGB")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    packed = BytesIO()
    picture.save(packed, "WEBP", lossless=max(picture.size) <= SMALL, quality=QUALITY)
    return "data:image/webp;base64," + b64encode(packed.getvalue()).decode()

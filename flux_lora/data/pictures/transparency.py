"""What lies behind a picture's transparent parts. The hidden colour under them never does."""

from hashlib import sha256
from pathlib import Path

from PIL import Image

from flux_lora.config.choices import AlphaPolicy
from flux_lora.errors import DataError

NEUTRAL_GREY = (128, 128, 128)
SAID = {
    AlphaPolicy.composite: "transparent parts on grey",
    AlphaPolicy.varied: "transparent parts on a ground of its own",
    AlphaPolicy.mask: "transparent parts become a mask",
}


def opacity_of(picture: Image.Image) -> Image.Image | None:
    """How opaque each pixel is, or None where all of them are."""
    if not picture.has_transparency_data:
        return None
    whole = picture if picture.mode in {"RGBA", "LA"} else picture.convert("RGBA")
    opacity = whole.getchannel("A")
    return None if opacity.getextrema() == (255, 255) else opacity


def grounded(colours: Image.Image, opacity: Image.Image, file: Path, alpha: AlphaPolicy) -> Image.Image:
    """The picture on the ground that the policy asks for, or a DataError where it asks for none."""
    if alpha is AlphaPolicy.refuse:
        raise DataError(
            f"{file} has transparent parts",
            fix="put a background behind it and save it again, or set data.alpha=composite",
        )
    if opacity.getextrema() == (0, 0):
        raise DataError(f"{file} shows nothing: all of it is transparent", fix="take it out of the folder")
    ground = own_colour(file) if alpha is AlphaPolicy.varied else NEUTRAL_GREY
    return Image.composite(colours, Image.new("RGB", colours.size, ground), opacity)


def own_colour(file: Path) -> tuple[int, int, int]:
    """A colour drawn from the file's bytes: the same on every machine, another for nearly every picture."""
    red, green, blue = sha256(file.read_bytes()).digest()[:3]
    return red, green, blue

"""Images kept as PNG files that say how they were made, and never rendered twice."""

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from flux_lora.atomic import replacing
from flux_lora.render.spec import ImageSpec, RenderSpec, Weights, image_spec_from_json

TEXT_KEY = "flux_lora"
"""Of the PNG's text that holds the ImageSpec as JSON."""


def save_image(image: Image.Image, file: Path, spec: ImageSpec) -> None:
    """Write a PNG whole or not at all, with its spec in it."""
    text = PngInfo()
    text.add_itxt(TEXT_KEY, spec.to_json())
    with replacing(file, sync=False) as beside:
        image.save(beside, "PNG", pnginfo=text)


def spec_in(file: Path) -> ImageSpec | None:
    """How a PNG of ours was made; None where it does not say, or is none."""
    try:
        with Image.open(file) as opened:
            return image_spec_from_json(str(opened.info.get(TEXT_KEY, "")))
    except (OSError, UnidentifiedImageError, SyntaxError):
        return None


def image_file(folder: Path, spec: RenderSpec, number: int) -> Path:
    """Where the image of a shot is kept: sorted by name, files stand in the order of the shots."""
    prompt, seed = divmod(number, len(spec.seeds))
    return folder / f"{prompt:03d}-{seed:02d}.png"


def not_kept(spec: RenderSpec, weights: Weights, folder: Path, numbers: Sequence[int]) -> list[int]:
    """Which of these shots the folder lacks, or has as something else made them."""
    wanted = spec.images(weights)
    return [number for number in numbers if spec_in(image_file(folder, spec, number)) != wanted[number]]


def render_kept(
    draw: Callable[[Sequence[int]], list[Image.Image]],
    spec: RenderSpec,
    weights: Weights,
    folder: Path,
    *,
    numbers: Sequence[int] | None = None,
) -> list[Image.Image]:
    """The images of these shots of the spec, by number (all of them if None), drawn unless the folder has them.

    What lies there under the same name and was made otherwise is replaced. `draw` takes numbers of shots and must draw
    with what `weights` says.
    """
    wanted = spec.images(weights)
    numbers = range(len(wanted)) if numbers is None else numbers
    missing = not_kept(spec, weights, folder, numbers)
    for number, image in zip(missing, draw(missing), strict=True):
        save_image(image, image_file(folder, spec, number), wanted[number])
    return [Image.open(image_file(folder, spec, number)).convert("RGB") for number in numbers]

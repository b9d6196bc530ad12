"""Put beside an exported file what makes it ready to use."""

from pathlib import Path

from flux_lora.adapter.files import replacing
from flux_lora.errors import RunError
from flux_lora.share.canvas import to_canvas
from flux_lora.share.card import MARKER, card_of, picture_name
from flux_lora.share.product import SharedModel
from flux_lora.share.snippets import diffusers_snippet
from flux_lora.share.workflow import CLIP_FILE, T5_FILE, VAE_FILE, text_to_image, to_api

CARD = "README.md"
CANVAS = "workflow.json"
PROMPT = "workflow_api.json"
EXAMPLE = "diffusers_example.py"

NOTE = """\
**{title}**

Say `{trigger}` in the prompt.

| file | folder in ComfyUI/models |
| --- | --- |
| {file} | loras |
| {unet} | diffusion_models |
| {t5}, {clip} | text_encoders |
| {vae} | vae |

Other file names: choose yours in the loaders.
"""


def write_companions(folder: Path, product: SharedModel) -> tuple[Path, ...]:
    """Write workflow, example, pictures and model card; return these and the adapter files: all that is shared.

    A README.md that a person wrote, or made their own, stays as it is.
    """
    adapters = [folder / name for name in (product.file, *(each.file for each in product.variants))]
    for file in adapters:
        if not file.is_file():
            raise RunError(f"{file} is not there to be shared", fix="export it first, into the same folder")
    nodes = text_to_image(product.base, product.file, product.spec.prompts[0], product.spec, strength=product.strength)
    texts = {CANVAS: to_canvas(nodes, _note(product)), PROMPT: to_api(nodes), EXAMPLE: _example(product)}
    written = [_write(folder / name, text.encode()) for name, text in texts.items()]
    for number, picture in enumerate(product.pictures):
        written.append(_write(folder / picture_name(number), picture.file.read_bytes()))
    card = folder / CARD
    if not card.is_file() or MARKER in card.read_text(encoding="utf-8"):
        _write(card, card_of(product).encode())
    return tuple(sorted([*adapters, *written, card]))


def _example(product: SharedModel) -> str:
    base = product.base.known_to_others if product.repo else product.base.place
    return diffusers_snippet(base, product.file, product.spec.prompts[0], product.spec, strength=product.strength)


def _note(product: SharedModel) -> str:
    return NOTE.format(
        title=product.title,
        trigger=product.trigger,
        file=product.file,
        unet=product.base.comfy,
        t5=T5_FILE,
        clip=CLIP_FILE,
        vae=VAE_FILE,
    )


def _write(file: Path, contents: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as opened:
        opened.write(contents)
    return file

"""Writes what lies beside an exported file: workflow, diffusers example, images, model card."""

from pathlib import Path

from flux_lora.atomic import write_bytes, write_text
from flux_lora.errors import RunError
from flux_lora.share.card import DIFFUSERS, MARKER, SharedModel, card_of, image_name
from flux_lora.share.snippets import diffusers_snippet
from flux_lora.share.workflow import BEFORE, text_to_image, to_api, to_canvas

CARD = "README.md"
CANVAS = "workflow.json"
PROMPT = "workflow_api.json"
EXAMPLE = "diffusers_example.py"

NOTE = """\
**{title}**

{said}

| file | folder in ComfyUI/models |
| --- | --- |
| {file} | loras |
| {unet} | diffusion_models |
| {text_encoders} | text_encoders |
| {vae} | vae |
{before}
Other file names: choose yours in the loaders.
"""


def write_companions(folder: Path, product: SharedModel) -> tuple[Path, ...]:
    """Write workflow, example, images and model card; return these and the adapter files, sorted: all that is shared.

    Workflow and example only where their program reads the file.

    A README.md without MARKER belongs to a person and stays as it is. Raises RunError if an adapter file is missing.
    """
    adapters = [folder / name for name in (product.file, *(variant.file for variant in product.variants))]
    for file in adapters:
        if not file.is_file():
            raise RunError(f"{file} is not there to be shared", fix="export it first, into the same folder")
    nodes = text_to_image(product.base, product.file, product.spec.prompts[0], product.spec, strength=product.strength)
    texts = {CANVAS: to_canvas(nodes, _note(product)), PROMPT: to_api(nodes)} if product.for_comfyui else {}
    texts |= {EXAMPLE: _example(product)} if DIFFUSERS in product.readers else {}
    for name, text in texts.items():
        write_text(text, folder / name)
    if product.before:
        write_bytes(product.before.read_bytes(), folder / BEFORE)
    for number, image in enumerate(product.images):
        write_bytes(image.file.read_bytes(), folder / image_name(number))
    card = folder / CARD
    if not card.is_file() or MARKER in card.read_text(encoding="utf-8"):
        write_text(card_of(product), card)
    names = (
        *texts,
        *([BEFORE] if product.before else []),
        *(image_name(number) for number in range(len(product.images))),
        CARD,
    )
    return tuple(sorted([*adapters, *(folder / name for name in names)]))


def _example(product: SharedModel) -> str:
    base = product.base_for_readers
    return diffusers_snippet(base, product.file, product.spec.prompts[0], product.spec, strength=product.strength)


def _note(product: SharedModel) -> str:
    parts = product.base.programs.comfy
    before = f"\nThe image to edit: {BEFORE}, which lies beside this file, into ComfyUI/input.\n"
    return NOTE.format(
        title=product.title,
        said=f"Say `{product.spec.prompts[0] if product.edits else product.trigger}` in the prompt.",
        before=before if product.edits else "",
        file=product.file,
        unet=product.base.comfy,
        text_encoders=", ".join(parts.text_encoders),
        vae=parts.vae,
    )

"""A product to share, with everything filled in."""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from flux_lora.models.flux1.programs import PROGRAMS
from flux_lora.render.spec import RenderSpec
from flux_lora.share.base_models import released
from flux_lora.share.card import Measure, Scores, SharedImage, SharedModel, Training, Variant

DEV, SCHNELL, KREA = (released(each, PROGRAMS) for each in PROGRAMS.releases)
SPEC = RenderSpec(
    prompts=("a zubo bottle on a table", "a zubo bottle"), seeds=(7, 8), width=1024, height=768, text_tokens=512
)
PRODUCT = SharedModel(
    title="zubo bottle",
    file="zubo.safetensors",
    variants=(Variant("zubo_kohya.safetensors", "sd-scripts, Forge"),),
    trigger="zubo",
    class_word="bottle",
    base=DEV,
    spec=SPEC,
    training=Training(
        photos=16,
        steps=1500,
        batch_size=1,
        learning_rate=1e-4,
        resolutions=(1024,),
        rank=16,
        alpha=16.0,
        targets="attention_mlp",
    ),
    scores=Scores(
        measures=(
            Measure("Likeness", 0.863, 0.81, 0.91, zero="what the base draws", full="as alike to the photos as those"),
            Measure("Leakage", 0.06, 0.04, 0.09, zero="images without the trigger stay", full="another prompt's"),
        ),
        scorer="openai/clip-vit-large-patch14",
        prompts=16,
        seeds=2,
        held_out=4,
        doubts=("Likeness says little here.",),
    ),
    remarks=("On an fp8 base about 9 % of the effect is rounded away when merged.",),
    version="0.1.0",
)


def product_in(folder: Path, **changes: object) -> SharedModel:
    """The product, its files and two images of it in a folder beside."""
    for name in (PRODUCT.file, PRODUCT.variants[0].file):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 100)
    images = []
    for number, prompt in enumerate(SPEC.prompts):
        file = folder.parent / f"{folder.name}_images" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (40 * number, 90, 20)).save(file)
        images.append(SharedImage(prompt, file))
    return replace(PRODUCT, images=tuple(images), **changes)  # type: ignore[arg-type]

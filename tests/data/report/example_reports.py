"""A page about a set of photos with something wrong in most of them, at any size."""

from pathlib import Path

from PIL import Image, ImageDraw

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.images.resize import outline_of, thumbnail_of
from flux_lora.data.report.cards import Card
from flux_lora.data.report.page import DatasetReport, TokenizerColumn

FOLDER = Path("photos/mug")
NO_CAPTION = Rule("no-caption", Severity.error, "An image without a caption teaches its whole content to every prompt.")
BLURRED = Rule("blurred", Severity.warning, "A blurred image teaches blur.")
TWINS = Rule("same-picture", Severity.warning, "An image that is there twice is learned twice.")
ROUNDED = Rule("turned", Severity.note, "The image lay on its side and was turned upright.")
RULES = (NO_CAPTION, BLURRED, TWINS, ROUNDED)
TOKENIZERS = (TokenizerColumn("T5", 512, decisive=True), TokenizerColumn("CLIP", 77, decisive=False))
HOSTILE = "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>\" onload=\"{{ 7 * 7 }}"

SHAPES = (
    ((3000, 2000), (624, 416), (0.0, 0.0, 3000.0, 2000.0), 0.0),
    ((2000, 3000), (416, 624), (0.0, 0.0, 2000.0, 3000.0), 0.0),
    ((1024, 1024), (512, 512), (0.0, 0.0, 1024.0, 1024.0), 0.0),
    ((1600, 900), (624, 416), (125.0, 0.0, 1475.0, 900.0), 0.156),
    ((400, 400), (512, 512), (0.0, 0.0, 400.0, 400.0), 0.0),
)


def mug(width: int, height: int, seed: int) -> Image.Image:
    """A drawn mug on a table, the size of a thumbnail already."""
    small = 160 * width // max(width, height), 160 * height // max(width, height)
    image = Image.new("RGB", small, ((90 + 37 * seed) % 200, (120 + 53 * seed) % 200, (140 + 71 * seed) % 200))
    pen = ImageDraw.Draw(image)
    across, down = small
    pen.rectangle((0, down * 0.7, across, down), fill=(150, 110, 80))
    pen.rectangle((across * 0.35, down * 0.3, across * 0.62, down * 0.8), fill=(235, 225, 205))
    pen.ellipse((across * 0.56, down * 0.4, across * 0.76, down * 0.66), outline=(235, 225, 205), width=6)
    return image


def made_cards(count: int, *, masks: bool = True) -> tuple[Card, ...]:
    """Cards of five shapes in turn; one in ten without a caption, every fifth enlarged, every fourth with a mask."""
    return tuple(_card(place, count, masked=masks and place % 4 == 0) for place in range(count))


def made_page(count: int = 20) -> DatasetReport:
    """A page of that many images, with findings of every severity."""
    cards = made_cards(count, masks=count < 100)
    findings = [
        Finding(FOLDER, "short-set", "holds few images", "add some", Severity.warning),
        *(
            NO_CAPTION.at(FOLDER / card.name, "has no caption", f"write a sentence that says 'zorb' in {card.name}")
            for card in cards
            if not card.caption
        ),
        *(
            BLURRED.at(FOLDER / card.name, f"is blurred (sharpness {place}.2)", "use a sharper image")
            for place, card in enumerate(cards)
            if place % 2
        ),
        TWINS.at(FOLDER / cards[2].name, "shows the same", "keep one of them", (FOLDER / cards[7].name,)),
        ROUNDED.at(FOLDER / cards[1].name, "was turned upright", "nothing to do"),
    ]
    return DatasetReport(
        title="zorb mug",
        folder=FOLDER,
        when="21 November 2026",
        trigger="zorb",
        class_word="mug",
        sentence="These photos can teach what the mug looks like from the front; its back is in none of them.",
        steps_said=f"One epoch is {count // 4} steps of 4 images and shows every image once.",
        remarks=("5 of 20 images have masks; masked loss on", "photos/mug: read as 1 repeat"),
        cards=cards,
        findings=tuple(findings),
        rules=RULES,
        twins=((cards[2].name, cards[7].name),),
        off={"small": "the shop has no larger images"},
        tokenizers=TOKENIZERS,
    )


def _card(place: int, count: int, *, masked: bool) -> Card:
    size, bucket, box, cropped = SHAPES[place % len(SHAPES)]
    image = mug(*size, seed=place)
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).rectangle((image.width * 0.34, image.height * 0.28, image.width * 0.77, image.height), 255)
    held_out = place == count - 1
    said = place % 10 != 4
    return Card(
        name=f"held_out/mug_{place:04}.jpg" if held_out else f"mug_{place:04}.jpg",
        thumbnail=thumbnail_of(image, count),
        width=size[0],
        height=size[1],
        bucket=(0, 0) if held_out else bucket,
        box=(0.0, 0.0, 0.0, 0.0) if held_out else box,
        scale=max(bucket[0] / (box[2] - box[0]), bucket[1] / (box[3] - box[1])),
        cropped=0.0 if held_out else cropped,
        mask=outline_of(mask, count) if masked else b"",
        caption=f"a photo of a zorb mug on a table, number {place}" if said else "",
        variants=("the zorb mug from the left",) if said and place % 7 == 3 else (),
        tokens=(12 + 37 * place % 90, 11 + 37 * place % 80) if said else (1, 2),
        says_trigger=said,
        says_class=said,
        caption_file=f"mug_{place:04}.txt",
        notes=("turned upright",) if place % 6 == 1 else (),
        group="photos/mug",
        held_out=held_out,
    )

"""Samples that are only captions: no rule on captions opens an image."""

from collections.abc import Iterable
from pathlib import Path

from flux_lora.config.choices import SourceRole
from flux_lora.data.findings import Finding
from flux_lora.data.samples import Sample

FOLDER = Path("photos")

PROSE = (
    "A zubo mug stands on a wooden table next to an open book, in warm light from a window.",
    "a zubo mug on a stone wall in a garden, with rain on the leaves behind it",
    "Somebody holds a zubo mug in both hands; only the hands and a knitted sleeve are in view.",
    "a zubo mug from above, full of coffee, beside a plate with two croissants",
    "The zubo mug lies on its side in the grass. A dog is looking at it from the left.",
    "a zubo mug on a shelf between a row of books and a small cactus in a pot",
    "At night, a zubo mug on a window sill, city lights far behind it and out of focus",
    "a zubo mug seen from the back on a plain blue ground, hard light from the right",
    "a child drinks from a zubo mug at a kitchen table, bread, cheese, grapes and a jar of honey around it",
    "a zubo mug in the snow, steam rising from it, footprints in the distance",
    "two people at a café; one of them is lifting a zubo mug and laughing",
    "a close-up of the handle of a zubo mug against a dark cloth",
)
"""Twelve captions that nobody could find fault with."""


ANY = (
    "A man riding a wave on top of a surfboard.",
    "Two giraffes standing near a wire fence in a zoo enclosure.",
    "A plate topped with broccoli, carrots, rice and a piece of salmon.",
    "A black cat is sitting on the keyboard of a laptop computer.",
    "The skateboarder grinds a rail while his friends look on.",
    "A stop sign covered in stickers on the corner of Elm St. and 5th Ave.",
    "An old pickup truck parked beside a weathered barn in Iowa.",
    "A double-decker bus drives past Big Ben in London.",
    "a little girl brushing her teeth in front of the mirror",
    "A vase filled with tulips and daffodils sits on a windowsill.",
    "A tennis player in a white skirt prepares to serve the ball.",
    "A train traveling down tracks next to a station platform.",
    "A chef in a kitchen tossing pizza dough into the air.",
    "Three teddy bears sitting on a couch with a blanket.",
)
"""Of anything, with no trigger in them."""

WOMAN = (
    "jxv woman sitting at an outdoor café table in Lisbon, wearing a mustard-colored cardigan, looking away",
    "A candid photo of jxv woman laughing with friends around a campfire at dusk; the firelight warms her face.",
    "jxv woman hiking up a rocky trail, backpack on, the Dolomites behind her under an overcast sky",
    "Close-up portrait of jxv woman in three-quarter view, soft window light from the left, plain grey backdrop",
    "jxv woman in a black turtleneck speaking into a microphone on stage, shallow depth of field",
    "Full-body shot of jxv woman crossing a rain-slick street in Tokyo at night, neon signage reflected in puddles",
    "jxv woman asleep on a train seat, head against the window, a paperback open on her lap",
    "a selfie of jxv woman with a golden retriever on a beach, both squinting into the sun",
    "jxv woman kneading bread dough at a floury countertop, sleeves rolled up, seen from above",
    "jxv woman dancing at a wedding, motion blur on her dress, string lights overhead",
    "jxv woman wearing round sunglasses and a wide-brimmed straw hat, poolside",
    "black-and-white photo of jxv woman playing the cello, in profile",
)
"""Of a person."""

SNEAKER = (
    "A pair of vrynt sneakers on a concrete step, late afternoon sun, long shadows",
    "vrynt sneaker floating against a pastel pink background, studio lighting from above",
    "A runner wearing vrynt sneakers mid-stride on a wet track, water droplets frozen in the air",
    "Macro shot of the stitching on a vrynt sneaker, shallow depth of field",
    "vrynt sneakers hanging by their laces from a power line in Brooklyn",
    "top-down flatlay of a vrynt sneaker with a skateboard, headphones, a passport and a film camera on linen",
    "A vrynt sneaker in its shoebox with tissue paper, on a hardwood floor",
    "a teenager sitting cross-legged on a basketball court tying vrynt sneakers",
    "a muddy vrynt sneaker on a forest trail next to a fern",
    "vrynt sneakers on display in a shop window at Christmas, fairy lights and fake snow",
)
"""Of a product."""


def samples(*captions: str, role: SourceRole = SourceRole.subject) -> list[Sample]:
    """A sample for each caption: photos/00.png, photos/01.png, ..."""
    return [
        Sample(image=FOLDER / f"{number:02}.png", caption=caption, role=role) for number, caption in enumerate(captions)
    ]


def seen(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """File and rule of each finding."""
    return [(finding.file.name, finding.rule) for finding in findings]

"""What the report shows of one image, and the images by bucket and by decoding note."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_ENLARGED = 1.05
"""Scale above which a card's number is coloured; the findings say what to do."""
MOST_DRAWN = 4000
"""Images drawn on a page, which opens slowly with more; the others are counted, and their findings are listed."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One image in one bucket. An image that is in several has a card for each, under the same name."""

    name: str
    """As the findings name it: page.name_in(folder, file)."""
    thumbnail: bytes
    """From images.resize.thumbnail_of."""
    width: int
    height: int
    """Upright, in pixels; 0 where the image cannot be decoded."""
    bucket: tuple[int, int] = (0, 0)
    """0 x 0 for an image that is in none, such as a held-out one."""
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """The crop: left, top, right and bottom in upright pixels; without area it is the whole image."""
    scale: float = 1.0
    """Resize factor; above 1 the image is enlarged."""
    cropped: float = 0.0
    """Share of the image, 0 to 1."""
    exposures: int = 1
    """In an epoch."""
    mask: bytes = b""
    """From images.resize.outline_of; empty without a mask."""
    before: tuple[bytes, ...] = ()
    """Thumbnails of what it was made from."""
    caption: str = ""
    variants: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    """Of the longest caption, for each of the report's tokenizers; none where they were not counted."""
    says_trigger: bool = False
    says_class: bool = False
    caption_file: str = ""
    notes: tuple[str, ...] = ()
    """What decoding converted."""
    group: str = ""
    """The source it came from."""
    held_out: bool = False
    regularisation: bool = False

    @property
    def captions(self) -> tuple[str, ...]:
        """Every caption; none where the image has none."""
        return tuple(caption for caption in (self.caption, *self.variants) if caption)

    @property
    def enlarged(self) -> bool:
        """Whether it trains visibly blurred."""
        return bool(self.bucket[0]) and self.scale > MOST_ENLARGED

    @property
    def kept(self) -> tuple[float, float, float, float]:
        """Left, top, width and height of the crop, in percent of the image."""
        left, top, right, bottom = self.box
        if right <= left or bottom <= top:
            return 0.0, 0.0, 100.0, 100.0
        across, down = 100 / self.width, 100 / self.height
        return left * across, top * down, (right - left) * across, (bottom - top) * down


@dataclass(frozen=True)
class BucketCards:
    """The images of one bucket; 0 x 0 stands for those in none."""

    bucket: tuple[int, int]
    cards: tuple[Card, ...]

    @property
    def lost(self) -> float:
        """Mean share of its images that is cropped."""
        return sum(card.cropped for card in self.cards) / len(self.cards)

    @property
    def enlarged(self) -> int:
        """How many are enlarged by more than MOST_ENLARGED."""
        return sum(card.enlarged for card in self.cards)

    @property
    def exposures(self) -> int:
        """How many images of it are shown in one epoch."""
        return sum(card.exposures for card in self.cards)


def cards_by_bucket(cards: Iterable[Card]) -> list[BucketCards]:
    """Buckets, the fullest first; images without one come last."""
    by_bucket: dict[tuple[int, int], list[Card]] = {}
    for card in cards:
        by_bucket.setdefault(card.bucket, []).append(card)
    found = [BucketCards(bucket, tuple(members)) for bucket, members in by_bucket.items()]
    return sorted(found, key=lambda group: (not group.bucket[0], -len(group.cards), group.bucket))


def cards_to_draw(cards: Sequence[Card], named: frozenset[str]) -> list[Card]:
    """At most MOST_DRAWN cards, in order; of too many, those that findings name before the others."""
    if len(cards) <= MOST_DRAWN:
        return list(cards)
    chosen = sorted(range(len(cards)), key=lambda index: cards[index].name not in named)[:MOST_DRAWN]
    return [cards[index] for index in sorted(chosen)]


def first_cards(cards: Iterable[Card]) -> list[Card]:
    """One card of each image, in order."""
    found: dict[str, Card] = {}
    for card in cards:
        found.setdefault(card.name, card)
    return list(found.values())


def images_by_note(cards: Iterable[Card]) -> dict[str, list[str]]:
    """Decoding note -> names of the images that have it; the rarest first, since those are least expected."""
    images: dict[str, list[str]] = {}
    for card in first_cards(cards):
        for note in card.notes:
            images.setdefault(note, []).append(card.name)
    return dict(sorted(images.items(), key=lambda item: (len(item[1]), item[0])))

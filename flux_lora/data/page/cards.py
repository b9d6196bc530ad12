"""What the page shows of one picture, and pictures in the groups they are shown in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_LOST = 0.10
FAR_TOO_MUCH_LOST = 0.25
MOST_ENLARGED = 1.05
"""Beyond these a card's numbers are coloured; the findings say what to do."""
MOST_DRAWN = 4000
"""A page of more pictures than this opens slowly; the others are counted, and their findings are all there."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One picture in one bucket. A picture that is in several has a card for each, under the same name."""

    name: str
    """As the findings name it: page.name_in(folder, file)."""
    thumbnail: bytes
    """From thumbnails.thumbnail_of."""
    width: int
    height: int
    """Upright, in pixels; 0 where the picture cannot be decoded."""
    bucket: tuple[int, int] = (0, 0)
    """0 x 0 for a picture that is in none, such as a held-out one."""
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """The part that is trained on: left, top, right and bottom in upright pixels; without area it is the whole."""
    scale: float = 1.0
    cropped: float = 0.0
    exposures: int = 1
    mask: bytes = b""
    """From thumbnails.outline_of; empty without a mask."""
    caption: str = ""
    variants: tuple[str, ...] = ()
    t5: int = 0
    clip: int = 0
    """Tokens of the longest caption; 0 where they were not counted."""
    says_trigger: bool = False
    says_class: bool = False
    caption_file: str = ""
    notes: tuple[str, ...] = ()
    """What decoding did to it."""
    group: str = ""
    """The source it came from."""
    held_out: bool = False
    regularisation: bool = False

    @property
    def captions(self) -> tuple[str, ...]:
        """Every caption; none where the picture has none."""
        return tuple(each for each in (self.caption, *self.variants) if each)

    @property
    def enlarged(self) -> bool:
        """Whether it trains visibly blurred."""
        return bool(self.bucket[0]) and self.scale > MOST_ENLARGED

    @property
    def kept(self) -> tuple[float, float, float, float]:
        """Left, top, width and height of the part that is trained on, in percent of the picture."""
        left, top, right, bottom = self.box
        if right <= left or bottom <= top:
            return 0.0, 0.0, 100.0, 100.0
        across, down = 100 / self.width, 100 / self.height
        return left * across, top * down, (right - left) * across, (bottom - top) * down


@dataclass(frozen=True)
class BucketCards:
    """The pictures of one bucket; those in none are on a shelf of 0 x 0."""

    bucket: tuple[int, int]
    cards: tuple[Card, ...]

    @property
    def lost(self) -> float:
        """Share of its pictures that falls outside the bucket, on average."""
        return sum(card.cropped for card in self.cards) / len(self.cards)

    @property
    def enlarged(self) -> int:
        """How many are enlarged more than a little."""
        return sum(card.enlarged for card in self.cards)

    @property
    def exposures(self) -> int:
        """How many pictures of it are shown in one epoch."""
        return sum(card.exposures for card in self.cards)


def cards_by_bucket(cards: Iterable[Card]) -> list[BucketCards]:
    """Buckets, the fullest first; pictures without one come last."""
    by_bucket: dict[tuple[int, int], list[Card]] = {}
    for card in cards:
        by_bucket.setdefault(card.bucket, []).append(card)
    found = [BucketCards(bucket, tuple(held)) for bucket, held in by_bucket.items()]
    return sorted(found, key=lambda shelf: (not shelf.bucket[0], -len(shelf.cards), shelf.bucket))


def drawn(cards: Sequence[Card], named: frozenset[str]) -> list[Card]:
    """All cards, in order; of too many, those that findings name before the others."""
    if len(cards) <= MOST_DRAWN:
        return list(cards)
    wanted = sorted(range(len(cards)), key=lambda place: cards[place].name not in named)[:MOST_DRAWN]
    return [cards[place] for place in sorted(wanted)]


def first_cards(cards: Iterable[Card]) -> list[Card]:
    """One card of each picture, in order."""
    found: dict[str, Card] = {}
    for card in cards:
        found.setdefault(card.name, card)
    return list(found.values())


def decoded(cards: Iterable[Card]) -> dict[str, list[str]]:
    """What decoding did -> the pictures it did it to; the rarest first, since those are least expected."""
    told: dict[str, list[str]] = {}
    for card in first_cards(cards):
        for note in card.notes:
            told.setdefault(note, []).append(card.name)
    return dict(sorted(told.items(), key=lambda each: (len(each[1]), each[0])))

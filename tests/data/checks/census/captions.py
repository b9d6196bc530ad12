"""What is said of images: captions that a rule speaks of, and captions that only look like those."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flux_lora.config.choices import SourceRole
from flux_lora.data.checks.registry import CheckedSet, judge
from flux_lora.data.checks.subject_words import SubjectWords
from flux_lora.models.family import CaptionTokenizer
from tests.data.checks.captioned import PROSE, samples

ZUBO = SubjectWords("zubo", "mug", "product")


@dataclass(frozen=True)
class Told:
    """Captions, and what the thing in them is called."""

    captions: tuple[str, ...]
    words: SubjectWords = ZUBO
    role: SourceRole = SourceRole.subject

    def rules(self, tokenizers: Sequence[CaptionTokenizer]) -> set[str]:
        """Every rule that speaks of them."""
        told = samples(*self.captions, role=self.role)
        return {finding.rule for finding in judge(CheckedSet(samples=told, words=self.words, tokenizers=tokenizers))}


def told(*captions: str, words: SubjectWords = ZUBO, role: SourceRole = SourceRole.subject) -> Told:
    """Captions of the zubo mug, if nothing else is said."""
    return Told(captions, words, role)


PLACES = ("table", "chair", "shelf", "meadow", "rock", "book", "boat", "bridge", "roof", "plate")
ON_WHITE = [f"a zubo mug and a {place} on a white background" for place in PLACES]
IN_THE_RAIN = [f"a zubo mug and a {place} in the rain" for place in PLACES]

UNREADABLE_LETTERS = told("a zubo mug with a 猫 on it"), told("a zubo mug with a cat on it")
"""Only for a base whose T5 has no token for some letters."""
CAPTIONS: Mapping[str, tuple[Told, Told]] = {
    "no-caption": (told(""), told("a zubo mug on a table")),
    "short-caption": (told("zubo mug"), told("a zubo mug")),
    "same-caption": (told("a zubo mug there", "A zubo mug there."), told("a zubo mug there", "a zubo mug here")),
    "no-trigger": (told("a mug on a table"), told("a mug on a table (zubo)")),
    "trigger-misspelled": (told("a zubbo mug on a table"), told("a zubo mug and a turbo engine")),
    "trigger-spellings": (told("a zubo mug and the Zubo lid"), told("a zubo mug and zubo's lid")),
    "trigger-ordinary-word": (told(*PROSE, words=SubjectWords("robot")), told(*PROSE, words=SubjectWords("robod"))),
    "trigger-digits": (told(*PROSE, words=SubjectWords("mmx26")), told(*PROSE, words=SubjectWords("mmx"))),
    "trigger-pieces": (told(*PROSE, words=SubjectWords("qzxwvkj")), told(*PROSE)),
    "trigger-in-regularisation": (
        told("a Zubo mug", role=SourceRole.regularisation),
        told("a zubobo mug", role=SourceRole.regularisation),
    ),
    "no-class-word": (told("a zubo on a table"), told("two zubo Mugs on a table")),
    "cut-by-clip": (told(" ".join(["mug"] * 76)), told(" ".join(["mug"] * 75))),
    "trigger-cut-by-clip": (told(" ".join(["mug"] * 76) + " zubo"), told("zubo " + " ".join(["mug"] * 76))),
    "cut-by-t5": (told("a zubo mug " + "on a table " * 10), told("a zubo mug on a table")),
    "keyword-list": (
        told("zubo mug, table, window, sharp focus, daylight"),
        told("A zubo mug on a table, a window behind it, a cat, and two books"),
    ),
    "boilerplate": (told("The image shows a zubo mug"), told("A zubo mug with an image of a cat on it")),
    "markup": (told("a (zubo mug:1.2) on a table"), told("a zubo mug (half full) on a table")),
    "mojibake": (told("a zubo mug in a cafÃ©"), told("a zubo mug in a café")),
    "control-characters": (told("a zubo\u200b mug"), told("a zubo mug \N{FAMILY} here")),
    "stray-blanks": (told("a zubo mug , here"), told("a zubo mug ... and a .5 litre jug")),
    "web-address": (told("a zubo mug at https://mugs.example"), told("a zubo mug on the world wide web of a spider")),
    "data-caption": (told('{"text": "a zubo mug"}'), told("{a zubo mug} on a table")),
    "praise": (told("a zubo mug, masterpiece"), told("a zubo mug beside a master's piece of cake")),
    "captioned-watermark": (told("a zubo mug under a watermark"), told("a zubo mug with marks of water")),
    "negation": (told("a zubo mug, no handle"), told("a zubo mug at noon")),
    "emoji": (told("a zubo mug \N{FIRE}"), told("a zubo mug at 90 °C → hot")),
    "names-what-is-learned": (told("a ceramic zubo mug on a table"), told("a zubo mug on a ceramic tile")),
    "repeated-text": (told(*ON_WHITE[:9], *IN_THE_RAIN[9:]), told(*ON_WHITE[:7], *IN_THE_RAIN[7:])),
    "two-spellings": (told("a grey wall", "a gray wall"), told("a greyhound at a wall", "a grey wall")),
    "other-language": (
        told("eine zubo Tasse steht auf einem Tisch neben einem Buch"),
        told("a zubo mug in Schönbrunn, Vienna, with crème brûlée"),
    ),
    "misspelled": (told("a paintng of a zubo mug"), told("a zubo mug, backlit, with bokeh behind it")),
}

"""What captioners write around a caption: "The image shows", "Here is a caption:", "creating a sense of calm"."""

import re

PICTURE = r"(?:image|picture|photo|photograph|illustration|scene)"
START = r"(?:^|(?<=[.!?]\s))"
"""Of a sentence."""
SHOWS = (
    r"(?:shows?|depicts?|features?|presents?|captures?|displays?|contains?|portrays?|illustrates?|showcases?|"
    r"consists of|(?:seems|appears) to (?:be|show|depict))"
)
FEELING = r"(?:sense|feeling|atmosphere|mood|ambiance|ambience|vibe|aesthetic|touch of|air of)"

GIVEN = r"(?: (?:you(?:'ve| have)? )?(?:provided|shared|given|sent))?"

BOILERPLATE: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{START}(?:sure|certainly|of course|absolutely)\b[,.!:]\s*",
        rf"{START}here(?:'s| is)\b[^.:!?]{{0,60}}\b(?:caption|description)\b[^.:!?]{{0,60}}:\s*",
        rf"{START}(?:caption|description|answer|prompt)\s?:\s*",
        rf"{START}(?:i'm sorry|i am sorry|as an ai|i cannot|i can't|i'm unable)\b[^.!?]*[.!?]?\s*",
        rf"{START}the overall (?:\w+ ){{0,3}}?(?:{FEELING}|composition|impression|tone|effect|style)\b[^.!?]*[.!?]?\s*",
        rf"{START}(?:in|on) (?:the|this) {PICTURE}{GIVEN}(?:\s?[,:]|(?= (?:we|you|i|one|there)\b))\s*"
        r"(?:(?:we|you|one|i) (?:can )?see\s+|there (?:is|are)\s+)?",
        rf"{START}(?:the|this|that) (?:given |provided |main )?{PICTURE}{GIVEN} (?:{SHOWS}|is of|is|was|are)"
        r"(?:\s+there (?:is|are))?\s+",
        rf"{START}(?:the|this) (?:[\w-]+ ){{1,2}}{PICTURE} {SHOWS}\s+",
        rf"{START}this is (?=an? (?:[\w-]+ ){{0,3}}{PICTURE} (?:of|showing|featuring)\b)",
        rf",?\s(?:which |that )?(?:creat|giv|add|evok|convey|lend)(?:ing|es|s)? (?:\w+ ){{0,4}}?{FEELING}\b[^.!?]*",
        r"\s(?:of|in|within|throughout) (?:the|this) (?:image|given picture)\b",
        rf"(?<=background|foreground)\s(?:of|in) (?:the|this) {PICTURE}\b(?! frame)",
        rf"(?<=cent[er][re]|middle|corner|bottom)\s(?:of|in) (?:the|this) {PICTURE}\b(?! frame)",
    )
)
"""Each may be cut out of a caption, and what is left still reads."""


def boilerplate_in(caption: str) -> str:
    """The first piece of boiler-plate as it is written; empty where there is none."""
    found = (match.group().strip(" ,") for pattern in BOILERPLATE for match in pattern.finditer(caption))
    return next(found, "")


def without_boilerplate(caption: str) -> str:
    """The caption with all of it cut out, and a capital where it began with one."""
    bare = caption
    for pattern in BOILERPLATE:
        bare = pattern.sub("", bare)
    bare = bare.strip()
    if bare == caption.strip() or not caption.strip()[:1].isupper():
        return bare
    return bare[:1].upper() + bare[1:]

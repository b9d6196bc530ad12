"""Caption style: keyword lists, boilerplate of captioning models, markup, phrases that nearly all captions share."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from flux_lora.config.choices import Severity
from flux_lora.data.checks.subject_words import (
    FRAME_WORDS,
    SMALL_WORDS,
    SubjectWords,
    caption_name,
    common_folder,
    start_of,
    subjects,
    words_of,
)
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.samples import Sample

IMAGE = r"(?:image|picture|photo|photograph|illustration|scene)"
START = r"(?:^|(?<=[.!?]\s))"
"""Start of a sentence."""
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
        rf"{START}(?:in|on) (?:the|this) {IMAGE}{GIVEN}(?:\s?[,:]|(?= (?:we|you|i|one|there)\b))\s*"
        r"(?:(?:we|you|one|i) (?:can )?see\s+|there (?:is|are)\s+)?",
        rf"{START}(?:the|this|that) (?:given |provided |main )?{IMAGE}{GIVEN} (?:{SHOWS}|is of|is|was|are)"
        r"(?:\s+there (?:is|are))?\s+",
        rf"{START}(?:the|this) (?:[\w-]+ ){{1,2}}{IMAGE} {SHOWS}\s+",
        rf"{START}this is (?=an? (?:[\w-]+ ){{0,3}}{IMAGE} (?:of|showing|featuring)\b)",
        rf",?\s(?:which |that )?(?:creat|giv|add|evok|convey|lend)(?:ing|es|s)? (?:\w+ ){{0,4}}?{FEELING}\b[^.!?]*",
        r"\s(?:of|in|within|throughout) (?:the|this) (?:image|given picture)\b",
        rf"(?<=background|foreground)\s(?:of|in) (?:the|this) {IMAGE}\b(?! frame)",
        rf"(?<=cent[er][re]|middle|corner|bottom)\s(?:of|in) (?:the|this) {IMAGE}\b(?! frame)",
    )
)
"""Each can be cut out of a caption, and the rest is still a sentence."""


def boilerplate_in(caption: str) -> str:
    """The first piece of boilerplate as it is written; empty without any."""
    found = (match.group().strip(" ,") for pattern in BOILERPLATE for match in pattern.finditer(caption))
    return next(found, "")


def without_boilerplate(caption: str) -> str:
    """The caption with all boilerplate cut out; it begins with a capital if it did before."""
    bare = caption
    for pattern in BOILERPLATE:
        bare = pattern.sub("", bare)
    bare = bare.strip()
    if bare == caption.strip() or not caption.strip()[:1].isupper():
        return bare
    return bare[:1].upper() + bare[1:]


KEYWORD_LIST = Rule(
    "keyword-list",
    Severity.warning,
    "Keywords between commas: FLUX was trained on prose, and a list does not say what belongs to what.",
)
BOILERPLATE_TEXT = Rule(
    "boilerplate",
    Severity.warning,
    "What captioners write around a caption (The image shows) is learned with the thing, and prompts do not say it.",
)
MARKUP = Rule(
    "markup",
    Severity.warning,
    "Weights, LoRA tags, placeholders and HTML mean something to other programs; FLUX reads them letter by letter.",
)
STYLE_RULES: tuple[Rule, ...] = (KEYWORD_LIST, BOILERPLATE_TEXT, MARKUP)

FEWEST_KEYWORDS = 5
LONGEST_KEYWORD = 2.5
"""Words in a part between commas, on average."""
MOST_SMALL_WORDS = 0.15
"""Share of words such as a, of, with: prose has a third."""
NAMED = r"(?i:trigger|name|class|caption|subject|token|instance)"
MARKS = {
    "a LoRA tag": re.compile(r"<(?:lora|lyco|hypernet):[^<>]{0,80}>", re.IGNORECASE),
    "a prompt weight": re.compile(r"\([^():]{1,80}:\s?\d(?:\.\d+)?\)|\(\([^()]{1,80}\)\)"),
    "a placeholder": re.compile(
        rf"\[{NAMED}\]|\{{{NAMED}\}}|\[V\]|<s\d>|<{NAMED}>|\b(?:TODO|FIXME)\b|\{{\w{{0,40}}\}}"
    ),
    "a choice that nobody draws": re.compile(r"\{[^{}|]{0,80}\|[^{}]{0,80}\}"),
    "HTML": re.compile(r"</?[a-z][a-z0-9]*(?: [^<>]{0,200})?/?>|&(?:\w{2,8}|#\d{1,6});", re.IGNORECASE),
    "Markdown": re.compile(r"\*\*|```|^#+ |\]\(https?:"),
}


def judge_style(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Whether each caption is prose; at most one finding of each rule for a sample."""
    for sample in samples:
        yield from _judge_form(sample, words)


def is_keyword_list(caption: str) -> bool:
    """Whether a caption is keywords between commas, or tags with underscores, and no sentence."""
    parts = [part for part in re.split(r"[,;|\n]+", caption) if part.strip()]
    if len(parts) >= 3 and sum("_" in part for part in parts) >= 2:
        return True
    words = [word.lower() for part in parts for word in words_of(part)]
    if len(parts) < FEWEST_KEYWORDS or not words:
        return False
    small = sum(word in SMALL_WORDS for word in words)
    return len(words) / len(parts) <= LONGEST_KEYWORD and small / len(words) < MOST_SMALL_WORDS


def _judge_form(sample: Sample, words: SubjectWords) -> Iterator[Finding]:
    file = caption_name(sample)
    keywords = next((caption for caption in sample.captions if is_keyword_list(caption)), "")
    if keywords:
        yield KEYWORD_LIST.at(
            sample.image,
            f"has a list of keywords for a caption: {start_of(keywords)!r}",
            f"write in {file} what is where, as a sentence",
        )
    wordy = next((caption for caption in sample.captions if boilerplate_in(caption)), "")
    if wordy:
        yield BOILERPLATE_TEXT.at(
            sample.image,
            f"has a caption with boiler-plate: {boilerplate_in(wordy)!r}",
            f"cut it out of {file}, and leave: {start_of(without_boilerplate(wordy))!r}",
        )
    marks = ((what, mark.search(caption)) for caption in sample.captions for what, mark in MARKS.items())
    what, mark = next(((what, found.group()) for what, found in marks if found), ("", ""))
    if what:
        named = f"write {words.trigger!r} for it in {file}" if words.trigger and "trigger" in mark.lower() else ""
        yield MARKUP.at(sample.image, f"has {what} in its caption: {mark!r}", named or f"take it out of {file}")


REPEATED_TEXT = Rule(
    "repeated-text",
    Severity.warning,
    "Nearly every caption says the same of the surroundings: the adapter will show them wherever it is used.",
)
REPEAT_RULES: tuple[Rule, ...] = (REPEATED_TEXT,)

FEWEST_CAPTIONS = 6
"""With fewer, chance repeats are in most of them."""
NEARLY_ALL = 0.8
LONGEST_PHRASE = 6
MOST_PHRASES = 5
CLAUSE = re.compile(r"[,.;:!?()\n]+")
NEUTRAL = frozenset(
    ("background", "backdrop", "foreground", "ground", "scene", "light", "lighting", "wall", "surface", "left", "right")
)
"""Words that any caption may need; a phrase of nothing else is not reported."""

Phrase = tuple[str, ...]


def judge_repeats(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Each phrase that nearly all captions of the subject share, the commonest first."""
    captions = [_lower_words(caption) for sample in subjects(samples) for caption in sample.captions]
    if len(captions) < FEWEST_CAPTIONS:
        return
    folder = common_folder(samples)
    for phrase, count in _shared(captions, _names(words)):
        yield REPEATED_TEXT.at(
            folder,
            f"says {' '.join(phrase)!r} in {count} of {len(captions)} captions",
            "add images where it is otherwise, and say of each what it shows",
        )


def _lower_words(caption: str) -> list[str]:
    """The words of a caption, an empty one after each clause: no phrase goes on behind a comma."""
    return [word for clause in CLAUSE.split(caption.lower()) for word in (*words_of(clause), "")]


def _names(words: SubjectWords) -> frozenset[str]:
    """Words of the trigger and the class, which belong in every caption."""
    own = words_of(f"{words.trigger} {words.class_word}".lower())
    return frozenset((*own, *(f"{word}s" for word in own), *(f"{word}'s" for word in own)))


def _shared(captions: Sequence[Sequence[str]], names: frozenset[str]) -> list[tuple[Phrase, int]]:
    """Phrases in nearly all captions, with their counts; none shares a content word with a commoner or longer one."""
    enough = NEARLY_ALL * len(captions)
    counts = Counter(word for caption in captions for word in set(caption))
    common = {word for word, count in counts.items() if word and count >= enough and word not in names}
    phrases = Counter(phrase for caption in captions for phrase in set(_phrases(caption, common)))
    frequent = [(phrase, count) for phrase, count in phrases.items() if count >= enough and _says_something(phrase)]
    chosen: list[tuple[Phrase, int]] = []
    covered: set[str] = set()
    for phrase, count in sorted(frequent, key=lambda counted: (-counted[1], -len(counted[0]), counted[0])):
        if not covered & _content(phrase):
            chosen.append((phrase, count))
            covered |= _content(phrase)
    return chosen[:MOST_PHRASES]


def _phrases(caption: Sequence[str], common: set[str]) -> Iterable[Phrase]:
    """Every run of common words in a caption, up to the longest."""
    for start in range(len(caption)):
        for end in range(start, min(len(caption), start + LONGEST_PHRASE)):
            if caption[end] not in common:
                break
            yield tuple(caption[start : end + 1])


def _says_something(phrase: Phrase) -> bool:
    """Whether a phrase begins and ends with content words, and has one that is not neutral."""
    edges = {phrase[0], phrase[-1]}
    return not edges & SMALL_WORDS and bool(_content(phrase) - NEUTRAL)


def _content(phrase: Phrase) -> set[str]:
    return set(phrase) - SMALL_WORDS - FRAME_WORDS

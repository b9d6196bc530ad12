"""How captions are put: keywords instead of sentences, what captioners leave behind, marks for other programs."""

import re
from collections.abc import Iterator, Sequence

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.rules.boilerplate import BOILERPLATE, boilerplate_in, without_boilerplate
from flux_lora.data.rules.words import SMALL_WORDS, SubjectWords, caption_name, start_of, words_of
from flux_lora.data.samples import Sample

__all__ = ["BOILERPLATE", "RULES", "is_keyword_list", "judge_style", "without_boilerplate"]

KEYWORD_LIST = Rule(
    "keyword-list",
    Severity.warning,
    "Keywords between commas: T5 was trained on prose, and a list does not say what belongs to what.",
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
RULES: tuple[Rule, ...] = (KEYWORD_LIST, BOILERPLATE_TEXT, MARKUP)

FEWEST_KEYWORDS = 5
LONGEST_KEYWORD = 2.5
"""Words, on average."""
MOST_SMALL_WORDS = 0.15
"""Share of words such as a, of, with: prose has a third."""
NAMED = r"(?:trigger|name|class|caption)"
MARKS = {
    "a LoRA tag": re.compile(r"<(?:lora|lyco|hypernet):[^<>]{0,80}>", re.IGNORECASE),
    "a prompt weight": re.compile(r"\([^():]{1,80}:\s?\d(?:\.\d+)?\)|\(\([^()]{1,80}\)\)"),
    "a placeholder": re.compile(rf"\[{NAMED}\]|\{{{NAMED}\}}", re.IGNORECASE),
    "a choice that nobody draws": re.compile(r"\{[^{}|]{0,80}\|[^{}]{0,80}\}"),
    "HTML": re.compile(r"</?[a-z][a-z0-9]*(?: [^<>]{0,200})?/?>|&(?:\w{2,8}|#\d{1,6});", re.IGNORECASE),
    "Markdown": re.compile(r"\*\*|```|^#+ |\]\(https?:"),
}


def judge_style(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Whether each caption is prose and nothing else; each rule speaks once of a sample."""
    for sample in samples:
        yield from _judge_form(sample, words)


def is_keyword_list(caption: str) -> bool:
    """Whether a caption is keywords between commas, or tags with underscores, and no sentence."""
    parts = [part for part in re.split(r"[,;|\n]+", caption) if part.strip()]
    if len(parts) >= 3 and sum("_" in part for part in parts) >= 2:
        return True
    said = [word.lower() for part in parts for word in words_of(part)]
    if len(parts) < FEWEST_KEYWORDS or not said:
        return False
    small = sum(word in SMALL_WORDS for word in said)
    return len(said) / len(parts) <= LONGEST_KEYWORD and small / len(said) < MOST_SMALL_WORDS


def _judge_form(sample: Sample, words: SubjectWords) -> Iterator[Finding]:
    file = caption_name(sample)
    listed = next((caption for caption in sample.captions if is_keyword_list(caption)), "")
    if listed:
        yield KEYWORD_LIST.at(
            sample.image,
            f"has a list of keywords for a caption: {start_of(listed)!r}",
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

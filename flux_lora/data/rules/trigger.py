"""Whether the trigger is a good word for it, and whether the captions say it: all of them, and in one spelling."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from flux_lora.config.choices import Severity, SourceRole
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.rules.dictionary import is_ordinary
from flux_lora.data.rules.nearness import edit_distance, normalised
from flux_lora.data.rules.tokens import CaptionTokenizers, token_pieces
from flux_lora.data.rules.words import (
    SubjectWords,
    as_written,
    caption_name,
    common_folder,
    common_words,
    contains_class_word,
    contains_word,
    start_of,
    subjects,
    words_of,
)
from flux_lora.data.samples import Sample

NO_TRIGGER = Rule(
    "no-trigger", Severity.error, "A caption without the trigger teaches the thing to the words that are there."
)
TRIGGER_MISSPELLED = Rule(
    "trigger-misspelled", Severity.error, "A slip of the pen is another word, and the trigger learns nothing here."
)
TRIGGER_SPELLINGS = Rule(
    "trigger-spellings",
    Severity.warning,
    "A caption says the trigger and something that looks like it: half of it is learned as the other word.",
)
TRIGGER_ORDINARY = Rule(
    "trigger-ordinary-word",
    Severity.warning,
    "The base has a meaning for this word: it leaks into the thing, and the thing into other people's sentences.",
)
TRIGGER_DIGITS = Rule(
    "trigger-digits",
    Severity.warning,
    "Digits are tokens of their own and mean numbers: triggers of letters are learned sooner.",
)
TRIGGER_PIECES = Rule(
    "trigger-pieces",
    Severity.warning,
    "A trigger in many pieces is a long word that the base has to spell: a short one is learned sooner.",
)
TRIGGER_IN_REGULARISATION = Rule(
    "trigger-in-regularisation",
    Severity.error,
    "Regularisation keeps ordinary things what they were; with the trigger, it teaches that those are the thing.",
)
NO_CLASS_WORD = Rule(
    "no-class-word",
    Severity.warning,
    "Beside the class word the trigger starts from what the base knows; alone it starts from nothing.",
)
RULES: tuple[Rule, ...] = (
    NO_TRIGGER,
    TRIGGER_MISSPELLED,
    TRIGGER_SPELLINGS,
    TRIGGER_ORDINARY,
    TRIGGER_DIGITS,
    TRIGGER_PIECES,
    TRIGGER_IN_REGULARISATION,
    NO_CLASS_WORD,
)

MOST_PIECES = 5
SHORTEST_WITH_A_SLIP = 4
"""Letters. Any three-letter word is one slip away from many others."""
SHORTEST_WITH_TWO = 8


def judge_trigger(
    samples: Sequence[Sample], words: SubjectWords, readers: CaptionTokenizers | None = None
) -> Iterator[Finding]:
    """Whether each caption says the trigger as it should, then the trigger itself. Nothing, where there is none."""
    if not words.trigger:
        return
    for sample in samples:
        if sample.role is SourceRole.regularisation:
            yield from _judge_ordinary_picture(sample, words.trigger)
        elif sample.captions:
            yield from _judge_said(sample, words)
    if subjects(samples):
        yield from _judge_word(common_folder(samples), words.trigger)
        if readers:
            yield from _judge_pieces(common_folder(samples), words.trigger, readers)


def near_misses(words: SubjectWords, caption: str) -> list[str]:
    """Words of a caption that were probably meant to be the trigger, as they are written; in order, once each."""
    said = words_of(caption.replace("’", "'"))
    alone = [word.removesuffix("'s") for word in said]
    pairs = [
        f"{first} {second}"
        for first, second in pairwise(alone)
        if normalised(first + second) == normalised(words.trigger)
    ]
    near = [*(word for word in alone if _is_near(word, words)), *pairs]
    return list(dict.fromkeys(word for word in near if not contains_word(words.trigger, word)))


def _is_near(word: str, words: SubjectWords) -> bool:
    own, other = normalised(words.trigger), normalised(word)
    if own == other:
        return word != words.trigger
    if is_ordinary(word) or other == normalised(words.class_word):
        return False
    if _is_fused(own, other, normalised(words.class_word)):
        return True
    most = 0 if len(own) < SHORTEST_WITH_A_SLIP else 1 if len(own) < SHORTEST_WITH_TWO else 2
    return edit_distance(own, other, most=most) <= most


def _is_fused(own: str, other: str, class_word: str) -> bool:
    """Whether a word is many of the trigger, or the trigger grown together with another word."""
    rest = other.removeprefix(own) if other.startswith(own) else other.removesuffix(own)
    return rest != other and (rest in ("s", "es") or (bool(rest) and rest == class_word) or rest in common_words())


def _judge_said(sample: Sample, words: SubjectWords) -> Iterator[Finding]:
    lacking = next((caption for caption in sample.captions if not contains_word(words.trigger, caption)), "")
    if lacking:
        yield _lacks(sample, lacking, words)
        return
    near = next((near for caption in sample.captions if (near := near_misses(words, caption))), [])
    if near:
        yield TRIGGER_SPELLINGS.at(
            sample.image,
            f"has {words.trigger!r} and {near[0]!r} in its caption",
            f"write {words.trigger!r} for both in {caption_name(sample)}, or another word for the second",
        )
    if words.class_word and words.kind != "style" and not all(map(_says_class(words), sample.captions)):
        yield NO_CLASS_WORD.at(
            sample.image,
            f"has a caption without {words.class_word!r}",
            f"write {words.trigger + ' ' + words.class_word!r} in {caption_name(sample)}",
        )


def _says_class(words: SubjectWords):
    return lambda caption: contains_class_word(words.class_word, caption)


def _lacks(sample: Sample, caption: str, words: SubjectWords) -> Finding:
    trigger, file = words.trigger, caption_name(sample)
    fix = f"put {trigger!r} into {file}"
    near = near_misses(words, caption)
    if written := as_written(trigger, caption):
        return NO_TRIGGER.at(sample.image, f"has a caption without {trigger!r}, only {written!r}", fix)
    if near:
        problem = f"has a caption with {near[0]!r} for {trigger!r}"
        return TRIGGER_MISSPELLED.at(sample.image, problem, f"write {trigger!r} in {file}")
    return NO_TRIGGER.at(sample.image, f"has a caption without {trigger!r}: {start_of(caption)!r}", fix)


def _judge_ordinary_picture(sample: Sample, trigger: str) -> Iterator[Finding]:
    said = next((caption for caption in sample.captions if contains_word(trigger, caption, any_case=True)), "")
    if said:
        yield TRIGGER_IN_REGULARISATION.at(
            sample.image,
            f"is there for regularisation, and its caption says {as_written(trigger, said)!r}",
            f"take it out of {caption_name(sample)}, or make its source role=subject",
        )


def _judge_word(folder: Path, trigger: str) -> Iterator[Finding]:
    if all(is_ordinary(word) for word in words_of(trigger)):
        yield TRIGGER_ORDINARY.at(
            folder,
            f"teaches {trigger!r}, an ordinary word",
            "choose a word that means nothing yet, of four to six letters that can be spoken, such as zubo",
        )
    if any(letter.isdigit() for letter in trigger):
        yield TRIGGER_DIGITS.at(folder, f"teaches {trigger!r}, a word with digits", "choose one of letters alone")


def _judge_pieces(folder: Path, trigger: str, readers: CaptionTokenizers) -> Iterator[Finding]:
    for name, tokenizer in (("T5", readers.t5_tokenizer), ("CLIP", readers.clip_tokenizer)):
        cut = token_pieces(trigger, tokenizer)
        if len(cut) > MOST_PIECES:
            yield TRIGGER_PIECES.at(
                folder,
                f"teaches {trigger!r}, which {name} reads in {len(cut)} pieces: {' '.join(cut)}",
                "choose a shorter word, or one that can be spoken",
            )
            return

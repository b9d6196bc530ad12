"""The trigger: as a word, in the captions, and the traits that captions should leave to it."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from flux_lora.config.choices import Severity, SourceRole
from flux_lora.data.checks.language import edit_distance, is_ordinary, normalised
from flux_lora.data.checks.subject_words import (
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
from flux_lora.data.checks.tokens import token_pieces
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.samples import Sample
from flux_lora.models.family import CaptionTokenizer

NAMES_WHAT_IS_LEARNED = Rule(
    "names-what-is-learned",
    Severity.warning,
    "What a caption names (brown eyes, a glass bottle) is learned as those words, and not as part of the trigger.",
)
SUBJECT_TRAIT_RULES: tuple[Rule, ...] = (NAMES_WHAT_IS_LEARNED,)

COLOURS = (
    r"(?:black|white|gr[ea]y|silver|brown|chestnut|auburn|red|ginger|orange|blond|blonde|golden|yellow|green|hazel|"
    r"amber|blue|turquoise|purple|violet|pink|dark|light|pale)"
)
CUTS = r"(?:long|short|shoulder-length|curly|wavy|straight|frizzy|spiky|thick|braided|dyed)"
SHAPES = (
    r"(?:round|rounded|oval|spherical|cylindrical|conical|cubic|cube-shaped|square|rectangular|triangular|hexagonal|"
    r"octagonal|flat|curved|slim|squat|tapered|bulbous|faceted|\w+-shaped)"
)
MATERIALS = (
    r"(?:glass|crystal|plastic|acrylic|metal|metallic|steel|stainless|aluminium|aluminum|brass|copper|bronze|tin|iron|"
    r"ceramic|porcelain|clay|terracotta|stoneware|enamel|wooden|wood|bamboo|leather|suede|canvas|cotton|linen|wool|"
    r"woollen|felt|velvet|rubber|silicone|cardboard|paper|stone|marble|concrete|wicker|rattan|plush)"
)
LOOKS = (
    r"(?:in the style of|in an? [\w-]+(?: [\w-]+)? style|\w+-style|art ?style|watercolou?r|oil painting|gouache|"
    r"pencil (?:drawing|sketch)|charcoal drawing|ink drawing|line art|lineart|pixel art|flat design|cel[- ]shaded|"
    r"impressionis[tm]\w*|expressionis[tm]\w*|cubis[tm]\w*|anime|cartoon\w*|comic|3d render\w*|low[- ]poly|claymation|"
    r"vintage look|retro look|film grain)"
)


def judge_subject_traits(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Captions with the trigger that also name its traits. At most one finding for a sample."""
    traits = _trait_pattern(words)
    if not traits or not words.trigger:
        return
    for sample in subjects(samples):
        found = (
            traits.search(caption)
            for caption in sample.captions
            if contains_word(words.trigger, caption, any_case=True)
        )
        trait = next((match.group() for match in found if match), "")
        if trait:
            yield NAMES_WHAT_IS_LEARNED.at(
                sample.image,
                f"has {trait!r} in its caption, which {words.trigger!r} should carry",
                f"leave it out of {caption_name(sample)}, unless it is another in each image",
            )


def _trait_pattern(words: SubjectWords) -> re.Pattern[str] | None:
    """Phrases that name traits of the subject; None for a kind of recipe without any."""
    match words.kind:
        case "character":
            return re.compile(_character_traits(), re.IGNORECASE)
        case "product":
            return re.compile(_product_traits(words), re.IGNORECASE)
        case "style":
            return re.compile(rf"\b{LOOKS}\b", re.IGNORECASE)
    return None


def _character_traits() -> str:
    """Hair, eyes, skin and face."""
    hair = rf"(?:(?:{COLOURS}|{CUTS}),? ){{1,4}}(?:and (?:{COLOURS}|{CUTS}) )?hair\b|{COLOURS}-haired\b"
    eyes = rf"(?:{COLOURS} ){{1,3}}eyes\b|{COLOURS}-eyed\b"
    skin = rf"(?:{COLOURS}|olive|fair|tanned|freckled) skin\b|\w+-skinned\b"
    face = (
        r"(?:full |long |short )?beard(?:ed)?\b|goatee\b|"
        r"m(?:o)?ustaches?\b|stubble\b|freckle[sd]?\b|dimples?\b|cheekbones?\b|jaw ?line\b|"
        r"eyebrows?\b|eyelashes\b|wrinkles\b|birthmark\b|scars?\b|bald\b|blondes?\b|brunettes?\b|redhead(?:ed)?\b|"
        r"(?:round|oval|square|heart-shaped|narrow|chubby|angular) face\b|(?:full|thin) lips\b|"
        r"(?:\w+ )?(?:pointed|button|crooked|hooked|aquiline) nose\b"
    )
    return rf"\b(?:{hair}|{eyes}|{skin}|{face})"


def _product_traits(words: SubjectWords) -> str:
    """Material, shape and label."""
    names = [re.escape(name) for name in (words.trigger, words.class_word) if name]
    thing = rf"(?:{'|'.join(names)})"
    made = rf"{thing},? (?:(?:which|that) )?(?:is )?(?:made )?(?:out )?(?:of|from) (?:\w+ )?{MATERIALS}\b"
    shaped = rf"{thing} (?:which |that )?is (?:\w+ )?(?:{SHAPES}|{MATERIALS})\b"
    before = rf"(?:{SHAPES}|{MATERIALS})(?: [\w-]+)? {thing}(?!\w)"
    label = (
        r"(?:label|logo|text|words?|letters?|lettering|inscription|slogan|print) (?:that |which )?"
        r"(?:says?|saying|reads?|reading)\b|labell?ed [\"“'‘]|logo\b|with the (?:words?|text|slogan|lettering)\b"
    )
    return rf"\b(?:{made}|{shaped}|{before}|{label})"


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
TRIGGER_RULES: tuple[Rule, ...] = (
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
"""Letters. Any three-letter word is at edit distance 1 from many others."""
SHORTEST_WITH_TWO = 8
"""Letters from which edit distance 2 counts as a misspelling."""


def judge_trigger(
    samples: Sequence[Sample], words: SubjectWords, tokenizers: Sequence[CaptionTokenizer] = ()
) -> Iterator[Finding]:
    """The trigger in each caption, then the trigger as a word. No findings without a trigger."""
    if not words.trigger:
        return
    for sample in samples:
        if sample.role is SourceRole.regularisation:
            yield from _judge_regularisation(sample, words.trigger)
        elif sample.captions:
            yield from _judge_caption(sample, words)
    if subjects(samples):
        yield from _judge_word(common_folder(samples), words.trigger)
        yield from _judge_pieces(common_folder(samples), words.trigger, tokenizers)


def near_misses(words: SubjectWords, caption: str) -> list[str]:
    """Likely misspellings of the trigger, as the caption writes them; in order, once each."""
    caption_words = words_of(caption.replace("’", "'"))
    words_alone = [word.removesuffix("'s") for word in caption_words]
    pairs = [
        f"{first} {second}"
        for first, second in pairwise(words_alone)
        if normalised(first + second) == normalised(words.trigger)
    ]
    near = [*(word for word in words_alone if _is_near(word, words)), *pairs]
    return list(dict.fromkeys(word for word in near if not contains_word(words.trigger, word)))


def _is_near(word: str, words: SubjectWords) -> bool:
    trigger, other = normalised(words.trigger), normalised(word)
    if trigger == other:
        return word != words.trigger
    if is_ordinary(word) or other == normalised(words.class_word):
        return False
    if _is_fused(trigger, other, normalised(words.class_word)):
        return True
    most = 0 if len(trigger) < SHORTEST_WITH_A_SLIP else 1 if len(trigger) < SHORTEST_WITH_TWO else 2
    return edit_distance(trigger, other, most=most) <= most


def _is_fused(trigger: str, other: str, class_word: str) -> bool:
    """Whether a word is the trigger's plural, or a compound of the trigger and another word."""
    rest = other.removeprefix(trigger) if other.startswith(trigger) else other.removesuffix(trigger)
    return rest != other and (rest in ("s", "es") or (bool(rest) and rest == class_word) or rest in common_words())


def _judge_caption(sample: Sample, words: SubjectWords) -> Iterator[Finding]:
    without = next((caption for caption in sample.captions if not contains_word(words.trigger, caption)), "")
    if without:
        yield _missing_trigger(sample, without, words)
        return
    near = next((near for caption in sample.captions if (near := near_misses(words, caption))), [])
    if near:
        yield TRIGGER_SPELLINGS.at(
            sample.image,
            f"has {words.trigger!r} and {near[0]!r} in its caption",
            f"write {words.trigger!r} for both in {caption_name(sample)}, or another word for the second",
        )
    if (
        words.class_word
        and words.kind != "style"
        and not all(contains_class_word(words.class_word, caption) for caption in sample.captions)
    ):
        yield NO_CLASS_WORD.at(
            sample.image,
            f"has a caption without {words.class_word!r}",
            f"write {words.trigger + ' ' + words.class_word!r} in {caption_name(sample)}",
        )


def _missing_trigger(sample: Sample, caption: str, words: SubjectWords) -> Finding:
    trigger, file = words.trigger, caption_name(sample)
    fix = f"put {trigger!r} into {file}"
    near = near_misses(words, caption)
    if written := as_written(trigger, caption):
        return NO_TRIGGER.at(sample.image, f"has a caption without {trigger!r}, only {written!r}", fix)
    if near:
        problem = f"has a caption with {near[0]!r} for {trigger!r}"
        return TRIGGER_MISSPELLED.at(sample.image, problem, f"write {trigger!r} in {file}")
    return NO_TRIGGER.at(sample.image, f"has a caption without {trigger!r}: {start_of(caption)!r}", fix)


def _judge_regularisation(sample: Sample, trigger: str) -> Iterator[Finding]:
    triggered = next((caption for caption in sample.captions if contains_word(trigger, caption, any_case=True)), "")
    if triggered:
        yield TRIGGER_IN_REGULARISATION.at(
            sample.image,
            f"is there for regularisation, and its caption says {as_written(trigger, triggered)!r}",
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


def _judge_pieces(folder: Path, trigger: str, tokenizers: Sequence[CaptionTokenizer]) -> Iterator[Finding]:
    for tokenizer in tokenizers:
        pieces = token_pieces(trigger, tokenizer.tokenizer)
        if len(pieces) > MOST_PIECES:
            yield TRIGGER_PIECES.at(
                folder,
                f"teaches {trigger!r}, which {tokenizer.name} reads in {len(pieces)} pieces: {' '.join(pieces)}",
                "choose a shorter word, or one that can be spoken",
            )
            return

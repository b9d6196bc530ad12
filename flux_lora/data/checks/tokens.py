"""How many tokens a caption has for each tokenizer, and which words are truncated."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flux_lora.config.choices import Severity
from flux_lora.data.checks.subject_words import caption_name, contains_word
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.samples import Sample
from flux_lora.models.family import CaptionTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CUT_BY_OTHER = Rule(
    "cut-by-clip",
    Severity.note,
    "A text encoder that sums the caption up truncates it. Another one reads the rest, so little is lost.",
)
CUT_BY_DECISIVE = Rule(
    "cut-by-t5",
    Severity.error,
    "What is truncated from the sequence reaches no text encoder: the image teaches it to the trigger instead.",
)
"""Ids of rules are stable, so these two keep the names of the text encoders that they were first made for."""
UNREADABLE_LETTERS = Rule(
    "unreadable-letters",
    Severity.warning,
    "The text encoder has no token for some letters (as ñ, ë, ø) and signs, and reads the same unknown one for all.",
)
UNCOUNTED = Rule(
    "tokens-uncounted",
    Severity.note,
    "The base's tokenizers are not on this machine: what is truncated is unknown.",
)
TRIGGER_CUT = Rule(
    "trigger-cut-by-clip",
    Severity.warning,
    "The trigger stands behind what a text encoder keeps: that one never reads it.",
)
TOKEN_RULES: tuple[Rule, ...] = (CUT_BY_OTHER, TRIGGER_CUT, CUT_BY_DECISIVE, UNREADABLE_LETTERS, UNCOUNTED)

BLANK_PIECES = frozenset(("▁", "Ġ", "</w>"))
"""How tokenizers write a blank that got no letters."""
LONGEST_SHOWN = 200


@dataclass(frozen=True)
class TokenCount:
    """How long a caption is for one tokenizer, start and end marks included, and the words that it truncates."""

    tokenizer: CaptionTokenizer
    tokens: int
    lost: str = ""


def count_tokens(caption: str, tokenizers: Sequence[CaptionTokenizer]) -> tuple[TokenCount, ...]:
    """What each tokenizer makes of a caption, in their order."""
    return tuple(TokenCount(each, *_truncation(caption, each)) for each in tokenizers)


def windows_in_words(samples: Sequence[Sample], tokenizers: Sequence[CaptionTokenizer]) -> Iterator[str]:
    """How many captions are padded to each length, where a base pads each to one of its own."""
    for tokenizer in tokenizers:
        if tokenizer.window_step:
            captions = {caption for sample in samples for caption in sample.captions or ("",)}
            found = Counter(window_of(each, tokenizer) for each in captions)
            said = ", ".join(f"{window} ({found[window]})" for window in sorted(found))
            more = "; those of different lengths do not share a batch" if len(found) > 1 else ""
            yield f"captions become so many {tokenizer.name} tokens, in steps of {tokenizer.window_step}: {said}{more}"


def window_of(caption: str, by: CaptionTokenizer) -> int:
    """Length of a caption's prompt embeds, where that goes in steps."""
    tokens = min(len(by.tokenizer(caption).input_ids), by.limit) + by.around
    return min(-(-tokens // by.window_step) * by.window_step, by.limit + by.around)


def token_pieces(word: str, tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """What a tokenizer cuts a word into, but for the blank before it."""
    cut = tokenizer.tokenize(word)
    return [piece.replace("</w>", "").lstrip("▁Ġ") for piece in cut if piece not in BLANK_PIECES]


def judge_tokens(
    samples: Sequence[Sample], tokenizers: Sequence[CaptionTokenizer], trigger: str = ""
) -> Iterator[Finding]:
    """Captions that are truncated; each rule speaks once of a sample, of its longest caption."""
    for sample in samples:
        for tokenizer in tokenizers:
            yield from _judge_truncation(sample, tokenizer, trigger)
        for tokenizer in tokenizers:
            if tokenizer.decisive:
                yield from _judge_unknown(sample, tokenizer)


def _judge_truncation(sample: Sample, tokenizer: CaptionTokenizer, trigger: str) -> Iterator[Finding]:
    counts = [count for caption in sample.captions for count in count_tokens(caption, [tokenizer]) if count.lost]
    longest = max(counts, key=lambda count: count.tokens, default=None)
    if not longest:
        return
    name, file = tokenizer.name, caption_name(sample)
    if trigger and not tokenizer.decisive and any(_loses(count.lost, trigger, sample.captions) for count in counts):
        yield TRIGGER_CUT.at(
            sample.image,
            f"says {trigger!r} only behind the {tokenizer.limit} tokens that {name} keeps",
            f"move {trigger} to the front of {file}",
        )
        return
    found = f"has a caption of {longest.tokens} {name} tokens, and {tokenizer.limit} are kept: "
    if tokenizer.decisive:
        yield CUT_BY_DECISIVE.at(
            sample.image,
            f"{found}lost is {_shown(longest.lost)!r}",
            f"shorten {file}, or move what matters to its front",
        )
    else:
        yield CUT_BY_OTHER.at(
            sample.image,
            f"{found}{name} misses {_shown(longest.lost)!r}",
            f"leave {file} as it is, if the trigger and what matters most stand before that",
        )


def _loses(lost: str, trigger: str, captions: Sequence[str]) -> bool:
    """Whether the trigger is in the lost end of one of these captions, and nowhere before it."""
    whole = next(caption for caption in captions if caption.rstrip().endswith(lost))
    return contains_word(trigger, lost) and not contains_word(trigger, whole.rstrip().removesuffix(lost))


def _judge_unknown(sample: Sample, tokenizer: CaptionTokenizer) -> Iterator[Finding]:
    signs = sorted({sign for caption in sample.captions for sign in _unknown(caption, tokenizer.tokenizer)})
    if signs:
        yield UNREADABLE_LETTERS.at(
            sample.image,
            f"has signs in its caption that {tokenizer.name} cannot read: {' '.join(signs[:8])}",
            f"write them in plain letters in {caption_name(sample)}, or leave them out",
        )


def _truncation(caption: str, by: CaptionTokenizer) -> tuple[int, str]:
    """How many tokens a caption has, and its end from the first word that is not whole among those that are kept."""
    limit = by.limit
    read = by.tokenizer(caption, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
    total, marks = len(read.input_ids), sum(read.special_tokens_mask)
    if total <= limit:
        return total, ""
    spans = [span for span, mark in zip(read.offset_mapping, read.special_tokens_mask, strict=True) if not mark]
    start = spans[max(0, limit - marks)][0]
    while 0 < start < len(caption) and not caption[start].isspace() and not caption[start - 1].isspace():
        start -= 1
    return total, caption[start:].strip()


def _unknown(caption: str, tokenizer: "PreTrainedTokenizerBase") -> set[str]:
    """The signs that a tokenizer has no token for."""
    if tokenizer.unk_token_id is None:
        return set()
    read = tokenizer(caption, return_offsets_mapping=True, add_special_tokens=False, verbose=False)
    spans = zip(read.input_ids, read.offset_mapping, strict=True)
    text = "".join(caption[start:end] for token, (start, end) in spans if token == tokenizer.unk_token_id)
    return {sign for sign in text if not sign.isspace()}


def _shown(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1].rstrip()}…"

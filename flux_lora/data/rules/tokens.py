"""What FLUX's two readers hear of a caption: how many tokens, and which words fall off the end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.rules.words import caption_name
from flux_lora.data.samples import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CUT_BY_CLIP = Rule(
    "cut-by-clip",
    Severity.note,
    "CLIP hears 77 tokens and makes one summary of them. T5 hears the rest too, so little is lost.",
)
CUT_BY_T5 = Rule(
    "cut-by-t5",
    Severity.error,
    "What falls off T5's end is heard by nobody: the picture teaches it to the trigger instead.",
)
UNREADABLE_LETTERS = Rule(
    "unreadable-letters",
    Severity.warning,
    "FLUX.1's T5 has no token for some letters (ñ, ë, ø) and signs, and hears one and the same blot for all of them.",
)
UNCOUNTED = Rule(
    "tokens-uncounted", Severity.note, "The base's tokenizers are not at hand, so nobody knows what falls off the end."
)
RULES: tuple[Rule, ...] = (CUT_BY_CLIP, CUT_BY_T5, UNREADABLE_LETTERS, UNCOUNTED)

BLANK_PIECES = frozenset(("▁", "Ġ", "</w>"))
"""How tokenizers write a blank that got no letters."""
LONGEST_SHOWN = 200


@dataclass(frozen=True)
class CaptionTokenizers:
    """The base's own tokenizers, and how many tokens its T5 is given."""

    t5_tokenizer: "PreTrainedTokenizerBase"
    clip_tokenizer: "PreTrainedTokenizerBase"
    t5_limit: int

    @property
    def clip_limit(self) -> int:
        """77 for every CLIP that FLUX was built with."""
        return self.clip_tokenizer.model_max_length


@dataclass(frozen=True)
class TokenCount:
    """How long a caption is for either reader, start and end marks included, and the words that it does not hear."""

    t5: int
    clip: int
    lost_clip: str = ""
    lost_t5: str = ""


def count_tokens(caption: str, readers: CaptionTokenizers) -> TokenCount:
    """What each reader makes of a caption."""
    t5, lost_t5 = _heard(caption, readers.t5_tokenizer, readers.t5_limit)
    clip, lost_clip = _heard(caption, readers.clip_tokenizer, readers.clip_limit)
    return TokenCount(t5=t5, clip=clip, lost_clip=lost_clip, lost_t5=lost_t5)


def token_pieces(word: str, tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """What a tokenizer cuts a word into, but for the blank before it."""
    cut = tokenizer.tokenize(word)
    return [piece.replace("</w>", "").lstrip("▁Ġ") for piece in cut if piece not in BLANK_PIECES]


def judge_tokens(samples: Sequence[Sample], readers: CaptionTokenizers) -> Iterator[Finding]:
    """Captions that a reader hears only in part; each rule speaks once of a sample."""
    for sample in samples:
        counts = [count_tokens(caption, readers) for caption in sample.captions]
        file = caption_name(sample)
        longest = max((count for count in counts if count.lost_t5), key=lambda count: count.t5, default=None)
        if longest:
            yield CUT_BY_T5.at(
                sample.image,
                f"has a caption of {longest.t5} T5 tokens, and {readers.t5_limit} are heard: "
                f"lost is {_shown(longest.lost_t5)!r}",
                f"shorten {file}, or move what matters to its front",
            )
        longest = max((count for count in counts if count.lost_clip), key=lambda count: count.clip, default=None)
        if longest:
            yield CUT_BY_CLIP.at(
                sample.image,
                f"has a caption of {longest.clip} CLIP tokens, and {readers.clip_limit} are heard: "
                f"CLIP misses {_shown(longest.lost_clip)!r}",
                f"leave {file} as it is, if the trigger and what matters most stand before that",
            )
        if signs := sorted({sign for caption in sample.captions for sign in _unknown(caption, readers.t5_tokenizer)}):
            yield UNREADABLE_LETTERS.at(
                sample.image,
                f"has signs in its caption that T5 cannot read: {' '.join(signs[:8])}",
                f"write them in plain letters in {file}, or leave them out",
            )


def _heard(caption: str, tokenizer: "PreTrainedTokenizerBase", limit: int) -> tuple[int, str]:
    """How many tokens a caption has, and its end from the first word that is not whole among those that are heard."""
    read = tokenizer(caption, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
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

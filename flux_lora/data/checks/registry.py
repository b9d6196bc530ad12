"""Every check there is, one row each: its rules, and the function that finds where they are broken.

A new check is a function and its rules in a file of this folder, and a row here.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flux_lora.data.bucketing.plan import Plan
from flux_lora.data.checks.bucket_fit import BUCKET_FIT_RULES, judge_bucket_fit
from flux_lora.data.checks.caption_content import CONTENT_RULES, judge_content
from flux_lora.data.checks.caption_style import REPEAT_RULES, STYLE_RULES, judge_repeats, judge_style
from flux_lora.data.checks.captions import (
    CHARACTER_RULES,
    PRESENCE_RULES,
    judge_characters,
    judge_held_out_captions,
    judge_missing_captions,
)
from flux_lora.data.checks.dataset import DATASET_RULES, judge_dataset
from flux_lora.data.checks.duplicates import DUPLICATE_RULES, judge_duplicates
from flux_lora.data.checks.image_quality import (
    QUALITY_RULES,
    SHARED_MARK_RULES,
    WATERMARK_RULES,
    judge_image_quality,
    judge_shared_marks,
    judge_watermarks,
)
from flux_lora.data.checks.language import LANGUAGE_RULES, judge_language
from flux_lora.data.checks.masks import MASK_RULES, judge_masks
from flux_lora.data.checks.pairs import PAIR_RULES, judge_pairs, judge_unpaired
from flux_lora.data.checks.spelling_variants import SPELLING_RULES, judge_spellings
from flux_lora.data.checks.subject_words import SubjectWords
from flux_lora.data.checks.tokens import TOKEN_RULES, judge_tokens
from flux_lora.data.checks.trigger import SUBJECT_TRAIT_RULES, TRIGGER_RULES, judge_subject_traits, judge_trigger
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.image_stats.lettering import Line
from flux_lora.data.image_stats.measure import ImageStats
from flux_lora.data.samples import Sample
from flux_lora.data.scan import SCAN_RULES, ScannedImage, vectors_of
from flux_lora.data.sources.source import SOURCE_RULES
from flux_lora.errors import DataError
from flux_lora.models.family import CaptionTokenizer


@dataclass(frozen=True, kw_only=True)
class CheckedSet:
    """What a check may look at."""

    samples: Sequence[Sample]
    words: SubjectWords
    tokenizers: Sequence[CaptionTokenizer] = ()
    """Empty where the base's tokenizers are not on this machine: tokens are then not counted."""
    scanned: Sequence[ScannedImage] = ()
    held_out: Sequence[ScannedImage] = ()
    resolution: int = 0
    plan: Plan | None = None
    max_crop: float = 1.0
    """Share of an image that may fall outside its bucket."""

    @property
    def pairs(self) -> bool:
        """Whether images are pairs of before and after, which may all say the same: what is done."""
        return any(sample.references for sample in self.samples)

    @property
    def stats(self) -> list[ImageStats]:
        """Of the images that can be read."""
        return [one.stats for one in self.scanned if one.stats]

    @property
    def held_out_stats(self) -> list[ImageStats]:
        """Of the held-out images that can be read."""
        return [one.stats for one in self.held_out if one.stats]

    @property
    def vectors(self) -> Mapping[Path, NDArray[np.float32]] | None:
        """Embedding by image; None without the extra that computes them."""
        return vectors_of((*self.scanned, *self.held_out))

    @property
    def ocr_lines(self) -> Mapping[Path, tuple[Line, ...]] | None:
        """Words read in each image; None without the extra that reads them."""
        return {one.stats.image: one.lines for one in self.scanned if one.stats and one.lines is not None} or None


@dataclass(frozen=True)
class Check:
    """Rules that are looked at together, and where they are broken."""

    rules: tuple[Rule, ...]
    judge: Callable[[CheckedSet], Iterable[Finding]]


CAPTION_CHECKS = (
    Check(
        PRESENCE_RULES,
        lambda given: chain(
            judge_missing_captions(given.samples, given.words),
            judge_held_out_captions([one.sample for one in given.held_out], given.words),
        ),
    ),
    Check(TRIGGER_RULES, lambda given: judge_trigger(given.samples, given.words, given.tokenizers)),
    Check(TOKEN_RULES, lambda given: judge_tokens(given.samples, given.tokenizers, given.words.trigger)),
    Check(STYLE_RULES, lambda given: judge_style(given.samples, given.words)),
    Check(CONTENT_RULES, lambda given: judge_content(given.samples)),
    Check(CHARACTER_RULES, lambda given: judge_characters(given.samples)),
    Check(SUBJECT_TRAIT_RULES, lambda given: judge_subject_traits(given.samples, given.words)),
    Check(REPEAT_RULES, lambda given: () if given.pairs else judge_repeats(given.samples, given.words)),
    Check(SPELLING_RULES, lambda given: judge_spellings(given.samples, given.words)),
    Check(LANGUAGE_RULES, lambda given: judge_language(given.samples, given.words)),
)
IMAGE_CHECKS = (
    Check(QUALITY_RULES, lambda given: judge_image_quality(given.stats, resolution=given.resolution)),
    Check(MASK_RULES, lambda given: judge_masks(given.scanned)),
    Check(
        PAIR_RULES,
        lambda given: chain(
            judge_unpaired([*given.samples, *(one.sample for one in given.held_out)], given.words),
            judge_pairs([*given.scanned, *given.held_out]),
        ),
    ),
    Check(DUPLICATE_RULES, lambda given: judge_duplicates(given.stats, given.held_out_stats, vectors=given.vectors)),
    Check(WATERMARK_RULES, lambda given: judge_watermarks([one.image for one in given.stats], given.ocr_lines)),
    Check(SHARED_MARK_RULES, lambda given: judge_shared_marks(given.stats)),
    Check(
        DATASET_RULES,
        lambda given: judge_dataset(given.stats, [one.sample for one in given.scanned], given.words),
    ),
)
"""Of images that can be read; nothing is judged where none can."""
PLAN_CHECKS = (
    Check(BUCKET_FIT_RULES, lambda given: judge_bucket_fit(given.plan, given.max_crop) if given.plan else ()),
)

ALL_RULES: tuple[Rule, ...] = (
    *SOURCE_RULES,
    *SCAN_RULES,
    *chain.from_iterable(check.rules for check in (*CAPTION_CHECKS, *IMAGE_CHECKS, *PLAN_CHECKS)),
)
"""Sources and the scan find their own while they read; all others come from the checks above."""


def rule(id: str) -> Rule:
    """The rule of an id."""
    for each in ALL_RULES:
        if each.id == id:
            return each
    near = get_close_matches(id, [each.id for each in ALL_RULES], n=1)
    raise DataError(
        f"no rule of check is called {id!r}",
        fix=f"did you mean {near[0]!r}?" if near else "take an id as check prints it, such as no-caption",
    )


def judge(given: CheckedSet) -> Iterator[Finding]:
    """Everything that is wrong with captions, images and the plan, in the order of the checks."""
    yield from _findings(CAPTION_CHECKS, given)
    yield from chain.from_iterable(one.findings for one in (*given.scanned, *given.held_out))
    if given.stats:
        yield from _findings(IMAGE_CHECKS, given)
    yield from _findings(PLAN_CHECKS, given)


def _findings(checks: Iterable[Check], given: CheckedSet) -> Iterator[Finding]:
    return chain.from_iterable(check.judge(given) for check in checks)


def without_switched_off(findings: Iterable[Finding], off: Container[str]) -> list[Finding]:
    """The findings of rules that are not switched off."""
    return [finding for finding in findings if finding.rule not in off]


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Stop if any finding is fatal, naming all of those that are."""
    fatal = [finding for finding in findings if finding.fatal]
    if not fatal:
        return
    things = "1 thing is" if len(fatal) == 1 else f"{len(fatal)} things are"
    lines = [f"  {finding.file} {finding.problem} -> {finding.fix}" for finding in fatal]
    raise DataError(
        "\n".join([f"{things} in the way of training:", *lines]), fix="do what each line says, then run it again"
    )

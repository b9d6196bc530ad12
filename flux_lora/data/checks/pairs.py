"""Pairs of an edit that do not lie over each other, or between which nothing happens."""

from collections.abc import Iterable, Iterator, Sequence

from flux_lora.config.choices import Severity
from flux_lora.data.checks.subject_words import SubjectWords, common_folder
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.samples import Sample
from flux_lora.data.scan import ScannedImage
from flux_lora.data.sources.source import REFERENCE_MISSING

PAIR_SAME = Rule("pair-same", Severity.warning, "An image that is what it was made from teaches to change nothing.")
PAIR_MOVED = Rule(
    "pair-moved",
    Severity.warning,
    "What is moved or enlarged between before and after is learned too: borders grow with every use.",
)
PAIR_SHAPE = Rule(
    "pair-shape",
    Severity.warning,
    "Before and after of different shapes do not lie over each other; each is taken whole, at a size of its own.",
)
PAIR_RULES: tuple[Rule, ...] = (PAIR_SAME, PAIR_MOVED, PAIR_SHAPE)


def judge_unpaired(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Images of an edit that nothing says what they were made from: one finding where that is so of all."""
    without = [sample for sample in samples if not sample.references]
    if words.kind != "edit" or not without:
        return
    fix = "put the images into two folders, before and after, each pair under one name, or set data.reference_folders"
    if len(without) == len(samples):
        yield REFERENCE_MISSING.at(common_folder(samples), "holds no pairs: no image says what it was before", fix)
        return
    for sample in without:
        yield REFERENCE_MISSING.at(sample.image, "has nothing that says what it was before", fix)


def judge_pairs(scanned: Iterable[ScannedImage]) -> Iterator[Finding]:
    """One finding at most for a reference."""
    for one in scanned:
        for file, pair in zip(one.sample.references, one.pairs, strict=False):
            image, name = one.sample.image, file.name
            if pair is None:
                said = f"has another shape than {file}, which it was made from"
                yield PAIR_SHAPE.at(image, said, "crop both alike, unless the edit is meant to change the shape")
            elif pair.same:
                said = f"is the same image as {file}, which it was made from"
                yield PAIR_SAME.at(image, said, "give the edited image, or take the pair out")
            elif any(pair.moved):
                across, down = pair.moved
                said = f"lies {across:+.1%} across and {down:+.1%} down beside {file.parent.name}/{name}"
                yield PAIR_MOVED.at(image, said, "lay it over what it was made from, to the pixel")
            elif pair.zoom != 1:
                said = f"shows everything at about {pair.zoom:.0%} of its size in {file.parent.name}/{name}"
                yield PAIR_MOVED.at(image, said, "crop and resize both alike")

"""Rows that carry their pictures -> samples. The pictures are put into the cache of pictures first."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from flux_lora.config.choices import MaskMode
from flux_lora.config.material import SourceConfig
from flux_lora.data.findings import Finding
from flux_lora.data.samples import CAPTION_ENDING, Sample
from flux_lora.data.sources.captions import Said, judge_rows, said_beside, sample_of
from flux_lora.data.sources.placed import place_of
from flux_lora.data.sources.rows import Row
from flux_lora.data.sources.rules import IGNORED_FILE
from flux_lora.data.sources.source import Found, Wanted
from flux_lora.data.sources.texts import captions_of
from flux_lora.data.sources.unpacked import keep_picture


def read_packed(rows: Iterable[Row], origin: Path, source: SourceConfig, wanted: Wanted) -> Found:
    """One sample a row. `origin` is the shard, table or dataset that findings name."""
    samples: list[Sample] = []
    unreadable: list[Row] = []
    unread: Counter[str] = Counter()
    for row in rows:
        unread.update(row.unread)
        if row.problem:
            unreadable.append(row)
        elif row.picture is None:
            unreadable.append(Row(row.where, problem="carries no picture"))
        else:
            samples.append(_sample(row, row.picture, origin, source, wanted))
    findings: list[Finding] = list(judge_rows(origin, unreadable))
    if unread:
        parts = ", ".join(f".{ending} ({count})" for ending, count in sorted(unread.items()))
        fix = "nothing to do, unless one of them is a caption: those end in .txt, .caption or .json"
        findings.append(IGNORED_FILE.at(origin, f"holds parts that are left alone: {parts}", fix))
    return Found(tuple(samples), tuple(findings), (f"{origin}: {len(samples)} pictures put into {wanted.unpacked}",))


def _sample(row: Row, picture: bytes, origin: Path, source: SourceConfig, wanted: Wanted) -> Sample:
    """Without words in its row it has those of a caption file beside the picture in the cache, if one was written."""
    kept = str(keep_picture(picture, row.name, wanted.unpacked))
    lines = wanted.caption_lines
    said = Said(
        origin, tuple(each for text in row.texts for each in captions_of(text, lines)), row.encoding, box=row.box
    )
    beside = place_of(kept) + CAPTION_ENDING
    written = [said_beside(beside, lines)] if not said.captions and Path(beside).is_file() else []
    mask = row.mask if wanted.masks is MaskMode.auto else None
    mask_file = str(keep_picture(mask, f"{Path(row.name).stem}_mask", wanted.unpacked)) if mask else None
    return sample_of(kept, written or [said], source, repeats=1, mask=mask_file)

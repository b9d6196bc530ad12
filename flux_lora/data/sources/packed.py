"""Rows that carried their pictures -> samples."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from flux_lora.config.choices import MaskMode
from flux_lora.config.material import SourceConfig
from flux_lora.data.findings import Finding
from flux_lora.data.samples import CAPTION_ENDING, Sample
from flux_lora.data.sources.captions import CaptionSource, judge_rows, sample_of, sidecar_caption
from flux_lora.data.sources.placed import stem_place
from flux_lora.data.sources.rules import IGNORED_FILE
from flux_lora.data.sources.source import Found, SourceOptions
from flux_lora.data.sources.texts import captions_of
from flux_lora.data.sources.unpacked import UnpackedFile, UnpackedRow


def samples_of_rows(rows: Iterable[UnpackedRow], origin: Path, source: SourceConfig, wanted: SourceOptions) -> Found:
    """One sample a row. `origin` is the shard, table or dataset that findings name."""
    samples: list[Sample] = []
    unreadable: list[UnpackedRow] = []
    unread: Counter[str] = Counter()
    for row in rows:
        unread.update(row.unread)
        if row.picture:
            samples.append(_sample(row, row.picture, origin, source, wanted))
        else:
            unreadable.append(row)
    findings: list[Finding] = list(judge_rows(origin, [(row.where, row.problem) for row in unreadable]))
    if unread:
        parts = ", ".join(f".{ending} ({count})" for ending, count in sorted(unread.items()))
        fix = "nothing to do, unless one of them is a caption: those end in .txt, .caption or .json"
        findings.append(IGNORED_FILE.at(origin, f"holds parts that are left alone: {parts}", fix))
    return Found(tuple(samples), tuple(findings), (f"{origin}: {len(samples)} pictures, kept in {wanted.unpacked}",))


def _sample(
    row: UnpackedRow, picture: UnpackedFile, origin: Path, source: SourceConfig, wanted: SourceOptions
) -> Sample:
    """Without words in its row it has those of a caption file beside the picture in the cache, if one was written."""
    lines = wanted.caption_lines
    captions = tuple(each for text in row.texts for each in captions_of(text, lines))
    beside = stem_place(picture.path) + CAPTION_ENDING
    written = [sidecar_caption(beside, lines)] if not captions and Path(beside).is_file() else []
    said = CaptionSource(origin, captions, row.encoding, box=row.box)
    mask = row.mask.path if row.mask and wanted.masks is MaskMode.auto else None
    return sample_of(picture.path, [*written, said], source, repeats=1, mask=mask)

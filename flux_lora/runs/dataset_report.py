"""Gather what is known of the images into the dataset page."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from flux_lora.config.schema import RunConfig
from flux_lora.data.bucketing.plan import Prepared
from flux_lora.data.checks.bucket_fit import steps_in_words
from flux_lora.data.checks.duplicates import DUPLICATE_RULES
from flux_lora.data.checks.registry import ALL_RULES
from flux_lora.data.checks.subject_words import contains_class_word, contains_word
from flux_lora.data.checks.tokens import count_tokens
from flux_lora.data.report.cards import Card
from flux_lora.data.report.page import DatasetReport, TokenizerColumn, name_in, write_dataset_report
from flux_lora.data.scan import ScannedImage
from flux_lora.runs.dataset import RunDataset, reasons_off
from flux_lora.runs.run import Run


def write_run_dataset_report(run: Run, dataset: RunDataset) -> Path:
    """Write dataset/report.html; the dataset must have been read with its thumbnails."""
    config = run.config
    folder = Path(config.data.folder).expanduser()
    same = {rule.id for rule in DUPLICATE_RULES}
    groups = [(each.file, *each.others) for each in dataset.findings if each.rule in same and each.others]
    page = DatasetReport(
        title=f"{config.data.trigger} {config.data.class_word}",
        folder=folder,
        when=f"{datetime.now():%d %B %Y, %H:%M}",
        trigger=config.data.trigger,
        class_word=config.data.class_word,
        sentence=dataset.summary,
        steps_said=_steps(config, dataset),
        remarks=dataset.remarks,
        cards=tuple(_cards(config, dataset, folder)),
        findings=dataset.findings,
        rules=ALL_RULES,
        twins=tuple(tuple(name_in(folder, one) for one in group) for group in groups),
        off=reasons_off(config.check),
        tokenizers=tuple(TokenizerColumn(one.name, one.limit, one.decisive) for one in dataset.tokenizers),
    )
    return write_dataset_report(page, run.folder.dataset_page)


def _steps(config: RunConfig, dataset: RunDataset) -> str:
    return steps_in_words(dataset.plan, config.train) if dataset.plan else ""


def _cards(config: RunConfig, dataset: RunDataset, folder: Path) -> Iterator[Card]:
    """One for each image in each bucket; images that cannot be read, and held-out ones, are in none."""
    placed: dict[Path, list[Prepared]] = {}
    for one in dataset.plan.prepared if dataset.plan else ():
        placed.setdefault(one.sample.image, []).append(one)
    for scanned in dataset.scanned:
        for prepared in placed.get(scanned.sample.image) or [None]:
            yield _card(config, dataset, scanned, folder, prepared=prepared)
    for scanned in dataset.scanned_held_out:
        yield _card(config, dataset, scanned, folder, held_out=True)


def _card(
    config: RunConfig,
    dataset: RunDataset,
    scanned: ScannedImage,
    folder: Path,
    *,
    prepared: Prepared | None = None,
    held_out: bool = False,
) -> Card:
    sample, stats, words = scanned.sample, scanned.stats, config.data
    counts = [[count.tokens for count in count_tokens(caption, dataset.tokenizers)] for caption in sample.captions]
    longest = max(counts, key=lambda tokens: tokens[:1], default=[0] * len(dataset.tokenizers))
    box = prepared.box if prepared else None
    return Card(
        name=name_in(folder, sample.image),
        thumbnail=scanned.thumbnail,
        width=stats.width if stats else 0,
        height=stats.height if stats else 0,
        bucket=(prepared.bucket.width, prepared.bucket.height) if prepared else (0, 0),
        box=(box.left, box.top, box.right, box.bottom) if box else (0.0, 0.0, 0.0, 0.0),
        scale=prepared.scale if prepared else 1.0,
        cropped=prepared.cropped if prepared else 0.0,
        exposures=prepared.exposures if prepared else 0,
        mask=scanned.outline,
        before=scanned.thumbnails_before,
        caption=sample.caption,
        variants=sample.variants,
        tokens=tuple(longest),
        says_trigger=all(contains_word(words.trigger, caption) for caption in sample.captions)
        and bool(sample.captions),
        says_class=all(contains_class_word(words.class_word, caption) for caption in sample.captions)
        and bool(sample.captions),
        caption_file=name_in(folder, sample.caption_file) if sample.caption_file else "",
        notes=scanned.notes,
        group=str(sample.image.parent),
        held_out=held_out,
        regularisation=sample.role.value == "regularisation",
    )

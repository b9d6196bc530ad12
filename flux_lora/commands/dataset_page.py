"""Gather what is known of the pictures into the dataset page."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from flux_lora.commands.material import RunDataset, reasons_off
from flux_lora.config.schema import RunConfig
from flux_lora.data.page.cards import Card
from flux_lora.data.page.page import DatasetReport, name_in, write_dataset_report
from flux_lora.data.planning.plan import Prepared
from flux_lora.data.rules.catalogue import ALL_RULES
from flux_lora.data.rules.fit import steps_in_words
from flux_lora.data.rules.tokens import TokenCount, count_tokens
from flux_lora.data.rules.twins import RULES as TWINS
from flux_lora.data.rules.words import contains_class_word, contains_word
from flux_lora.data.seen import ScannedImage


def write_dataset_page(config: RunConfig, material: RunDataset, file: Path) -> Path:
    """Write the page; the material must have been read with its small copies."""
    folder = Path(config.data.folder).expanduser()
    same = {rule.id for rule in TWINS}
    groups = [(each.file, *each.others) for each in material.findings if each.rule in same and each.others]
    page = DatasetReport(
        title=f"{config.data.trigger} {config.data.class_word}",
        folder=folder,
        when=f"{datetime.now():%d %B %Y, %H:%M}",
        trigger=config.data.trigger,
        class_word=config.data.class_word,
        sentence=material.summary,
        steps_said=_steps(config, material),
        remarks=material.remarks,
        cards=tuple(_cards(config, material, folder)),
        findings=material.findings,
        rules=ALL_RULES,
        twins=tuple(tuple(name_in(folder, one) for one in group) for group in groups),
        off=reasons_off(config.check),
        t5_limit=config.model.text_tokens,
    )
    return write_dataset_report(page, file)


def _steps(config: RunConfig, material: RunDataset) -> str:
    return steps_in_words(material.plan, config.train.batch_size, config.train.steps) if material.plan else ""


def _cards(config: RunConfig, material: RunDataset, folder: Path) -> Iterator[Card]:
    """One for each picture in each bucket; pictures that cannot be read, and held-out ones, are in none."""
    placed: dict[Path, list[Prepared]] = {}
    for one in material.plan.prepared if material.plan else ():
        placed.setdefault(one.sample.image, []).append(one)
    for seen in material.scanned:
        for prepared in placed.get(seen.sample.image) or [None]:
            yield _card(config, material, seen, folder, prepared=prepared)
    for seen in material.scanned_held_out:
        yield _card(config, material, seen, folder, held_out=True)


def _card(
    config: RunConfig,
    material: RunDataset,
    seen: ScannedImage,
    folder: Path,
    *,
    prepared: Prepared | None = None,
    held_out: bool = False,
) -> Card:
    sample, look, wanted = seen.sample, seen.stats, config.data
    counts = [count_tokens(caption, material.tokenizers) for caption in sample.captions] if material.tokenizers else []
    longest = max(counts, key=lambda count: count.t5, default=TokenCount(0, 0))
    box = prepared.box if prepared else None
    return Card(
        name=name_in(folder, sample.image),
        thumbnail=seen.thumbnail,
        width=look.width if look else 0,
        height=look.height if look else 0,
        bucket=(prepared.bucket.width, prepared.bucket.height) if prepared else (0, 0),
        box=(box.left, box.top, box.right, box.bottom) if box else (0.0, 0.0, 0.0, 0.0),
        scale=prepared.scale if prepared else 1.0,
        cropped=prepared.cropped if prepared else 0.0,
        exposures=prepared.exposures if prepared else 0,
        mask=seen.outline,
        caption=sample.caption,
        variants=sample.variants,
        t5=longest.t5,
        clip=longest.clip,
        says_trigger=all(contains_word(wanted.trigger, caption) for caption in sample.captions)
        and bool(sample.captions),
        says_class=all(contains_class_word(wanted.class_word, caption) for caption in sample.captions)
        and bool(sample.captions),
        caption_file=name_in(folder, sample.caption_file) if sample.caption_file else "",
        notes=seen.notes,
        group=str(sample.image.parent),
        held_out=held_out,
        regularisation=sample.role.value == "regularisation",
    )

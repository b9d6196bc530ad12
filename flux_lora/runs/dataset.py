"""The dataset of a run: training and held-out images, evaluation prompts, bucket plan, findings."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flux_lora.config.choices import AlphaPolicy, MaskMode, Severity
from flux_lora.config.data import CheckConfig, DataConfig, SourceConfig
from flux_lora.config.rules import broken_sizes
from flux_lora.data.bucketing.crops import protected_box
from flux_lora.data.bucketing.plan import BucketOptions, Plan, Prepared, plan
from flux_lora.data.cache.index import SubjectBoxes
from flux_lora.data.checks.dataset import dataset_summary
from flux_lora.data.checks.registry import CheckedSet, judge, without_switched_off
from flux_lora.data.checks.subject_words import SubjectWords
from flux_lora.data.checks.tokens import UNCOUNTED, windows_in_words
from flux_lora.data.findings import Finding
from flux_lora.data.held_out import choose_held_out, held_out_in_words
from flux_lora.data.image_stats.copies import can_embed, load_embed
from flux_lora.data.image_stats.lettering import can_read, load_read
from flux_lora.data.samples import Sample
from flux_lora.data.scan import ScannedImage, ScanOptions, scan_all, vectors_of
from flux_lora.data.sources.captions import named
from flux_lora.data.sources.find import find
from flux_lora.data.sources.references import AFTER, BEFORE, pair_folders
from flux_lora.data.sources.source import REFERENCE_MISSING, UNUSED_REFERENCE, Found, SourceOptions
from flux_lora.errors import ConfigError, ModelError
from flux_lora.evaluate.prompts import Suite, read_prompts, standard_prompts
from flux_lora.models.family import CaptionTokenizer
from flux_lora.runs.resume import begun_without_lots
from flux_lora.runs.run import Run

HELD_OUT = "held_out"
PAIRING = (REFERENCE_MISSING.id, UNUSED_REFERENCE.id)
"""What is wrong with held-out pairs binds, too: without what was before there is nothing to judge."""


@dataclass(frozen=True)
class RunDataset:
    """All that is known of the images before a model is loaded."""

    samples: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    suite: Suite
    findings: tuple[Finding, ...]
    scanned: tuple[ScannedImage, ...] = ()
    scanned_held_out: tuple[ScannedImage, ...] = ()
    """The held-out images, looked at."""
    held_out_by_lot: bool = False
    """Whether the held-out images were taken from the sources, because there was no folder of them."""
    subject_boxes: SubjectBoxes | None = None
    """What of the images crops must keep; new things are to be written into the cache."""
    plan: Plan | None = None
    """None where no image can be read."""
    tokenizers: tuple[CaptionTokenizer, ...] = ()
    """Empty where the base is not on this machine."""
    remarks: tuple[str, ...] = ()
    summary: str = ""
    """What the set can teach, and what it cannot."""

    @property
    def planned(self) -> Plan:
        """The plan of a dataset that was not refused."""
        assert self.plan is not None, "a dataset without a readable image is refused"
        return self.plan

    @property
    def has_warnings(self) -> bool:
        """Whether strict=true would stop here."""
        return any(finding.severity is Severity.warning for finding in self.findings)


def read_dataset(run: Run, *, draws: bool = False) -> RunDataset:
    """Find the samples, held-out ones and prompts, and judge all of them. Nothing is written.

    Raises ConfigError where a side in pixels is not one of the base's.
    `draws` keeps a small copy of each image, for a page.
    """
    wanted = run.config.data
    _refuse_broken_sizes(run)
    found = _found(wanted)
    looked = _looked_at(run, found, draws=draws)
    samples, readable = tuple(one.sample for one in looked.trained), [one for one in looked.trained if one.stats]
    words = SubjectWords(wanted.trigger, wanted.class_word, wanted.kind.value)
    tokenizers, boxes = _tokenizers(run), _subject_boxes(run)
    sizes = {one.sample.image: (one.stats.width, one.stats.height) for one in readable if one.stats}
    planned = _plan(run, [one.sample for one in readable], sizes, boxes)
    checked = CheckedSet(
        samples=samples,
        words=words,
        tokenizers=tokenizers,
        scanned=looked.trained,
        held_out=looked.held_out,
        resolution=wanted.resolution,
        plan=planned,
        max_crop=wanted.max_crop,
    )
    paired = _unused_by_either((*found.findings, *looked.findings), (*looked.trained, *looked.held_out))
    findings = [*paired, *judge(checked), *(() if tokenizers else (_uncounted(run),))]
    windows = windows_in_words(samples, tokenizers)
    return RunDataset(
        samples=tuple(one.sample for one in readable),
        held_out=tuple(one.sample for one in looked.held_out if one.stats),
        suite=_suite(wanted),
        findings=tuple(without_switched_off(findings, reasons_off(run.config.check))),
        scanned=looked.trained,
        scanned_held_out=looked.held_out,
        held_out_by_lot=looked.by_lot,
        subject_boxes=boxes,
        plan=planned,
        tokenizers=tokenizers,
        remarks=(*found.remarks, *looked.remarks, *_masked_by_alpha(wanted, looked.trained), *windows),
        summary=dataset_summary([one.stats for one in readable if one.stats], samples, words),
    )


@dataclass(frozen=True)
class _LookedAt:
    """Every image, and on which side it is."""

    trained: tuple[ScannedImage, ...]
    held_out: tuple[ScannedImage, ...]
    by_lot: bool = False
    remarks: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def _looked_at(run: Run, found: Found, *, draws: bool) -> _LookedAt:
    """The images of the sources, and those of the held-out folder; without one, some of the sources' are held out."""
    wanted, beside = run.config.data, _held_out(run.config.data)
    compared = beside.samples
    options = ScanOptions(
        alpha=wanted.alpha,
        embed=load_embed() if can_embed() else None,
        read=load_read() if can_read() else None,
        draws=draws,
    )
    with run.feedback.progress("looking at") as progress:
        scanned = tuple(scan_all([*found.samples, *compared], options, progress=progress))
    lots = wanted.held_out_images and not compared
    if not lots or begun_without_lots(run.folder.root, run.config.train.resume):
        trained, held_out = scanned[: len(found.samples)], scanned[len(found.samples) :]
        return _LookedAt(trained, held_out, findings=beside.findings)
    chosen = choose_held_out(scanned, wanted.held_out_images, vectors_of(scanned))
    held_out = {one.sample.image: one for one in scanned if one.sample.image in chosen}  # a file of two sources is one
    return _LookedAt(
        trained=tuple(one for one in scanned if one.sample.image not in chosen),
        held_out=tuple(held_out.values()),
        by_lot=bool(chosen),
        remarks=(held_out_in_words(chosen, len(scanned)),),
    )


def _unused_by_either(findings: Sequence[Finding], scanned: Sequence[ScannedImage]) -> Iterator[Finding]:
    """Without those on references that the other side uses: trained and held-out pairs may share folders."""
    used = {file for one in scanned for file in one.sample.references}
    yield from (each for each in findings if each.rule != UNUSED_REFERENCE.id or each.file not in used)


def _beside_pairs(wanted: DataConfig) -> Iterator[str]:
    """What lies beside the folders of pairs, and is not read."""
    folder = Path(wanted.folder).expanduser()
    if _pair_folders(wanted):
        read = (BEFORE, AFTER, HELD_OUT, "readme")
        left = [each.name for each in sorted(folder.iterdir()) if each.stem.casefold() not in read]
        if shown := [name for name in left if not name.startswith(".")]:
            yield f"{folder}: beside before and after left alone: {named(shown)}; masks and tables belong into after"


def refuse_unpaired(run: Run, dataset: RunDataset) -> None:
    """Raises ConfigError where images have other numbers of references than others, or more than the base takes."""
    samples, most = [*dataset.samples, *dataset.held_out], run.family.most_references
    counts = {len(sample.references): sample for sample in samples}
    if len(counts) > 1:
        fewest, many = min(counts), max(counts)
        raise ConfigError(
            f"{counts[fewest].image} has {fewest} references, and {counts[many].image} has {many}",
            fix="give every image as many, in the same order",
        )
    if max(counts, default=0) > most:
        raise ConfigError(
            f"each image has {max(counts)} references, and {run.family.name} takes {most or 'none'}",
            fix="leave some out" if most else "train on another base, such as model=flux_kontext",
        )


def planned_held_out(run: Run, dataset: RunDataset) -> tuple[Prepared, ...]:
    """Held-out images at the first resolution, where they are asked about: for their loss, and as pairs. One without a
    caption is asked for by trigger and class; a pair by what most of the trained ones say."""
    data, pairs = run.config.data, run.config.data.edits
    if not dataset.held_out or not (run.config.evaluate.held_out_losses or pairs):
        return ()
    said = Counter(sample.caption for sample in dataset.samples).most_common(1)
    words = said[0][0] if pairs else f"a {data.trigger} {data.class_word}"
    asked = [replace(each, caption=each.caption or words, repeats=1) for each in dataset.held_out]
    options = dataset.planned.options
    return plan(asked, replace(options, resolutions=options.resolutions[:1])).prepared


def outline_dataset(run: Run, sizes: Mapping[Path, tuple[int, int]]) -> RunDataset:
    """What encoding needs, for a process beside the one that judged: that one's sizes, and no image is decoded."""
    found = _found(run.config.data)
    readable = [sample for sample in found.samples if sample.image in sizes]
    planned = _plan(run, readable, sizes, _subject_boxes(run))
    return RunDataset(tuple(readable), (), _suite(run.config.data), (), plan=planned)


def sizes_to_json(dataset: RunDataset) -> str:
    """Every image that was planned for and its size, to be told to the other processes."""
    return json.dumps({str(one.sample.image): one.size for one in dataset.planned.prepared})


def sizes_from_json(text: str) -> dict[Path, tuple[int, int]]:
    """What `sizes_to_json` wrote."""
    return {Path(file): (width, height) for file, (width, height) in json.loads(text).items()}


def _masked_by_alpha(wanted: DataConfig, seen: Sequence[ScannedImage]) -> Iterator[str]:
    """That transparency is the mask is said like any other mask."""
    masked = sum(bool(one.stats and one.stats.masked and one.sample.mask is None) for one in seen)
    if masked and wanted.alpha is AlphaPolicy.mask and wanted.masks is MaskMode.auto:
        yield f"{masked} of {len(seen)} images are masked by their transparency; masked loss on"


def reasons_off(wanted: CheckConfig) -> dict[str, str]:
    """Rule -> why it does not bind."""
    return {each.rule: each.reason for each in wanted.off}


def sources_of(wanted: DataConfig) -> list[SourceConfig]:
    """data.folder, and what data.sources adds. Of a folder of pairs, what the images became is the source."""
    pairs = _pair_folders(wanted)
    first = SourceConfig(
        path=str(pairs[1]) if pairs else wanted.folder,
        repeats=wanted.repeats,
        prefix=wanted.prefix,
        suffix=wanted.suffix,
        image_column=wanted.image_column,
        caption_column=wanted.caption_column,
    )
    return [first, *wanted.sources]


def _found(wanted: DataConfig) -> Found:
    found = find(sources_of(wanted), source_options(wanted))
    return replace(found, remarks=(*found.remarks, *_beside_pairs(wanted)))


def _held_out(wanted: DataConfig) -> Found:
    """Images that are only looked at: what is wrong with their captions binds nobody."""
    folder = Path(wanted.held_out).expanduser() if wanted.held_out else _held_out_folder(wanted)
    if folder is None:
        return Found()
    elsewhere = () if pair_folders(folder) else wanted.reference_folders
    own = replace(wanted, folder=str(folder), reference_folders=elsewhere)
    source = replace(sources_of(own)[0], repeats=1)  # what goes around captions goes around these
    found = find([source], replace(source_options(own), mask_folder=None, apart=()))
    return Found(samples=found.samples, findings=tuple(each for each in found.findings if each.rule in PAIRING))


def _held_out_folder(wanted: DataConfig) -> Path | None:
    """The folder of that name, in any case, beside or among the photos."""
    folder = _photos_folder(wanted)
    inside = folder.iterdir() if folder.is_dir() else ()
    return next((each for each in sorted(inside) if each.name.casefold() == HELD_OUT and each.is_dir()), None)


def _photos_folder(wanted: DataConfig) -> Path:
    """data.folder, or the folder of the table or shard that it names."""
    place = Path(wanted.folder).expanduser()
    return place.parent if place.is_file() else place


def _refuse_broken_sizes(run: Run) -> None:
    broken = list(broken_sizes(run.config, run.family.pixels_per_token))
    if broken:
        raise ConfigError("\n".join(problem for problem, _ in broken), fix="\n     ".join(fix for _, fix in broken))


def source_options(wanted: DataConfig) -> SourceOptions:
    """How the sources are read; what is held out is never trained on, wherever it lies."""
    return SourceOptions(
        recursive=wanted.recursive,
        caption_lines=wanted.caption_lines,
        masks=wanted.masks,
        mask_folder=Path(wanted.mask_folder) if wanted.mask_folder else None,
        pairs=wanted.edits,
        reference_folders=tuple(_reference_folders(wanted)),
        apart=(Path(wanted.held_out).expanduser(),) if wanted.held_out else (),
    )


def _pair_folders(wanted: DataConfig) -> tuple[Path, Path] | None:
    """Those of data.folder, for an edit."""
    return pair_folders(Path(wanted.folder).expanduser()) if wanted.edits else None


def _reference_folders(wanted: DataConfig) -> Iterator[Path]:
    """Those that are named, else the one of a folder of pairs."""
    pairs = _pair_folders(wanted)
    chosen = [Path(each).expanduser() for each in wanted.reference_folders]
    yield from chosen or ([pairs[0]] if pairs else [])


def _subject_boxes(run: Run) -> SubjectBoxes:
    crop, alpha = run.config.data.crop, run.config.data.alpha
    find_box = partial(protected_box, crop=crop, alpha=alpha)
    return SubjectBoxes(run.folder.cache, find_box, crop.value, alpha.value)


def _plan(
    run: Run, readable: Sequence[Sample], sizes: Mapping[Path, tuple[int, int]], boxes: SubjectBoxes
) -> Plan | None:
    """Buckets and crops for the images that can be read."""
    data, train = run.config.data, run.config.train
    options = BucketOptions(
        step=run.family.pixels_per_token,
        resolutions=(data.resolution, *data.more_resolutions),
        batch_size=train.batch_size,
        crop=data.crop,
        alpha=data.alpha,
        max_upscale=data.max_upscale,
        max_crop=data.max_crop,
        seed=train.seed,
    )
    return plan(readable, options, sizes=sizes.__getitem__, keep=boxes.box_of) if readable else None


def _tokenizers(run: Run) -> tuple[CaptionTokenizer, ...]:
    try:
        return run.family.load_tokenizers(run.source)
    except ModelError:
        return ()


def _uncounted(run: Run) -> Finding:
    return UNCOUNTED.at(
        Path(run.config.data.folder),
        f"has captions whose tokens were not counted: {run.source.path} is not on this machine",
        "fetch the model, or its tokenizers' folders alone, and check again",
    )


def _suite(wanted: DataConfig) -> Suite:
    """Edits are judged by their pairs, and by no prompts."""
    if wanted.edits:
        return Suite((), (), ())
    file = Path(wanted.prompts).expanduser() if wanted.prompts else _photos_folder(wanted) / "prompts.txt"
    if wanted.prompts or file.is_file():
        return read_prompts(file, wanted.trigger, wanted.class_word)
    return standard_prompts(wanted.kind, wanted.trigger, wanted.class_word)

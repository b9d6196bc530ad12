"""What a run learns from, what it is compared with, what it is asked, and all that is wrong with it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flux_lora.commands.progress import bar
from flux_lora.commands.run_folder import folder_of
from flux_lora.config.choices import AlphaPolicy, MaskMode
from flux_lora.config.material import CheckConfig, DataConfig, SourceConfig
from flux_lora.config.schema import RunConfig
from flux_lora.data.cache.recall import SubjectBoxes
from flux_lora.data.findings import Finding
from flux_lora.data.judge import judge_captions, judge_images, without_switched_off
from flux_lora.data.looks.deep import can_embed, load_embed
from flux_lora.data.looks.reading import can_read, load_read
from flux_lora.data.planning.crops import protected_box
from flux_lora.data.planning.plan import BucketOptions, Plan, plan
from flux_lora.data.rules.fit import judge_bucket_fit
from flux_lora.data.rules.tokens import UNCOUNTED, CaptionTokenizers
from flux_lora.data.rules.whole import dataset_summary
from flux_lora.data.rules.words import SubjectWords
from flux_lora.data.samples import Sample
from flux_lora.data.seen import ScannedImage, ScanOptions, scan_all
from flux_lora.data.sources.find import find
from flux_lora.data.sources.source import Found, SourceOptions
from flux_lora.errors import ModelError
from flux_lora.evaluate.prompts import Suite, read_prompts, standard_prompts
from flux_lora.models.flux1.tokenizers import load_tokenizers

HELD_OUT = "held_out"


@dataclass(frozen=True)
class RunDataset:
    """All that is known of the pictures before a model is loaded."""

    samples: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    suite: Suite
    findings: tuple[Finding, ...]
    scanned: tuple[ScannedImage, ...] = ()
    scanned_held_out: tuple[ScannedImage, ...] = ()
    """The held-out pictures, looked at."""
    subject_boxes: SubjectBoxes | None = None
    """What of the pictures crops must keep; new things are to be written into the cache."""
    plan: Plan | None = None
    """None where no picture can be read."""
    tokenizers: CaptionTokenizers | None = None
    remarks: tuple[str, ...] = ()
    summary: str = ""
    """What the set can teach, and what it cannot."""

    @property
    def planned(self) -> Plan:
        """The plan of material that was not refused."""
        assert self.plan is not None, "material without a readable picture is refused"
        return self.plan


def read_dataset(config: RunConfig, *, draws: bool = False) -> RunDataset:
    """Find the samples, held-out ones and prompts, and judge all of them. Nothing is written.

    `draws` keeps a small copy of each picture, for a page.
    """
    wanted = config.data
    found, compared = _found(wanted), _held_out(wanted)
    words = SubjectWords(wanted.trigger, wanted.class_word, wanted.kind.value)
    readers = _readers(config)
    eye = ScanOptions(
        alpha=wanted.alpha,
        embed=load_embed() if can_embed() else None,
        read=load_read() if can_read() else None,
        draws=draws,
    )
    with bar("looking at") as told:
        looked = scan_all([*found.samples, *compared.samples], eye, progress=told)
    seen, apart = looked[: len(found.samples)], looked[len(found.samples) :]
    sizes = {one.sample.image: (one.stats.width, one.stats.height) for one in seen if one.stats}
    recall = _recall(config)
    planned = _plan(config, [one.sample for one in seen if one.stats], sizes, recall)
    findings = [
        *found.findings,
        *judge_captions(found.samples, words, readers),
        *judge_images(seen, apart, words, resolution=wanted.resolution),
        *(judge_bucket_fit(planned, wanted.allow_crop) if planned else ()),
        *(() if readers else (_uncounted(config, wanted),)),
    ]
    return RunDataset(
        samples=found.samples,
        held_out=compared.samples,
        suite=_suite(wanted),
        findings=tuple(without_switched_off(findings, reasons_off(config.check))),
        scanned=tuple(seen),
        scanned_held_out=tuple(apart),
        subject_boxes=recall,
        plan=planned,
        tokenizers=readers,
        remarks=(*found.remarks, *compared.remarks, *_masked_by_alpha(wanted, seen)),
        summary=dataset_summary([one.stats for one in seen if one.stats], found.samples, words),
    )


def outline_dataset(config: RunConfig, sizes: Mapping[Path, tuple[int, int]]) -> RunDataset:
    """What encoding needs, for a process beside the one that judged: that one's sizes, and no picture is decoded."""
    found = _found(config.data)
    readable = [sample for sample in found.samples if sample.image in sizes]
    return RunDataset(found.samples, (), _suite(config.data), (), plan=_plan(config, readable, sizes, _recall(config)))


def sizes_to_json(material: RunDataset) -> str:
    """Every picture that was planned for and its size, to be told to the other processes."""
    return json.dumps({str(one.sample.image): one.size for one in material.planned.prepared})


def sizes_from_json(said: str) -> dict[Path, tuple[int, int]]:
    """What `said_sizes` wrote."""
    return {Path(file): (width, height) for file, (width, height) in json.loads(said).items()}


def _masked_by_alpha(wanted: DataConfig, seen: Sequence[ScannedImage]) -> Iterator[str]:
    """That transparency is the mask is said like any other mask."""
    masked = sum(bool(one.stats and one.stats.masked and one.sample.mask is None) for one in seen)
    if masked and wanted.alpha is AlphaPolicy.mask and wanted.masks is MaskMode.auto:
        yield f"{masked} of {len(seen)} images are masked by their transparency; masked loss on"


def reasons_off(wanted: CheckConfig) -> dict[str, str]:
    """Rule -> why it does not bind."""
    return {each.rule: each.reason for each in wanted.off}


def sources_of(wanted: DataConfig) -> list[SourceConfig]:
    """data.folder, and what data.sources adds."""
    first = SourceConfig(
        path=wanted.folder,
        repeats=wanted.repeats,
        prefix=wanted.prefix,
        suffix=wanted.suffix,
        image_column=wanted.image_column,
        caption_column=wanted.caption_column,
    )
    return [first, *wanted.sources]


def _found(wanted: DataConfig) -> Found:
    return find(sources_of(wanted), source_options(wanted))


def _held_out(wanted: DataConfig) -> Found:
    """Pictures that are only looked at: what is wrong with their captions binds nobody."""
    folder = Path(wanted.held_out or Path(wanted.folder) / HELD_OUT).expanduser()
    if not wanted.held_out and not folder.is_dir():
        return Found()
    found = find([SourceConfig(path=str(folder))], replace(source_options(wanted), mask_folder=None, apart=()))
    return Found(samples=found.samples)


def source_options(wanted: DataConfig) -> SourceOptions:
    """How the sources are read; what is held out is never trained on, wherever it lies."""
    return SourceOptions(
        recursive=wanted.recursive,
        caption_lines=wanted.caption_lines,
        masks=wanted.masks,
        mask_folder=Path(wanted.mask_folder) if wanted.mask_folder else None,
        apart=(Path(wanted.held_out).expanduser(),) if wanted.held_out else (),
    )


def _recall(config: RunConfig) -> SubjectBoxes:
    crop, alpha = config.data.crop, config.data.alpha
    return SubjectBoxes(
        folder_of(config).cache, partial(protected_box, crop=crop, alpha=alpha), crop.value, alpha.value
    )


def _plan(
    config: RunConfig, readable: Sequence[Sample], sizes: Mapping[Path, tuple[int, int]], recall: SubjectBoxes
) -> Plan | None:
    """Buckets and crops for the pictures that can be read."""
    wish = BucketOptions(
        resolutions=(config.data.resolution, *config.data.more_resolutions),
        batch_size=config.train.batch_size,
        crop=config.data.crop,
        alpha=config.data.alpha,
        most_enlarged=config.data.most_enlarged,
        most_cropped=config.data.allow_crop,
        seed=config.train.seed,
    )
    return plan(readable, wish, sizes=sizes.__getitem__, keep=recall.box_of) if readable else None


def _readers(config: RunConfig) -> CaptionTokenizers | None:
    try:
        clip, t5 = load_tokenizers(config.model.path, config.model.revision)
    except ModelError:
        return None
    return CaptionTokenizers(t5_tokenizer=t5, clip_tokenizer=clip, t5_limit=config.model.text_tokens)


def _uncounted(config: RunConfig, wanted: DataConfig) -> Finding:
    return UNCOUNTED.at(
        Path(wanted.folder),
        f"has captions whose tokens were not counted: {config.model.path} is not on this machine",
        "fetch the model, or its tokenizer and tokenizer_2 folders alone, and check again",
    )


def _suite(wanted: DataConfig) -> Suite:
    file = Path(wanted.prompts).expanduser() if wanted.prompts else Path(wanted.folder).expanduser() / "prompts.txt"
    if wanted.prompts or file.is_file():
        return read_prompts(file, wanted.trigger, wanted.class_word)
    return standard_prompts(wanted.trigger, wanted.class_word)

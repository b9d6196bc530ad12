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
from flux_lora.data.cache.recall import Recall
from flux_lora.data.findings import Finding
from flux_lora.data.judge import binding, judge_sight, judge_words
from flux_lora.data.looks.deep import can_embed, load_embed
from flux_lora.data.looks.reading import can_read, load_read
from flux_lora.data.planning.crops import kept_part
from flux_lora.data.planning.plan import Plan, Wish, plan
from flux_lora.data.rules.fit import judge_plan
from flux_lora.data.rules.tokens import UNCOUNTED, Readers
from flux_lora.data.rules.whole import sentence
from flux_lora.data.rules.words import Words
from flux_lora.data.samples import Sample
from flux_lora.data.seen import Eye, Seen, see_all
from flux_lora.data.sources.find import find
from flux_lora.data.sources.source import Found, Wanted
from flux_lora.errors import ModelError
from flux_lora.evaluate.prompts import Suite, read_prompts, standard_prompts
from flux_lora.models.flux1.tokenizers import load_tokenizers

HELD_OUT = "held_out"


@dataclass(frozen=True)
class Material:
    """All that is known of the pictures before a model is loaded."""

    samples: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    suite: Suite
    findings: tuple[Finding, ...]
    seen: tuple[Seen, ...] = ()
    compared: tuple[Seen, ...] = ()
    """The held-out pictures, looked at."""
    recall: Recall | None = None
    """What of the pictures crops must keep; new things are to be written into the cache."""
    plan: Plan | None = None
    """None where no picture can be read."""
    readers: Readers | None = None
    remarks: tuple[str, ...] = ()
    sentence: str = ""
    """What the set can teach, and what it cannot."""

    @property
    def planned(self) -> Plan:
        """The plan of material that was not refused."""
        assert self.plan is not None, "material without a readable picture is refused"
        return self.plan


def read_material(config: RunConfig, *, draws: bool = False) -> Material:
    """Find the samples, held-out ones and prompts, and judge all of them. Nothing is written.

    `draws` keeps a small copy of each picture, for a page.
    """
    wanted = config.data
    found, compared = _found(wanted), _held_out(wanted)
    words = Words(wanted.trigger, wanted.class_word, wanted.kind.value)
    readers = _readers(config)
    eye = Eye(
        alpha=wanted.alpha,
        embed=load_embed() if can_embed() else None,
        read=load_read() if can_read() else None,
        draws=draws,
    )
    with bar("looking at") as told:
        looked = see_all([*found.samples, *compared.samples], eye, told=told)
    seen, apart = looked[: len(found.samples)], looked[len(found.samples) :]
    sizes = {one.sample.image: (one.look.width, one.look.height) for one in seen if one.look}
    recall = _recall(config)
    planned = _plan(config, [one.sample for one in seen if one.look], sizes, recall)
    findings = [
        *found.findings,
        *judge_words(found.samples, words, readers),
        *judge_sight(seen, apart, words, resolution=wanted.resolution),
        *(judge_plan(planned, wanted.allow_crop) if planned else ()),
        *(() if readers else (_uncounted(config, wanted),)),
    ]
    return Material(
        samples=found.samples,
        held_out=compared.samples,
        suite=_suite(wanted),
        findings=tuple(binding(findings, reasons_off(config.check))),
        seen=tuple(seen),
        compared=tuple(apart),
        recall=recall,
        plan=planned,
        readers=readers,
        remarks=(*found.remarks, *compared.remarks, *_masked_by_alpha(wanted, seen)),
        sentence=sentence([one.look for one in seen if one.look], found.samples, words),
    )


def sketch_material(config: RunConfig, sizes: Mapping[Path, tuple[int, int]]) -> Material:
    """What encoding needs, for a process beside the one that judged: that one's sizes, and no picture is decoded."""
    found = _found(config.data)
    readable = [sample for sample in found.samples if sample.image in sizes]
    return Material(found.samples, (), _suite(config.data), (), plan=_plan(config, readable, sizes, _recall(config)))


def said_sizes(material: Material) -> str:
    """Every picture that was planned for and its size, to be told to the other processes."""
    return json.dumps({str(one.sample.image): one.size for one in material.planned.prepared})


def read_sizes(said: str) -> dict[Path, tuple[int, int]]:
    """What `said_sizes` wrote."""
    return {Path(file): (width, height) for file, (width, height) in json.loads(said).items()}


def _masked_by_alpha(wanted: DataConfig, seen: Sequence[Seen]) -> Iterator[str]:
    """That transparency is the mask is said like any other mask."""
    masked = sum(bool(one.look and one.look.masked and one.sample.mask is None) for one in seen)
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
    return find(sources_of(wanted), reading_of(wanted))


def _held_out(wanted: DataConfig) -> Found:
    """Pictures that are only looked at: what is wrong with their captions binds nobody."""
    folder = Path(wanted.held_out or Path(wanted.folder) / HELD_OUT).expanduser()
    if not wanted.held_out and not folder.is_dir():
        return Found()
    found = find([SourceConfig(path=str(folder))], replace(reading_of(wanted), mask_folder=None, apart=()))
    return Found(samples=found.samples)


def reading_of(wanted: DataConfig) -> Wanted:
    """How the sources are read; what is held out is never trained on, wherever it lies."""
    return Wanted(
        recursive=wanted.recursive,
        caption_lines=wanted.caption_lines,
        masks=wanted.masks,
        mask_folder=Path(wanted.mask_folder) if wanted.mask_folder else None,
        apart=(Path(wanted.held_out).expanduser(),) if wanted.held_out else (),
    )


def _recall(config: RunConfig) -> Recall:
    crop, alpha = config.data.crop, config.data.alpha
    return Recall(folder_of(config).cache, partial(kept_part, crop=crop, alpha=alpha), crop.value, alpha.value)


def _plan(
    config: RunConfig, readable: Sequence[Sample], sizes: Mapping[Path, tuple[int, int]], recall: Recall
) -> Plan | None:
    """Buckets and crops for the pictures that can be read."""
    wish = Wish(
        resolutions=(config.data.resolution, *config.data.more_resolutions),
        batch_size=config.train.batch_size,
        crop=config.data.crop,
        alpha=config.data.alpha,
        most_enlarged=config.data.most_enlarged,
        most_cropped=config.data.allow_crop,
        seed=config.train.seed,
    )
    return plan(readable, wish, sizes=sizes.__getitem__, keep=recall.part) if readable else None


def _readers(config: RunConfig) -> Readers | None:
    try:
        clip, t5 = load_tokenizers(config.model.path, config.model.revision)
    except ModelError:
        return None
    return Readers(t5_tokenizer=t5, clip_tokenizer=clip, t5_limit=config.model.text_tokens)


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

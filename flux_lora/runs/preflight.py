"""Before anything is encoded or trained: refuse what would end in a worthless run, and say what is doubtful."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from flux_lora.adapter.dialects.table import dialect_refusals
from flux_lora.adapter.start import read_start
from flux_lora.adapter.trainable import trained_ranks
from flux_lora.config.choices import AdapterKind, ExportDialect, OutsideMask, Severity
from flux_lora.config.data import CheckConfig, DataConfig
from flux_lora.config.rules import without_effect
from flux_lora.config.schema import EvaluateConfig, RunConfig
from flux_lora.data.checks.bucket_fit import steps_in_words
from flux_lora.data.checks.registry import ALL_RULES, refuse_errors
from flux_lora.data.checks.subject_words import subjects
from flux_lora.data.report.formats import counted
from flux_lora.errors import ConfigError
from flux_lora.runs.dataset import RunDataset, read_dataset, refuse_unpaired, sources_of
from flux_lora.runs.resume import refuse_resume
from flux_lora.runs.run import Run
from flux_lora.train.checkpoints import complete_checkpoints

LAYER_TYPES: Mapping[AdapterKind, str] = {
    AdapterKind.lora: "LoRA", AdapterKind.dora: "DoRA", AdapterKind.lokr: "LoKr", AdapterKind.loha: "LoHa"
}  # fmt: skip
"""By what layer_types.py calls them."""


def preflight(run: Run) -> RunDataset:
    """The dataset that may be trained on, its warnings said.

    Raises ConfigError or DataError where anything stands in the way.
    """
    refuse_unknown_rules(run.config.check)
    _refuse_empty_words(run.config.data)
    _refuse_anothers_file(run.config.evaluate)
    _refuse_folders_among_photos(run)
    _refuse_distilled(run)
    _refuse_other_layers(run)
    refuse_resume(run.folder.root, run.config)
    adapter, ranks = run.config.adapter, _trained_ranks(run)
    _refuse_unexportable(ranks, adapter.kind, run.config.export.dialects)
    if adapter.start and not complete_checkpoints(run.folder.root):
        read_start(Path(adapter.start).expanduser(), set(ranks.values()))
    dataset = read_dataset(run, draws=run.config.check.page)
    refuse_errors(dataset.findings)
    refuse_unpaired(run, dataset)
    for finding in dataset.findings:
        if finding.severity is Severity.warning:
            run.feedback.say(f"{finding.file} {finding.problem} -> {finding.fix}")
    count = len(dataset.samples) + len(dataset.held_out)
    run.feedback.say(f"{count} images read, {counted(dataset.findings)}")
    steps = steps_in_words(dataset.planned, run.config.train)
    for line in (*dataset.remarks, *_without_effect(run.config, dataset), steps):
        run.feedback.say(line)
    return dataset


def _without_effect(config: RunConfig, dataset: RunDataset) -> Iterator[str]:
    """A sentence for each setting that does nothing."""
    train, data = config.train, config.data
    yield from without_effect(config)
    if data.outside_mask is OutsideMask.base and not any(one.stats and one.stats.masked for one in dataset.scanned):
        yield "data.outside_mask is base, and no image has a mask"
    if train.prior_loss_weight != 1 and len(subjects(dataset.samples)) == len(dataset.samples):
        yield f"train.prior_loss_weight is {train.prior_loss_weight:g}, and no source has the role regularisation"


def refuse_unknown_rules(wanted: CheckConfig) -> None:
    """Stop at a rule in check.off that does not exist."""
    known = {rule.id for rule in ALL_RULES}
    for off in wanted.off:
        if off.rule not in known:
            raise ConfigError(
                f"check.off names a rule {off.rule!r}, which there is not",
                fix=f"take an id as check prints it, one of: {', '.join(sorted(known))}",
            )


def _refuse_empty_words(wanted: DataConfig) -> None:
    """Photos may be judged without a trigger; training needs one, but for an edit: its captions say what is done."""
    if wanted.edits:
        return
    for key, word in (("data.trigger", wanted.trigger), ("data.class_word", wanted.class_word)):
        if not word.strip():
            raise ConfigError(f"{key} is empty", fix=f"set {key} to the word that the captions use")


def _refuse_anothers_file(wanted: EvaluateConfig) -> None:
    """What is trained would be passed over, and the file judged in its place."""
    if wanted.adapter:
        raise ConfigError(
            f"evaluate.adapter is {wanted.adapter}, and this run trains one of its own",
            fix="leave it empty; to judge that file: flux-lora evaluate adapter=<file> and no run=",
        )


def _refuse_folders_among_photos(run: Run) -> None:
    """What a run writes among its photos would be photos without captions to the next command."""
    data = run.config.data
    places = {"run.dir": run.folder.root, "export.dir": run.config.export.dir}
    for source in sources_of(data) if data.recursive else ():
        photos = Path(source.path).expanduser().resolve()
        for key, place in places.items():
            if place and photos in Path(place).expanduser().resolve().parents:
                problem = f"{key} is {place}, inside {source.path}: what is written there would be read as photos"
                raise ConfigError(problem, fix=f"set {key} to a folder beside them")


def _refuse_distilled(run: Run) -> None:
    """Training undoes the distillation: images need many steps and guidance again, and often turn grey before."""
    instead = run.family.trained_instead
    if instead and not run.config.model.train_distilled:
        raise ConfigError(
            f"{run.config.model.path} is {run.family.name}, which is distilled to a few steps: training undoes that",
            fix=f"train its base, model={instead}, whose LoRA fits both; or set model.train_distilled=true",
        )


def _refuse_other_layers(run: Run) -> None:
    """ModelError where model.distilled is no model."""
    if not run.config.model.distilled:
        return
    base, other = run.family, run.distilled().family
    if base.linear_shapes() != other.linear_shapes():
        raise ConfigError(
            f"model.distilled is {run.config.model.distilled}, {other.name}, whose layers are not those of {base.name}",
            fix="set it to what was distilled from this base, or to nothing",
        )


def _trained_ranks(run: Run) -> dict[str, int]:
    """Of the base's layers, which need not be on this machine. Raises ConfigError where the recipe names none."""
    from flux_lora.adapter.attach import linear_layers  # here, so that `check` starts without peft

    family, adapter = run.family, run.config.adapter
    of_its_own = adapter.blocks or adapter.ranks  # a base may have fewer blocks than its family's release
    names = linear_layers(family.weightless_base(run.source).transformer) if of_its_own else family.linear_shapes()
    return trained_ranks(names, adapter, family)


def _refuse_unexportable(layers: Collection[str], kind: AdapterKind, dialects: Sequence[ExportDialect]) -> None:
    """What no file could carry in the end is not trained in the first place."""
    found = list(dialect_refusals(layers, LAYER_TYPES[kind], dialects))
    if found:
        raise ConfigError("\n".join(problem for problem, _ in found), fix="\n     ".join(fix for _, fix in found))

"""check: read photos and captions, and list every problem with its fix."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from flux_lora import __version__
from flux_lora.adapter.layouts.refusals import dialect_refusals
from flux_lora.adapter.readers.architecture import flux1_shapes
from flux_lora.adapter.targets import matching_layers
from flux_lora.commands.dataset_page import write_dataset_page
from flux_lora.commands.material import RunDataset, read_dataset, reasons_off
from flux_lora.commands.run_folder import folder_of
from flux_lora.config.choices import AdapterTargets, CheckFormat, ExportDialect, Severity
from flux_lora.config.material import CheckConfig, DataConfig
from flux_lora.config.schema import RunConfig
from flux_lora.data.judge import refuse_errors
from flux_lora.data.page.formats import as_json, as_junit, as_sarif, as_text, counted
from flux_lora.data.rules.catalogue import ALL_RULES
from flux_lora.data.rules.fit import steps_in_words
from flux_lora.errors import ConfigError

WARNED, REFUSED = 1, 2


def check(config: RunConfig) -> int:
    """Say what was found, and show it on a page; 2 if anything stands in the way, 1 for warnings under strict."""
    _refuse_unknown_rules(config.check)
    material = read_dataset(config, draws=config.check.page)
    print(_said(config, material))
    if config.check.page:
        page = write_dataset_page(config, material, folder_of(config).dataset_page)
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"page: {page.resolve()}", markup=False)
    return REFUSED if any(finding.fatal for finding in material.findings) else _deserved(material, strict=config.strict)


def clear(config: RunConfig) -> tuple[RunDataset, int]:
    """What may be trained on, its warnings printed, and the exit code they deserve; refused if anything is fatal."""
    _refuse_unknown_rules(config.check)
    _refuse_wordless(config.data)
    _refuse_homeless(config.adapter.targets, config.export.dialects)
    material = read_dataset(config, draws=config.check.page)
    refuse_errors(material.findings)
    terminal = Console(stderr=True, soft_wrap=True, highlight=False)
    for finding in material.findings:
        if finding.severity is Severity.warning:
            terminal.print(f"{finding.file} {finding.problem} -> {finding.fix}", markup=False)
    seen = len(material.samples) + len(material.held_out)
    terminal.print(f"{seen} pictures read, {counted(material.findings)}", markup=False)
    for line in (*material.remarks, steps_in_words(material.planned, config.train.batch_size, config.train.steps)):
        terminal.print(line, markup=False)
    return material, _deserved(material, strict=config.strict)


def _said(config: RunConfig, material: RunDataset) -> str:
    seen = [sample.image for sample in (*material.samples, *material.held_out)]
    off = reasons_off(config.check)
    match config.check.format:
        case CheckFormat.json:
            return as_json(material.findings, pictures=len(seen), version=__version__, off=off)
        case CheckFormat.sarif:
            return as_sarif(material.findings, ALL_RULES, version=__version__, off=off, root=Path.cwd())
        case CheckFormat.junit:
            return as_junit(material.findings, seen)
        case CheckFormat.text:
            lines = [as_text(material.findings), material.summary, *material.remarks]
            if material.plan:
                lines.append(steps_in_words(material.plan, config.train.batch_size, config.train.steps))
            lines += [f"{rule} is switched off: {reason}" for rule, reason in off.items()]
            return "\n".join(line for line in lines if line)


def _deserved(material: RunDataset, *, strict: bool) -> int:
    warned = any(finding.severity is Severity.warning for finding in material.findings)
    return WARNED if warned and strict else 0


def _refuse_wordless(wanted: DataConfig) -> None:
    """Photos may be judged without a trigger; teaching needs one."""
    for key, word in (("data.trigger", wanted.trigger), ("data.class_word", wanted.class_word)):
        if not word.strip():
            raise ConfigError(f"{key} is empty", fix=f"set {key} to the word that the captions use")


def _refuse_homeless(targets: AdapterTargets, dialects: Sequence[ExportDialect]) -> None:
    """What no file could carry in the end is not trained in the first place."""
    found = list(dialect_refusals(matching_layers(flux1_shapes(), targets), "LoRA", dialects))
    if found:
        raise ConfigError("\n".join(problem for problem, _ in found), fix="\n     ".join(fix for _, fix in found))


def _refuse_unknown_rules(wanted: CheckConfig) -> None:
    known = {rule.id for rule in ALL_RULES}
    for each in wanted.off:
        if each.rule not in known:
            raise ConfigError(
                f"check.off names a rule {each.rule!r}, which there is not",
                fix=f"take an id as check prints it, one of: {', '.join(sorted(known))}",
            )

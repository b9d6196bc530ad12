"""check: read photos and captions, and list every problem with its fix."""

from pathlib import Path

from flux_lora import __version__
from flux_lora.commands.terminal import REFUSED, WARNED, Terminal
from flux_lora.config.choices import CheckFormat
from flux_lora.config.schema import RunConfig
from flux_lora.data.checks.bucket_fit import steps_in_words
from flux_lora.data.checks.registry import ALL_RULES
from flux_lora.data.report.formats import as_json, as_junit, as_sarif, as_text
from flux_lora.runs.dataset import RunDataset, read_dataset, reasons_off
from flux_lora.runs.dataset_report import write_run_dataset_report
from flux_lora.runs.preflight import refuse_unknown_rules
from flux_lora.runs.run import Run


def check(config: RunConfig) -> int:
    """Say what was found, and show it on a page; 2 if anything stands in the way, 1 for warnings under strict."""
    refuse_unknown_rules(config.check)
    terminal = Terminal()
    run = Run(config, terminal)
    dataset = read_dataset(run, draws=config.check.page)
    print(_findings_in_format(config, dataset))
    if config.check.page:
        page = write_run_dataset_report(run, dataset)
        terminal.say(f"page: {page.resolve()}")
    if any(finding.fatal for finding in dataset.findings):
        return REFUSED
    return WARNED if config.strict and dataset.has_warnings else 0


def _findings_in_format(config: RunConfig, dataset: RunDataset) -> str:
    files = [sample.image for sample in (*dataset.samples, *dataset.held_out)]
    off = reasons_off(config.check)
    match config.check.format:
        case CheckFormat.json:
            return as_json(dataset.findings, images=len(files), version=__version__, off=off)
        case CheckFormat.sarif:
            return as_sarif(dataset.findings, ALL_RULES, version=__version__, off=off, root=Path.cwd())
        case CheckFormat.junit:
            return as_junit(dataset.findings, files)
        case CheckFormat.text:
            lines = [as_text(dataset.findings), dataset.summary, *dataset.remarks]
            if dataset.plan:
                lines.append(steps_in_words(dataset.plan, config.train))
            lines += [f"{rule} is switched off: {reason}" for rule, reason in off.items()]
            return "\n".join(line for line in lines if line)

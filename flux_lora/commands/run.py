"""run: all of it, from photos to a proven file and a page that shows what was learned."""

from flux_lora.commands.console_reporter import ConsoleReporter
from flux_lora.commands.terminal import FELL_SHORT, WARNED, Terminal, plain_console
from flux_lora.config.schema import RunConfig
from flux_lora.distributed.processes import process_group
from flux_lora.runs.auto_hardware import open_run
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.evaluation import choice_in_words, evaluate_run
from flux_lora.runs.exporting import export_run, exported_in_words, is_worth_exporting
from flux_lora.runs.out_of_memory import judging_memory_in_words
from flux_lora.runs.report import write_run_report
from flux_lora.runs.run import Run, Silent
from flux_lora.runs.sharing import publish
from flux_lora.runs.summary import note, stage
from flux_lora.runs.tracking import track_evaluation
from flux_lora.runs.training import train_together


def run(config: RunConfig) -> int:
    """Check, prepare, train, evaluate, export, report.

    1 if there are warnings and strict is set, and where no candidate passes: what learned nothing is not exported.
    Processes that torchrun started together train one adapter; the first of them does the rest.
    """
    with process_group() as group, group.fail_together():
        run = open_run(config, Terminal() if group.first else Silent())
        dataset = train_together(run, group, ConsoleReporter(), ships=True)
    if dataset is None:
        return WARNED
    return _judged_and_exported(run, dataset) if group.first else 0


def _judged_and_exported(run: Run, dataset: RunDataset) -> int:
    config, terminal = run.config, plain_console()
    with stage(run.folder, "evaluate"), judging_memory_in_words():
        evaluation = evaluate_run(run, dataset)
    track_evaluation(run, evaluation)
    terminal.print(choice_in_words(evaluation.choice))
    exported = None
    if is_worth_exporting(run):
        with stage(run.folder, "export"):
            exported = export_run(run)
        terminal.print(*exported_in_words(exported), sep="\n")
        if evaluation.choice.strength != 1:
            terminal.print(f"use it at strength 1: the {evaluation.choice.strength:g} is in its weights")
    with stage(run.folder, "report"):
        write_run_report(run, dataset, evaluation, exported)
    note(run.folder, {"report": str(run.folder.report)})
    terminal.print(f"report: {run.folder.report.resolve()}")
    if exported and not evaluation.choice.passes and (config.export.bundle or config.export.push_to_hub):
        terminal.print("no checkpoint passes, so nothing was bundled or uploaded: flux-lora export run=... does it")
    if exported and evaluation.choice.passes:
        for line in publish(config.export, exported.file, exported.beside):
            terminal.print(line)
    return 0 if evaluation.choice.passes else FELL_SHORT

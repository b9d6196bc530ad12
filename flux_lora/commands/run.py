"""run: all of it, from photos to a proven file and a page that shows what was learned."""

from flux_lora.commands.console_reporter import ConsoleReporter
from flux_lora.commands.terminal import FELL_SHORT, WARNED, Terminal, plain_console
from flux_lora.config.schema import RunConfig
from flux_lora.runs.auto_hardware import open_run
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.evaluation import choice_in_words, evaluate_run
from flux_lora.runs.exporting import export_run, exported_in_words, is_worth_exporting
from flux_lora.runs.lock import alone_in
from flux_lora.runs.preflight import preflight
from flux_lora.runs.report import write_run_report
from flux_lora.runs.sharing import publish
from flux_lora.runs.summary import note, stage
from flux_lora.runs.tracking import track_evaluation
from flux_lora.runs.training import train_adapter


def run(config: RunConfig) -> int:
    """Check, prepare, train, evaluate, export, report.

    1 if there are warnings and strict is set, and where no candidate passes: what learned nothing is not exported.
    """
    run, terminal = open_run(config, Terminal()), plain_console()
    dataset = preflight(run)
    if config.strict and dataset.has_warnings:
        return WARNED
    run.begin()
    with alone_in(run.folder.root):
        with stage(run.folder, "prepare"):
            prepared = encode_dataset(run, dataset)
        with stage(run.folder, "train", continues=True):
            train_adapter(run, prepared, ConsoleReporter())
    with stage(run.folder, "evaluate"):
        evaluation = evaluate_run(run, dataset)
    track_evaluation(run, evaluation)
    terminal.print(choice_in_words(evaluation.choice))
    exported = None
    if is_worth_exporting(run):
        with stage(run.folder, "export"):
            exported = export_run(run)
        terminal.print(*exported_in_words(exported), sep="\n")
    with stage(run.folder, "report"):
        write_run_report(run, dataset, evaluation, exported)
    note(run.folder, {"report": str(run.folder.report)})
    terminal.print(f"report: {run.folder.report.resolve()}")
    if exported and evaluation.choice.passes:
        for line in publish(config.export, exported.file, exported.beside):
            terminal.print(line)
    return 0 if evaluation.choice.passes else FELL_SHORT

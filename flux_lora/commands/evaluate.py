"""evaluate: score checkpoints and strengths against the base, and choose one, or none."""

from pathlib import Path

from flux_lora.adapter.files import read_contents
from flux_lora.commands.lora_files import introduce
from flux_lora.commands.terminal import FELL_SHORT, Terminal, plain_console
from flux_lora.config.schema import RunConfig
from flux_lora.data.checks.registry import refuse_errors
from flux_lora.runs.auto_hardware import open_run
from flux_lora.runs.dataset import read_dataset
from flux_lora.runs.evaluation import choice_in_words, evaluate_run
from flux_lora.runs.later_stages import refuse_unfitting, refuse_unjudged
from flux_lora.runs.out_of_memory import judging_memory_in_words
from flux_lora.runs.report import write_run_report
from flux_lora.runs.summary import stage
from flux_lora.runs.tracking import track_evaluation


def evaluate(config: RunConfig) -> int:
    """Render, score and choose; everything is kept under evaluation/. 1 where no candidate passes."""
    run = open_run(config, Terminal())
    dataset = read_dataset(run)
    refuse_errors(dataset.findings)
    refuse_unjudged(run, dataset)
    for line in dataset.remarks:
        run.feedback.say(line)
    if config.evaluate.adapter:
        contents = read_contents(Path(config.evaluate.adapter))
        refuse_unfitting(run, contents)
        introduce(config.evaluate.adapter, contents, plain_console())
        run.begin()
    with stage(run.folder, "evaluate"), judging_memory_in_words():
        evaluation = evaluate_run(run, dataset)
    track_evaluation(run, evaluation)
    plain_console().print(choice_in_words(evaluation.choice))
    page = write_run_report(run, dataset, evaluation, None, run.folder.evaluation / "report.html")
    plain_console().print(f"report: {page.resolve()}")
    return 0 if evaluation.choice.passes else FELL_SHORT

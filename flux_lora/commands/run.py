"""run: all of it, from photos to a proven file and a page that shows what was learned."""

from rich.console import Console

from flux_lora.commands.beside import publish
from flux_lora.commands.check import clear
from flux_lora.commands.evaluate import choice_in_words, compare
from flux_lora.commands.export import export_run, exported_in_words
from flux_lora.commands.machine import device_and_dtype
from flux_lora.commands.page import write_run_report
from flux_lora.commands.prepare import encode_dataset
from flux_lora.commands.run_folder import open_folder
from flux_lora.commands.summary import note, stage
from flux_lora.commands.train import train_adapter
from flux_lora.config.schema import RunConfig


def run(config: RunConfig) -> int:
    """Check, prepare, train, evaluate, export, report; 1 if there are warnings and strict is set."""
    material, code = clear(config)
    if code:
        return code
    machine, folder = device_and_dtype(config.hardware), open_folder(config)
    terminal = Console(soft_wrap=True, highlight=False)
    with stage(folder, "prepare"):
        ready = encode_dataset(config, folder, material, machine)
    with stage(folder, "train", continues=True):
        train_adapter(config, folder, ready, machine)
    with stage(folder, "evaluate"):
        verdict = compare(config, folder, material, machine)
    terminal.print(choice_in_words(verdict.choice))
    with stage(folder, "export"):
        shipped = export_run(config, folder, machine)
    terminal.print(*exported_in_words(shipped), sep="\n")
    with stage(folder, "report"):
        write_run_report(config, folder, material, verdict, shipped)
    note(folder, {"report": str(folder.report)})
    terminal.print(f"report: {folder.report.resolve()}")
    publish(config.export, shipped.file, shipped.beside)
    return 0

"""run: all of it, from photos to a proven file and a page that shows what was learned."""

from rich.console import Console

from flux_lora.commands.beside import hand_out
from flux_lora.commands.check import clear
from flux_lora.commands.evaluate import compare, in_words
from flux_lora.commands.export import ship, shipped_in_words
from flux_lora.commands.machine import machine_of
from flux_lora.commands.page import write_page
from flux_lora.commands.prepare import get_ready
from flux_lora.commands.run_folder import open_folder
from flux_lora.commands.summary import note, stage
from flux_lora.commands.train import teach
from flux_lora.config.schema import RunConfig


def run(config: RunConfig) -> int:
    """Check, prepare, train, evaluate, export, report; 1 if there are warnings and strict is set."""
    material, code = clear(config)
    if code:
        return code
    machine, folder = machine_of(config.hardware), open_folder(config)
    terminal = Console(soft_wrap=True, highlight=False)
    with stage(folder, "prepare"):
        ready = get_ready(config, folder, material, machine)
    with stage(folder, "train", continues=True):
        teach(config, folder, ready, machine)
    with stage(folder, "evaluate"):
        verdict = compare(config, folder, material, machine)
    terminal.print(in_words(verdict.choice))
    with stage(folder, "export"):
        shipped = ship(config, folder, machine)
    terminal.print(*shipped_in_words(shipped), sep="\n")
    with stage(folder, "report"):
        write_page(config, folder, material, verdict, shipped)
    note(folder, {"report": str(folder.report)})
    terminal.print(f"report: {folder.report.resolve()}")
    hand_out(config.export, shipped.file, shipped.beside)
    return 0

"""export: write the adapter in the names of its users' programs, prove each file, and put beside it what they need."""

from flux_lora.commands.terminal import Terminal, plain_console
from flux_lora.config.schema import RunConfig
from flux_lora.runs.auto_hardware import open_run
from flux_lora.runs.exporting import export_run, exported_in_words
from flux_lora.runs.sharing import publish
from flux_lora.runs.summary import stage


def export(config: RunConfig) -> int:
    """Export the chosen checkpoint, or the last one if none was chosen."""
    run, terminal = open_run(config, Terminal()), plain_console()
    with stage(run.folder, "export"):
        exported = export_run(run)
    terminal.print(*exported_in_words(exported), sep="\n")
    for line in publish(config.export, exported.file, exported.beside):
        terminal.print(line)
    return 0

"""control: talk to a run that trains."""

from pathlib import Path

from rich.console import Console

from flux_lora.config.choices import Control
from flux_lora.config.file_verbs import ControlArgs
from flux_lora.runs.control import send

ANSWERS = {
    Control.save: "a checkpoint is being saved",
    Control.sample: "previews are being rendered",
    Control.pause: "it waits; go on with ask=resume",
    Control.resume: "it goes on",
    Control.stop: "it saves a checkpoint and ends; the same command as before continues",
}


def control(asked: ControlArgs) -> int:
    """Send the request and wait until it is taken; 1 if that takes longer than `patience`."""
    terminal = Console(highlight=False, soft_wrap=True, markup=False)
    if send(Path(asked.run), asked.ask, patience=asked.patience):
        terminal.print(f"{ANSWERS[asked.ask]}")
        return 0
    terminal.print(f"not taken up within {asked.patience:g} s: it waits for the step, evaluation or save under way")
    return 1

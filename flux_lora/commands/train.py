"""train: teach the adapter; the same command again continues from the last checkpoint."""

from flux_lora.commands.console_reporter import ConsoleReporter
from flux_lora.commands.terminal import WARNED, Terminal
from flux_lora.config.schema import RunConfig
from flux_lora.distributed.processes import process_group
from flux_lora.runs.auto_hardware import open_run
from flux_lora.runs.run import Silent
from flux_lora.runs.training import train_together


def train(config: RunConfig) -> int:
    """Check, encode and train; 1 if there are warnings and strict is set. Processes that torchrun started together
    train one adapter."""
    with process_group() as group, group.fail_together():
        run = open_run(config, Terminal() if group.first else Silent())
        return 0 if train_together(run, group, ConsoleReporter()) else WARNED

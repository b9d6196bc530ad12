"""train: teach the adapter; the same command again continues from the last checkpoint."""

from flux_lora.commands.console_reporter import ConsoleReporter
from flux_lora.commands.terminal import WARNED, Terminal
from flux_lora.config.schema import RunConfig
from flux_lora.runs.auto_hardware import open_run
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.lock import alone_in
from flux_lora.runs.preflight import preflight
from flux_lora.runs.summary import stage
from flux_lora.runs.training import train_adapter


def train(config: RunConfig) -> int:
    """Check, encode and train; 1 if there are warnings and strict is set."""
    run = open_run(config, Terminal())
    dataset = preflight(run)
    if config.strict and dataset.has_warnings:
        return WARNED
    run.begin()
    with alone_in(run.folder.root):
        with stage(run.folder, "prepare"):
            prepared = encode_dataset(run, dataset)
        with stage(run.folder, "train", continues=True):
            train_adapter(run, prepared, ConsoleReporter())
    return 0

"""prepare: encode photos, captions and prompts into the cache, so that training needs no encoder."""

from flux_lora.commands.terminal import WARNED, Terminal
from flux_lora.config.schema import RunConfig
from flux_lora.distributed.processes import process_group
from flux_lora.runs.auto_hardware import open_run
from flux_lora.runs.encoding import encode_dataset, encode_together
from flux_lora.runs.preflight import preflight
from flux_lora.runs.summary import stage


def prepare(config: RunConfig) -> int:
    """Check, plan and encode; 1 if there are warnings and strict is set. Processes started together share the work."""
    run = open_run(config, Terminal())
    with process_group() as group:
        if not group.alone:
            return 0 if encode_together(run, group) else WARNED
        dataset = preflight(run)
        if config.strict and dataset.has_warnings:
            return WARNED
        run.begin()
        with stage(run.folder, "prepare"):
            encode_dataset(run, dataset)
        return 0

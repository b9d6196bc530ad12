"""prepare: encode photos, captions and prompts into the cache, so that training needs no encoder."""

from flux_lora.commands.terminal import WARNED, Terminal
from flux_lora.config.schema import RunConfig
from flux_lora.distributed.processes import process_group
from flux_lora.runs.auto_hardware import open_run
from flux_lora.runs.encoding import check_together, encode_together
from flux_lora.runs.run import Silent
from flux_lora.runs.summary import stage


def prepare(config: RunConfig) -> int:
    """Check, plan and encode; 1 if there are warnings and strict is set. Processes started together share the work."""
    with process_group() as group, group.fail_together():
        run = open_run(config, Terminal() if group.first else Silent())
        dataset = check_together(run, group)
        if dataset is None:
            return WARNED
        with group.if_first(stage(run.folder, "prepare")):
            encode_together(run, dataset, group)
        return 0

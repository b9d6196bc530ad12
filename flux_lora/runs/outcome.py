"""Training has succeeded where its last checkpoint is there, loads, is finite and does something; not before."""

from torch import Tensor

from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.layer_types import Adapter, LayerDelta, LoHa, LoKr, LoRA, all_finite, map_tensors
from flux_lora.errors import RunError
from flux_lora.runs.early_stop import stopped_early
from flux_lora.runs.run import Run
from flux_lora.train.checkpoints import Checkpoint, complete_checkpoints


def refuse_worthless(run: Run) -> None:
    """Read the last checkpoint from the disk. Raises RunError where it is missing, damaged, not finite or all zero."""
    root, wanted = run.folder.root, stopped_early(run) or run.config.train.steps
    kept = complete_checkpoints(root)
    if not kept or kept[-1].step < wanted:
        raise RunError(
            f"{root} has no whole checkpoint of step {wanted}, with which training ended",
            fix="see whether another program changes files there; the same command goes on from the last that is whole",
        )
    _refuse_worthless(kept[-1])


def _refuse_worthless(last: Checkpoint) -> None:
    adapter = read_adapter(last.adapter_file)
    if not all(map(all_finite, _tensors(adapter))):
        raise RunError(
            f"{last.adapter_file} holds numbers that are not finite",
            fix="lower train.learning_rate, and set run.dir to a new folder",
        )
    if all(map(_is_nothing, adapter.deltas.values())):
        raise RunError(
            f"{last.adapter_file} changes nothing: all of it is zero, as it was at the start",
            fix="see non_finite/ for steps that were skipped, or raise train.learning_rate",
        )


def _is_nothing(change: LayerDelta) -> bool:
    """Whether a factor that began at zero still is; a DoRA's lengths may have moved all the same."""
    match change:
        case LoRA():
            return not change.up.any()
        case LoHa():
            return not change.w2_b.any()
        case LoKr():
            return not change.factors[1].any()
        case _:
            return False


def _tensors(adapter: Adapter) -> list[Tensor]:
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    for change in adapter.deltas.values():
        map_tensors(change, keep)
    return found

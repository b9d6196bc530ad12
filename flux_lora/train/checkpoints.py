"""Everything needed to go on, in one folder that is whole or not there.

checkpoints/step-000250/
    adapter.safetensors     the float32 masters, as an Adapter
    optimizer.safetensors   the optimizer's tensors, by parameter number and path
    state.json              the step, and the optimizer's plain numbers, also those of its parameter groups

The last RESUMABLE of them are complete. Of older ones the adapter is kept, which is a third of the space: they are
candidates to choose from, and nobody goes on from there.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from flux_lora.adapter.dialects.module_tensors import to_checkpoint
from flux_lora.adapter.files import read_adapter, read_header, read_tensors, write_tensors
from flux_lora.adapter.layer_types import Adapter, tensors_in, type_name
from flux_lora.atomic import FULL, HALF_WRITTEN, sync_folder, write_text
from flux_lora.config.choices import OptimizerName
from flux_lora.errors import AdapterFileError, RunError
from flux_lora.train.learner import Learner

FOLDER = "checkpoints"
NAME = re.compile(r"step-(\d{6,})")
ADAPTER, OPTIMIZER, STATE = "adapter.safetensors", "optimizer.safetensors", "state.json"
GROUPS, PROGRESS = "groups", "progress"
VERSION = 1
RESUMABLE = 2
"""Checkpoints with the optimizer's tensors: the last, and one more should it not be readable."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A folder of checkpoints/ and the step it was made at."""

    step: int
    folder: Path

    @property
    def run_dir(self) -> Path:
        """The run that it belongs to."""
        return self.folder.parent.parent

    @property
    def adapter_file(self) -> Path:
        """The adapter alone, for whoever wants to render or export it."""
        return self.folder / ADAPTER


def save(run_dir: Path, step: int, learner: Learner, progress: Mapping[str, float] | None = None) -> Checkpoint:
    """Write beside, then rename. A checkpoint of the same step is replaced. `progress`: other numbers to go on with.

    Raises RunError where the disk is full; what was saved before is as it was.
    """
    folder = run_dir / FOLDER / f"step-{step:06d}"
    half_written = folder.with_name(f"{folder.name}{HALF_WRITTEN}")
    shutil.rmtree(half_written, ignore_errors=True)
    try:
        half_written.mkdir(parents=True)
        _write(half_written, step, learner, progress or {})
    except OSError as error:
        shutil.rmtree(half_written, ignore_errors=True)
        if error.errno not in FULL:
            raise
        raise _no_room(folder, learner) from error
    shutil.rmtree(folder, ignore_errors=True)
    half_written.rename(folder)
    sync_folder(folder.parent)
    for older in [each for each in _resumable(run_dir) if each.step < step][: 1 - RESUMABLE]:
        _keep_the_adapter_alone(older)
    return Checkpoint(step, folder)


def refuse_full_disk(run_dir: Path, learner: Learner, left: int) -> None:
    """Raises RunError where the checkpoints that are left to save will not fit, before a step is taken in vain."""
    if not left:
        return
    adapter, state = bytes_of_one(learner)
    needed, free = left * adapter + min(left, RESUMABLE + 1) * state, shutil.disk_usage(run_dir).free
    if free < needed:
        raise RunError(
            f"{left} checkpoints are still to come, which take {_gb(needed)} in {run_dir}; {_gb(free)} are free",
            fix="free some, raise train.save_every, or set run.dir to a folder on another disk",
        )


def bytes_of_one(learner: Learner) -> tuple[int, int]:
    """What the adapter and the optimizer's state of a checkpoint take: AdamW's, which no other exceeds but Prodigy."""
    numbers = sum(master.numel() for master in learner.masters)
    moments = 4 if learner.config.optimizer is OptimizerName.prodigy else 2
    return 4 * numbers, 4 * moments * numbers


def _no_room(folder: Path, learner: Learner) -> RunError:
    kept = complete_checkpoints(folder.parent.parent)
    goes_on = f"after step {kept[-1].step}" if kept else "from the start"
    return RunError(
        f"{folder} takes {_gb(sum(bytes_of_one(learner)))}, and {_gb(shutil.disk_usage(folder.parent).free)} are free",
        fix=f"free some on the disk of {folder.parent.resolve()}; the same command then goes on {goes_on}",
    )


def _gb(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e6:.2f} MB"


def _write(folder: Path, step: int, learner: Learner, progress: Mapping[str, float]) -> None:
    tensors, numbers = _flattened(learner.optimizer.state_dict()["state"])
    group_tensors, groups = _flattened(_group_progress(learner))
    tensors |= {f"{GROUPS}/{name}": tensor for name, tensor in group_tensors.items()}
    write_tensors(to_checkpoint(learner.adapter()), folder / ADAPTER, {"flux_lora.step": str(step)})
    write_tensors(tensors, folder / OPTIMIZER, {})
    optimizer = learner.config.optimizer.value
    state = {"version": VERSION, "step": step, "optimizer": optimizer, "numbers": numbers, GROUPS: groups}
    state[PROGRESS] = dict(progress)
    write_text(json.dumps(state), folder / STATE)


def _keep_the_adapter_alone(checkpoint: Checkpoint) -> None:
    """The state first says that there is no more to go on from; then the optimizer's tensors go."""
    state = {"version": VERSION, "step": checkpoint.step, "adapter_alone": True}
    write_text(json.dumps(state), checkpoint.folder / STATE)
    (checkpoint.folder / OPTIMIZER).unlink(missing_ok=True)


def _resumable(run_dir: Path) -> list[Checkpoint]:
    return [each for each in complete_checkpoints(run_dir) if not _adapter_alone(each.folder)]


def _adapter_alone(folder: Path) -> bool:
    state = json.loads((folder / STATE).read_text())
    return isinstance(state, dict) and bool(state.get("adapter_alone", False))


def complete_checkpoints(run_dir: Path) -> list[Checkpoint]:
    """The checkpoints that can be trusted, oldest first."""
    return [checkpoint for checkpoint, problem in _judged(run_dir) if not problem]


def incomplete_checkpoints(run_dir: Path) -> list[tuple[Path, str]]:
    """What an interrupted run left behind, and what is wrong with it."""
    return [(checkpoint.folder, problem) for checkpoint, problem in _judged(run_dir) if problem]


def latest_checkpoint(run_dir: Path) -> Checkpoint | None:
    """Where to go on. Half-written folders are left alone, and logged.

    Raises RunError where there are checkpoints, and none of them has the optimizer's state.
    """
    for folder, problem in incomplete_checkpoints(run_dir):
        logger.warning("%s is ignored: %s", folder, problem)
    resumable, complete = _resumable(run_dir), complete_checkpoints(run_dir)
    if complete and not resumable:
        raise RunError(
            f"{complete[-1].folder} holds the adapter alone, and training cannot go on from there",
            fix="put the later checkpoints back, or set run.dir to a new folder",
        )
    return resumable[-1] if resumable else None


def checkpoint_in(folder: Path) -> Checkpoint:
    """The checkpoint that is this folder. Raises RunError where training cannot go on from it."""
    match = NAME.fullmatch(folder.resolve().name)
    problem = _problem(folder) if match and folder.is_dir() else "it is no folder of checkpoints/, such as step-000250"
    if not problem and _adapter_alone(folder):
        problem = f"it holds the adapter alone: adapter.start={folder / ADAPTER} begins with that"
    if problem or not match:
        raise RunError(f"training cannot go on from {folder}: {problem}", fix="name another checkpoint")
    return Checkpoint(int(match[1]), folder.resolve())


def restore(checkpoint: Checkpoint, learner: Learner) -> int:
    """Put the learner where it was, to the last bit, and return the updates done."""
    adapter = read_adapter(checkpoint.adapter_file)
    _refuse_another_adapter(checkpoint, adapter, learner)
    state = json.loads((checkpoint.folder / STATE).read_text())
    if (state["version"], state["optimizer"]) != (VERSION, learner.config.optimizer.value):
        raise RunError(
            f"{checkpoint.folder} was made with train.optimizer={state['optimizer']} (format {state['version']})",
            fix="set train.optimizer back, or run.dir to a new folder",
        )
    learner.load(adapter)
    stored = read_tensors(checkpoint.folder / OPTIMIZER)
    inside = {name.removeprefix(f"{GROUPS}/"): stored.pop(name) for name in list(stored) if name.startswith(GROUPS)}
    progress = _nested(inside, state.get(GROUPS, {}))
    groups = learner.optimizer.state_dict()["param_groups"]
    groups = [{**group, **progress.get(number, {})} for number, group in enumerate(groups)]
    learner.optimizer.load_state_dict({"state": _nested(stored, state["numbers"]), "param_groups": groups})
    return checkpoint.step


def progress_of(checkpoint: Checkpoint) -> Mapping[str, float]:
    """The other numbers that were saved with it."""
    return json.loads((checkpoint.folder / STATE).read_text()).get(PROGRESS, {})


def _judged(run_dir: Path) -> list[tuple[Checkpoint, str]]:
    """Every checkpoint with what is wrong with it, by step."""
    judged = []
    for folder in (run_dir / FOLDER).glob("step-*"):
        match = NAME.fullmatch(folder.name.removesuffix(HALF_WRITTEN))
        if match and folder.is_dir():
            judged.append((Checkpoint(int(match[1]), folder), _problem(folder)))
    return sorted(judged, key=lambda pair: (pair[0].step, pair[0].folder.name))


def _problem(folder: Path) -> str:
    """Why a folder cannot be trusted; empty if it can."""
    if folder.name.endswith(HALF_WRITTEN):
        return "its writing was interrupted"
    try:
        for name in (ADAPTER,) if _adapter_alone(folder) else (ADAPTER, OPTIMIZER):
            read_header(folder / name)
    except (OSError, ValueError):
        return f"{STATE} is missing or cut short"
    except AdapterFileError as error:
        return error.problem
    return ""


def _refuse_another_adapter(checkpoint: Checkpoint, adapter: Adapter, learner: Learner) -> None:
    held = learner.adapter()
    for what, stored, wanted in (
        ("adapter.kind", _types(adapter), _types(held)),
        ("adapter.targets", sorted(adapter.deltas), sorted(held.deltas)),
        ("adapter.rank", _sides(adapter), _sides(held)),
        ("adapter.alpha", adapter.alphas, held.alphas),
    ):
        if stored != wanted:
            raise RunError(
                f"{checkpoint.folder} was made with another {what}, and a run cannot change it midway",
                fix=f"set {what} back, or run.dir to a new folder",
            )


def _types(adapter: Adapter) -> set[str]:
    return {type_name(delta) for delta in adapter.deltas.values()}


def _sides(adapter: Adapter) -> dict[str, list[tuple[int, ...]]]:
    return {name: [tuple(each.shape) for each in tensors_in(delta)] for name, delta in adapter.deltas.items()}


def _group_progress(learner: Learner) -> dict[int, dict[str, object]]:
    """What the optimizer keeps in its parameter groups: Prodigy and schedule-free count their way there."""
    groups = learner.optimizer.state_dict()["param_groups"]
    return {
        number: {key: value for key, value in group.items() if isinstance(value, Tensor | int | float)}
        for number, group in enumerate(groups)
    }


def _flattened(state: Mapping[int, object]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """An optimizer's state as tensors and numbers, each named by number and path."""
    tensors, numbers = {}, {}
    for path, value in _leaves(state, ()):
        if isinstance(value, Tensor):
            tensors["/".join(path)] = value
        else:
            numbers["/".join(path)] = value
    return tensors, numbers


def _leaves(node: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if not isinstance(node, dict):
        yield path, node
        return
    for key, value in node.items():
        yield from _leaves(value, (*path, str(key)))


def _nested(tensors: Mapping[str, Tensor], numbers: Mapping[str, float]) -> dict[int, dict[str, object]]:
    state: dict[int, dict[str, object]] = {}
    for name, value in {**tensors, **numbers}.items():
        first, *middle, last = name.split("/")
        place = state.setdefault(int(first), {})
        for key in middle:
            inner = place.setdefault(key, {})
            assert isinstance(inner, dict), "a path leads through tables"
            place = inner
        place[last] = value.clone() if isinstance(value, Tensor) else value
    return state

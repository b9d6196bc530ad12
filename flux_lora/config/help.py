"""--help: verbs, groups and knobs."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from flux_lora.config import file_verbs
from flux_lora.config.assets import asset_folder
from flux_lora.config.knobs import Knob, all_knobs, knobs_of

VERBS = {
    "check": "read photos and captions, and list every problem with its fix",
    "caption": "propose captions for photos that have none",
    "plan": "say what a run will take:  flux-lora plan recipe=product hardware.gpu_gb=12",
    "prepare": "encode photos and captions into the cache",
    "train": "teach the adapter; the same command again resumes from the last checkpoint",
    "evaluate": "score checkpoints and strengths, and choose one:  flux-lora evaluate run=runs/demo",
    "cache": "say what the cache holds, verify or prune it:  flux-lora cache status run=runs/demo",
    "export": "write one .safetensors, and load it back to prove it:  flux-lora export run=runs/demo",
    "run": "all of it, from photos to a report",
    "control": "talk to a run that trains:  flux-lora control run=runs/demo ask=save",
    "inspect": "say what is in a LoRA file:  flux-lora inspect file=mug.safetensors",
    "convert": "write a LoRA in the names of another tool:  flux-lora convert file=a to=kohya out=b",
    "merge": "make one LoRA of several, exactly or to a rank:  flux-lora merge files=[a,b] out=c",
    "resize": "give a LoRA another rank, and say what is lost:  flux-lora resize file=a rank=8 out=b",
    "extract": "take the difference of two models as a LoRA:  flux-lora extract before=a after=b out=c",
    "fuse": "put a LoRA into the weights of its base:  flux-lora fuse base=a file=b out=c",
    "render": "draw prompts, with a LoRA or without:  flux-lora render prompts='[a mug]' out=a",
    "reproduce": "write back the recipe that a LoRA was made by:  flux-lora reproduce file=mug.safetensors",
}
ON_FILES = {
    "control": file_verbs.ControlArgs,
    "inspect": file_verbs.InspectArgs,
    "convert": file_verbs.ConvertArgs,
    "merge": file_verbs.MergeArgs,
    "resize": file_verbs.ResizeArgs,
    "extract": file_verbs.ExtractArgs,
    "fuse": file_verbs.FuseArgs,
    "render": file_verbs.RenderArgs,
    "reproduce": file_verbs.ReproduceArgs,
}
"""Verbs that take files and no recipe, and the class of their arguments."""
GROUPS = ("recipe", "model", "hardware", "tracker")
WIDTH = 100
COLUMN = 34

OVERVIEW = """\
flux-lora teaches FLUX a product or a character from a folder of photos.

usage: flux-lora <verb> recipe=<name> [key=value ...]

verbs
{verbs}

groups
{groups}

start here
  flux-lora run recipe=demo                            no GPU, no download
  flux-lora check recipe=product data.folder=photos data.trigger=zorb data.class_word=mug
  flux-lora train recipe=product model=flux_dev --cfg job          show everything that is set

flags (Hydra's own)
  --cfg job             print the whole configuration, and stop
  -m, --multirun        one run for each of a=1,2:  flux-lora train -m recipe=demo adapter.rank=8,16
  --config-dir <folder> your own recipe/, model/, hardware/ and tracker/ files
  -sc install=bash      tab completion:  eval "$(flux-lora -sc install=bash)"
  --help, --version

every knob and its reason: flux-lora train --help
"""


def overview() -> str:
    """flux-lora --help: verbs, groups, first commands and flags, on one screen."""
    verbs = "\n".join(f"  {verb:<10}{does}" for verb, does in VERBS.items())
    return OVERVIEW.format(verbs=verbs, groups=group_lines())


def group_lines() -> str:
    """Each group with the names that ship with the package; a frozen version has its recipe's name and @1."""
    lines = []
    for group in GROUPS:
        names = sorted(file.stem for file in (asset_folder("recipes") / group).glob("*.yaml"))
        now = [name for name in names if "@" not in name]
        frozen = "; as they were in their first version: product@1" if len(now) < len(names) else ""
        first, *more = wrap(", ".join(now) + frozen, WIDTH - 12)
        lines += [f"  {group:<10}{first}", *(" " * 12 + line for line in more)]
    return "\n".join(lines)


def verb_help(verb: str) -> str:
    """What a verb does, and every knob with its default and reason."""
    if verb in ON_FILES:
        knobs = listed(knobs_of(ON_FILES[verb]))
        return "\n".join([f"flux-lora {verb} [key=value ...]", f"  {VERBS[verb]}", "", *knobs])
    lines = [f"flux-lora {verb} recipe=<name> [key=value ...]", f"  {VERBS[verb]}"]
    if verb == "export":
        lines += ["", "of an adapter that another tool trained:", *listed(knobs_of(file_verbs.ExportAdapterArgs)[:2])]
    if verb == "evaluate":
        lines += ["", "of several runs, side by side:", *listed(knobs_of(file_verbs.CompareRunsArgs))]
    return "\n".join([*lines, "", "groups", group_lines(), "", "knobs", *listed(all_knobs())])


def listed(knobs: Sequence[Knob]) -> Iterator[str]:
    """Key, default, reason and choices of each knob, as lines."""
    for knob in knobs:
        choices = f" ({', '.join(knob.choices)})" if knob.choices else ""
        reason = wrap(knob.reason + choices, WIDTH - COLUMN - 2)
        yield f"  {knob.key + '=' + knob.default:<{COLUMN}}{reason[0]}"
        yield from (" " * (COLUMN + 2) + more for more in reason[1:])

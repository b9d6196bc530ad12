"""The command line: a verb, then Hydra's own overrides. A user error is two lines and exit code 2.

Nothing heavy is imported before the verb is known, so that --help and typos answer at once.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from textwrap import wrap

from flux_lora import __version__
from flux_lora.config.assets import asset_folder
from flux_lora.config.knobs import all_knobs, nearest
from flux_lora.config.schema import RunConfig
from flux_lora.errors import ConfigError, RunError, UserError

VERBS = {
    "check": "read photos and captions, and list every problem with its fix",
    "caption": "propose captions for photos that have none",
    "prepare": "encode photos and captions into the cache",
    "train": "teach the adapter; the same command again continues where it stopped",
    "evaluate": "score checkpoints and strengths, and choose one:  flux-lora evaluate run=runs/demo",
    "cache": "say what the cache holds, verify or prune it:  flux-lora cache status run=runs/demo",
    "export": "write one .safetensors, and load it back to prove it:  flux-lora export run=runs/demo",
    "inspect": "say what is in a LoRA file:  flux-lora inspect file=mug.safetensors",
    "run": "all of it, from photos to a report",
}
PHOTOS_ALONE = ("check", "caption")
"""Verbs that need no recipe: they help those who train with something else, too."""
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


def main() -> None:
    """Entry point of `flux-lora` and `python -m flux_lora`."""
    try:
        code = answer(sys.argv[1:])
    except UserError as error:
        print(f"{error.problem}\nfix: {error.fix}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command again continues", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # whoever read along, `| head` for one, has seen enough; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def answer(arguments: Sequence[str]) -> int:
    """Do what the command line asks; the exit code."""
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", ())
    if verb in ("-h", "--help", "help"):
        print(overview())
        return 0
    if verb == "--version":
        print(f"flux-lora {__version__}")
        return 0
    if verb in ("-sc", "--shell-completion"):
        return complete(arguments)
    if verb not in VERBS:
        near = nearest(verb, tuple(VERBS))
        raise ConfigError(
            f"there is no verb {verb!r}",
            fix=f"did you mean {near!r}?" if near else f"the verbs are: {', '.join(VERBS)}",
        )
    if "-h" in rest or "--help" in rest:
        print(verb_help(verb))
        return 0
    if verb == "inspect":
        return inspect_file(rest)
    if verb == "cache":
        return tend_cache(rest)
    return follow(verb, rest)


def follow(verb: str, arguments: Sequence[str]) -> int:
    """Compose the run that is asked for, and do the verb on it."""
    from flux_lora.config.compose import changes_of_this_job, config_of, read_request, through_hydra

    if verb in PHOTOS_ALONE and not any(each.startswith(("recipe=", "run=")) for each in arguments):
        arguments = ["recipe=photos", *arguments]
    request = read_request(arguments)
    if request.sweeps:
        again = [each for each in arguments if each.startswith("run=")]
        again += ["--config-dir", request.config_dir] if request.config_dir else []
        through_hydra(request, job=lambda _: run_in_child([verb, *again, *changes_of_this_job()]))
        return 0
    if request.shows:
        through_hydra(request, job=lambda _: None)
        return 0
    config = config_of(request)
    return command_of(verb)(config)


def command_of(verb: str) -> Callable[[RunConfig], int]:
    """The function behind a verb, imported only now. transformers then remarks on libraries that nobody here needs."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    return vars(import_module(f"flux_lora.commands.{verb}"))[verb]


def inspect_file(arguments: Sequence[str]) -> int:
    """inspect takes a file and no recipe."""
    files = [each.removeprefix("file=") for each in arguments if each.startswith("file=")]
    if len(files) != 1 or len(arguments) != 1:
        raise ConfigError("inspect takes one file", fix="write: flux-lora inspect file=<name>.safetensors")
    from flux_lora.commands.inspect import inspect

    return inspect(Path(files[0]))


def tend_cache(arguments: Sequence[str]) -> int:
    """cache takes what to do, and a run folder or the cache's own."""
    actions = [each for each in arguments if "=" not in each]
    places = dict(each.split("=", 1) for each in arguments if "=" in each)
    if len(actions) != 1 or len(places) != 1 or not places.keys() <= {"run", "folder"}:
        raise ConfigError(
            "cache takes one thing to do and one place",
            fix="write: flux-lora cache status|verify|prune run=<run folder>, or folder=<cache folder>",
        )
    from flux_lora.commands.cache import cache
    from flux_lora.commands.run_folder import RunFolder

    return cache(actions[0], RunFolder(Path(places["run"])).cache if "run" in places else Path(places["folder"]))


def run_in_child(arguments: Sequence[str]) -> None:
    """One job of a sweep in a process of its own: torch and accelerate keep state that a second job would meet."""
    print(f"flux-lora {' '.join(arguments)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "flux_lora", *arguments], check=False).returncode
    if code:
        raise RunError(
            f"a job of the sweep ended with exit code {code}", fix="read what it said above, then run it alone"
        )


def complete(arguments: Sequence[str]) -> int:
    """Tab completion: verbs here, everything after them by Hydra."""
    words = os.environ.get("COMP_LINE", "").split(" ")
    if "query" in " ".join(arguments):
        if len(words) < 3:
            print(" ".join(verb for verb in VERBS if verb.startswith(words[-1] if len(words) > 1 else "")))
            return 0
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    from flux_lora.config.compose import read_request, through_hydra

    through_hydra(read_request(arguments), job=lambda _: None)
    return 0


def overview() -> str:
    """What a newcomer needs on one screen."""
    verbs = "\n".join(f"  {verb:<10}{does}" for verb, does in VERBS.items())
    return OVERVIEW.format(verbs=verbs, groups=group_lines())


def group_lines() -> str:
    """Each group with the names that ship with the package."""
    return "\n".join(
        f"  {group:<10}{', '.join(sorted(file.stem for file in (asset_folder('recipes') / group).glob('*.yaml')))}"
        for group in GROUPS
    )


def verb_help(verb: str) -> str:
    """What a verb does, and every knob with its default and reason."""
    if verb == "inspect":
        return "flux-lora inspect file=<name>.safetensors\n  " + VERBS[verb]
    lines = [
        f"flux-lora {verb} recipe=<name> [key=value ...]",
        f"  {VERBS[verb]}",
        "",
        "groups",
        group_lines(),
        "",
        "knobs",
    ]
    for knob in all_knobs():
        choices = f" ({', '.join(knob.choices)})" if knob.choices else ""
        reason = wrap(knob.reason + choices, WIDTH - COLUMN)
        lines += [
            f"  {knob.key + '=' + knob.default:<{COLUMN}}{reason[0]}",
            *(" " * (COLUMN + 2) + more for more in reason[1:]),
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

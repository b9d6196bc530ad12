"""The command line: a verb, then key=value. A user error is two lines and exit code 2.

Nothing heavy is imported before the verb is known, so that --help and typos answer at once.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

from flux_lora import __version__
from flux_lora.config.file_verbs import CompareRunsArgs, ExportAdapterArgs
from flux_lora.config.help import ON_FILES, VERBS, overview, verb_help
from flux_lora.config.knobs import knobs_of, nearest
from flux_lora.errors import ConfigError, RunError, UserError

PHOTOS_ALONE = ("check", "caption")
"""Verbs that need no recipe: they help those who train with something else, too."""


UNKNOWN_YET = ("data.folder=photos", "data.trigger=zorb", "data.class_word=thing")
"""What a plan does not depend on, and need not be told."""


def main() -> None:
    """Entry point of `flux-lora` and `python -m flux_lora`."""
    try:
        code = answer(sys.argv[1:])
    except UserError as error:
        print(f"{error.problem}\nfix: {error.fix}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        fresh = " with train.resume=auto" if any(word == "train.resume=fresh" for word in sys.argv) else ""
        print(f"stopped; the same command again{fresh} continues", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # the reader, `| head` for one, has closed the pipe; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def answer(arguments: Sequence[str]) -> int:
    """Do what the command line asks; the exit code."""
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", ())
    match verb:
        case "-h" | "--help" | "help":
            print(overview())
        case "--version":
            print(f"flux-lora {__version__}")
        case "-sc" | "--shell-completion":
            return complete(arguments)
        case _ if verb not in VERBS:
            near = nearest(verb, tuple(VERBS))
            raise ConfigError(
                f"there is no verb {verb!r}",
                fix=f"did you mean {near!r}?" if near else f"the verbs are: {', '.join(VERBS)}",
            )
        case _ if "-h" in rest or "--help" in rest:
            print(verb_help(verb))
        case _:
            return do(verb, rest)
    return 0


def do(verb: str, words: Sequence[str]) -> int:
    """Follow the words after a verb in the way that this verb reads them."""
    if verb in ON_FILES:
        return follow_words(verb, ON_FILES[verb], words)
    if verb == "export" and any(word.startswith("adapter=") for word in words):
        return follow_words("export_adapter", ExportAdapterArgs, words)
    if verb == "evaluate" and any(word.startswith("runs=") for word in words):
        return follow_words("compare_runs", CompareRunsArgs, words)
    if verb == "evaluate":
        words = judging_a_file(words)
    return tend_cache(words) if verb == "cache" else follow(verb, words)


def judging_a_file(words: Sequence[str]) -> list[str]:
    """evaluate adapter=<file>: the file is judged in a run folder of its own, unless one is named."""
    given = [word.partition("=")[2] for word in words if word.startswith("adapter=")]
    if not given:
        return list(words)
    rest = [word for word in words if not word.startswith("adapter=")]
    own = [] if any(word.startswith("run.dir=") for word in rest) else [f"run.dir=runs/judged-{Path(given[-1]).stem}"]
    return [*rest, f"evaluate.adapter={given[-1]}", *own]


def follow(verb: str, arguments: Sequence[str]) -> int:
    """Compose the run that is asked for, and do the verb on it."""
    from flux_lora.config.compose import changes_of_this_job, config_from, read_request, through_hydra

    if verb == "plan":
        arguments = [*(word for word in UNKNOWN_YET if not _says(arguments, word)), *arguments]
    if verb in PHOTOS_ALONE and not any(word.startswith(("recipe=", "run=")) for word in arguments):
        arguments = ["recipe=photos", *arguments]
    request = read_request(arguments)
    if request.sweeps:
        refuse_one_place(verb, arguments)
        origin = [word for word in arguments if word.startswith("run=")]
        origin += ["--config-dir", request.config_dir] if request.config_dir else []
        through_hydra(request, job=lambda _: run_in_child([verb, *origin, *changes_of_this_job()]))
        return 0
    if request.shows:
        through_hydra(request, job=lambda _: None)
        return 0
    config = config_from(request)
    return command_of(verb)(config)


def refuse_one_place(verb: str, arguments: Sequence[str]) -> None:
    """Jobs of a sweep that export to one place would be refused one after the other, each after the one before it has
    trained."""
    for word in arguments if verb in ("run", "export") else ():
        key, _, place = word.partition("=")
        of_each = not place or "," in place or "${" in place
        if key in ("export.dir", "export.file") and not of_each:
            raise ConfigError(
                f"every job of the sweep would export to {place}",
                fix=f"leave {key} out: each job has export/ in a run folder of its own",
            )


def _says(arguments: Sequence[str], word: str) -> bool:
    """Whether the key of a word is given, or may be in a recipe that is reopened."""
    key = word.partition("=")[0]
    return any(given.startswith((f"{key}=", "run=")) for given in arguments)


def follow_words(verb: str, kind: type, words: Sequence[str]) -> int:
    """Do a verb that works on files; `kind` is the class of its arguments."""
    from flux_lora.config.key_values import read_key_values

    return command_of(verb)(read_key_values(kind, verb, words))


def command_of(verb: str) -> Callable[[Any], int]:
    """The function behind a verb, imported only now. transformers is kept from warning of libraries not needed here."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns that a kernel for CPUs is not installed
    if verb in PHOTOS_ALONE:  # images are measured in parallel, and numpy's own threads would crowd them
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return vars(import_module(f"flux_lora.commands.{verb}"))[verb]


def tend_cache(arguments: Sequence[str]) -> int:
    """cache takes what to do, and a run folder or the cache's own."""
    actions = [word for word in arguments if "=" not in word]
    places = dict(word.split("=", 1) for word in arguments if "=" in word)
    if len(actions) != 1 or len(places) != 1 or not places.keys() <= {"run", "folder"}:
        raise ConfigError(
            "cache takes one thing to do and one place",
            fix="write: flux-lora cache status|verify|prune run=<run folder>, or folder=<cache folder>",
        )
    from flux_lora.commands.cache import cache
    from flux_lora.runs.folder import RunFolder

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
        if words[1] in ON_FILES:
            keys = [f"{knob.key}=" for knob in knobs_of(ON_FILES[words[1]])]
            print(" ".join(key for key in keys if key.startswith(words[-1])))
            return 0
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    from flux_lora.config.compose import read_request, through_hydra

    with redirect_stderr(StringIO()):  # remarks on old keys would end up in the line that is being typed
        through_hydra(read_request(arguments), job=lambda _: None)
    return 0


if __name__ == "__main__":
    main()

"""reproduce: write the recipe of a file back, and say what else is needed to make it again."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote

import yaml
from rich.console import Console

from flux_lora import __version__
from flux_lora.adapter.header import printable
from flux_lora.adapter.reproduce import Reproduction, read_reproduction
from flux_lora.config.assets import asset_folder
from flux_lora.config.compose import read_recipe
from flux_lora.config.error_messages import no_such_option
from flux_lora.config.file_verbs import ReproduceArgs
from flux_lora.errors import ConfigError, RunError

PACKAGES = ("torch", "diffusers", "transformers", "peft")
LONGEST_CHANGE = 400
ANEW = "it is trained anew: the weights of a LoRA fit the base that it was trained on, and no other"
LIST_INDENT = "  "


def reproduce(ask: ReproduceArgs) -> int:
    """Write the recipe beside the file; 1 if the file holds none."""
    terminal = Console(highlight=False, soft_wrap=True, markup=False)
    file = Path(ask.file)
    found = read_reproduction(file, _here())
    if not found.recipe:
        _say_what_there_is(terminal, found)
        return 1
    recipe, changes = _on_base(found.recipe, ask.model) if ask.model else (found.recipe, [])
    written = _write(recipe, Path(ask.out) if ask.out else file.with_suffix(".recipe.yaml"))
    terminal.print(f"{written} holds the recipe. What else it takes:")
    for need in found.needs:
        terminal.print(f"{LIST_INDENT}- {printable(need)}")
    for change in changes:
        terminal.print(f"{LIST_INDENT}- {printable(change, LONGEST_CHANGE)}")
    for complaint in _unfit(written):
        terminal.print(f"{LIST_INDENT}- to mend in it, for this version of flux_lora: {printable(complaint)}")
    terminal.print(
        f"then: mkdir runs/again; cp {quote(str(written))} runs/again/recipe.yaml; flux-lora run run=runs/again"
    )
    return 0


def _on_base(recipe: str, model: str) -> tuple[str, list[str]]:
    """The recipe with another base's section, and what that changes: all else stays as it was trained."""
    folder = asset_folder("recipes") / "model"
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if model not in known:
        raise no_such_option(f"model/{model}", known)
    settings = yaml.safe_load(recipe)
    section = yaml.safe_load((folder / f"{model}.yaml").read_text(encoding="utf-8"))
    before = settings.get("model") if isinstance(settings.get("model"), dict) else {}
    changes = [
        f"model.{key} was {before.get(key)!r} and is {value!r}"
        for key, value in section.items()
        if before.get(key) != value
    ]
    title = recipe.partition("\n")[0]
    text = yaml.safe_dump({**settings, "model": section}, sort_keys=False, allow_unicode=True, width=120)
    return f"{title}\n{text}", [*changes, ANEW]


def _say_what_there_is(terminal: Console, found: Reproduction) -> None:
    for need in found.needs:
        terminal.print(f"- {need}")
    for key, value in found.said.items():
        terminal.print(f"{LIST_INDENT}{printable(key)}: {printable(value)}")
    if found.start:
        terminal.print(f"a start: flux-lora train recipe=product {' '.join(found.start)}")


def _write(recipe: str, file: Path) -> Path:
    """Never over a file that exists."""
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(recipe)
    except FileExistsError:
        raise RunError(f"{file} exists", fix="move it away, or give out=<another name>.yaml") from None
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}", fix="give out=<a place you own>.yaml") from error
    return file


def _unfit(recipe: Path) -> list[str]:
    """What this version has against a recipe that another one may have written."""
    try:
        read_recipe(recipe)
    except ConfigError as error:
        return [f"{error.problem}; {error.fix}"]
    return []


def _here() -> dict[str, str]:
    found = {"flux_lora": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

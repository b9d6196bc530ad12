"""YAML and overrides in, a frozen RunConfig out. The only module that knows Hydra.

The command line is Hydra's own (`hydra.main` on the arguments after the verb), so overrides, groups,
sweeps, --cfg, --info, --config-dir and tab completion are what its users know. Switched off are its
changed working directory, its output folder and its logging.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import cast

import hydra
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigResult
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flux_lora.atomic import replacing
from flux_lora.config import error_messages
from flux_lora.config.assets import asset_folder
from flux_lora.config.key_values import tree_of, with_tuples
from flux_lora.config.knobs import all_knobs, sections
from flux_lora.config.old_names import overrides_with_new_names, with_new_names
from flux_lora.config.rules import broken_rules
from flux_lora.config.schema import DataConfig, ModelConfig, RunConfig, TrainConfig
from flux_lora.errors import ConfigError

RECIPE_FILE = "recipe.yaml"
LONGEST_NAME = 140
"""Letters of a sweep job's run folder."""
GROUPS = ("recipe", "model", "hardware", "tracker")
PATHS = frozenset(
    (
        "data.folder",
        "data.held_out",
        "data.prompts",
        "data.mask_folder",
        "model.path",
        "model.transformer",
        "model.vae",
        "model.text_encoder",
        "model.text_encoder_2",
        "adapter.start",
        "train.resume",
        "run.dir",
        "export.dir",
        "export.file",
    )
) | {"evaluate.adapter", "captioner.model", "model.scorer", "model.likeness", "model.distilled"}
"""Keys whose value is a path."""
AS_TYPED = PATHS | {"data.prefix", "data.suffix"}
"""Keys whose value is taken as it stands: a prefix ends with a blank, or it is glued to the caption."""
PRIMARY = "flux_lora"
SCHEMA = "flux_lora_schema"

OmegaConf.register_new_resolver("template", lambda name: str(asset_folder("data_templates") / name), replace=True)


@dataclass(frozen=True)
class Request:
    """The arguments after the verb, sorted: Hydra's flags must stand before the overrides."""

    flags: tuple[str, ...]
    overrides: tuple[str, ...]
    run: str
    """The folder of run=<folder>: its recipe is reopened instead of a recipe being named."""
    config_dir: str
    sweeps: bool
    shows: bool
    """Hydra itself answers: --cfg, --info, --shell-completion."""

    @property
    def completes(self) -> bool:
        """A shell asks what could follow."""
        return "-sc" in self.flags or "--shell-completion" in self.flags


def read_request(arguments: Sequence[str]) -> Request:
    """Sort the arguments, old keys by their new names; ConfigError for what is neither a flag nor key=value."""
    overrides = tuple(word for word in arguments if "=" in word and not word.startswith("-") or word[:1] in "+~")
    flags = tuple(word for word in arguments if word not in overrides)
    run = [word.removeprefix("run=") for word in overrides if word.startswith("run=")]
    parsed, unknown = get_args_parser().parse_known_args(list(flags))
    stray = [*unknown, *parsed.overrides]
    if stray:
        raise error_messages.stray_word(stray[0])
    if parsed.config_dir and not Path(parsed.config_dir).is_dir():
        raise ConfigError(
            f"--config-dir {parsed.config_dir} is not a folder", fix="name one with a recipe/ folder in it"
        )
    taken_as_they_stand = [_quoted(word, sweeps=parsed.multirun) for word in overrides]
    return Request(
        flags=(*flags, "--resolve") if parsed.cfg == "job" and not parsed.resolve else flags,
        overrides=overrides_with_new_names([word for word in taken_as_they_stand if not word.startswith("run=")]),
        run=run[-1] if run else "",
        config_dir=parsed.config_dir or "",
        sweeps=parsed.multirun,
        shows=bool(parsed.cfg or parsed.info or parsed.shell_completion),
    )


def _quoted(word: str, *, sweeps: bool) -> str:
    """A path, or a text around captions, as it was typed, whatever its characters mean to Hydra: ~, brackets, commas,
    letters of any language, blanks at its ends.

    A sweep's commas separate paths, and what is quoted already or refers to another key is left alone.
    """
    key, given, value = word.partition("=")
    if key not in AS_TYPED or not given or value[:1] in ("'", '"', "") or "${" in value or (sweeps and "," in value):
        return word
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    tail = "\\" * (len(value) - len(value.rstrip("\\")))  # backslashes at the end stand before the closing quote
    return f"{key}='{escaped}{tail}'"


def compose_config(overrides: Sequence[str], *, config_dir: Path | None = None) -> RunConfig:
    """Defaults, then groups, then the recipe, then overrides; typed, frozen and checked."""
    flags = ("--config-dir", str(config_dir)) if config_dir else ()
    return config_from(read_request([*flags, *overrides]))


def reopen(run_dir: Path, overrides: Sequence[str]) -> RunConfig:
    """The recipe of a run folder, with overrides on top."""
    return config_from(read_request([f"run={run_dir}", *overrides]))


def config_from(request: Request) -> RunConfig:
    """Everything one run is made of; ConfigError where it cannot be composed or breaks a rule."""
    composed: list[DictConfig] = []
    through_hydra(request, job=lambda tree: composed.append(_with_run_folder(tree)))
    return _frozen(composed[0])


def read_recipe(file: Path) -> RunConfig:
    """A run folder's recipe, checked as any other."""
    return _frozen(_stored(file))


def knobs_in(file: Path) -> frozenset[str]:
    """The knobs that a recipe.yaml names, by dotted keys of this version."""
    tree = OmegaConf.to_container(_with_new_names(OmegaConf.load(file), where=str(file)), resolve=False)
    return frozenset(key for key, _ in _flat(cast(Mapping[str, object], tree)))


def write_recipe(config: RunConfig, file: Path, *, without: str = "") -> None:
    """Everything resolved, but for a knob of these dotted words that the run does not know. The file is whole or not
    there."""
    title = f"# What this run is made of. Continue it: flux-lora train run={file.parent}\n"
    tree = OmegaConf.structured(config)
    if without:
        section, _, knob = without.partition(".")
        plain = cast(dict[str, dict[str, object]], OmegaConf.to_container(tree, enum_to_str=True))
        plain[section].pop(knob)
        tree = OmegaConf.create(plain)
    text = title + OmegaConf.to_yaml(tree)
    with replacing(file, half_written=file.with_suffix(".partial")) as opened:
        opened.write(text.encode("utf-8"))


def flat_settings(config: RunConfig) -> dict[str, str | int | float | bool]:
    """The recipe by dotted keys: train.steps -> 1500; a list as its text."""
    plain = _flat(asdict(config))
    return {key: value if isinstance(value, str | int | float | bool) else str(value) for key, value in plain}


def _flat(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def through_hydra(request: Request, *, job: Callable[[DictConfig], None]) -> None:
    """Let Hydra compose, and call the job once for each run, or let it answer by itself."""
    _register(_stored(Path(request.run) / RECIPE_FILE) if request.run else None)
    if not request.completes:
        _refuse_unknown_keys(request)
    overrides = [_appended(override) for override in request.overrides] if request.run else request.overrides
    with _as_command_line([*request.flags, *overrides]), _recipes_of_earlier_versions():
        try:
            hydra.main(config_path=str(asset_folder("recipes")), config_name=PRIMARY, version_base="1.3")(job)()
        except MissingConfigException as error:
            raise error_messages.no_such_option(error.missing_cfg_file or "", error.options or ()) from error
        except (HydraException, OmegaConfBaseException) as error:
            raise error_messages.translated(error) from error


def changes_of_this_job() -> tuple[str, ...]:
    """The overrides of the sweep job that Hydra is about to run, with a run folder of its own."""
    task = tuple(HydraConfig.get().overrides.task)
    if any(override.startswith("run.dir=") for override in task):
        return task
    differences = ",".join(override for override in task if not override.startswith("recipe="))
    name = re.sub(r"[^\w.,=+-]+", "_", f"{HydraConfig.get().runtime.choices.get('recipe', '')}-{differences}")
    return (*task, f"run.dir='runs/{folder_name(name)}'")


def folder_name(name: str) -> str:
    """A name that is not too long for a folder. What is cut off is often what differs, so its digest stays."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{sha256(name.encode()).hexdigest()[:8]}"


def _register(stored: DictConfig | None) -> None:
    """Hand Hydra the schema, or a stored recipe in its place, and the groups on top of it."""
    store = ConfigStore.instance()
    groups = [] if stored else [{"model": "mini"}, {"hardware": "auto"}, {"tracker": "none"}, {"recipe": "???"}]
    no_logging = [{"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}]
    sweep = {"dir": "runs/sweeps/${now:%Y-%m-%d_%H-%M-%S}", "subdir": "."}
    store.store(SCHEMA, stored or _schema())
    store.store(
        PRIMARY,
        {
            "defaults": [SCHEMA, *groups, "_self_", *no_logging],
            "hydra": {"run": {"dir": "."}, "output_subdir": None, "sweep": sweep},
        },
    )


def _schema() -> DictConfig:
    tree = tree_of(RunConfig)
    for section, kind in (("model", ModelConfig), ("data", DataConfig), ("train", TrainConfig)):
        tree[section] = tree_of(kind)
    tree.run.dir = "runs/${hydra:runtime.choices.recipe}"
    return tree


def _stored(file: Path) -> DictConfig:
    if not file.is_file():
        raise ConfigError(
            f"there is no {file}", fix="name a run folder: train and run write one with recipe.yaml in it"
        )
    try:
        tree = OmegaConf.merge(_schema(), _with_new_names(OmegaConf.load(file), where=str(file)))
    except OmegaConfBaseException as error:
        raise error_messages.translated(error, where=str(file)) from error
    assert isinstance(tree, DictConfig), "the schema is a mapping, and so is what is merged over it"
    tree.run.dir = str(file.parent)
    return tree


def _with_new_names(tree: Container, *, where: str, prefix: str = "") -> Container:
    plain = OmegaConf.to_container(tree, resolve=False)
    renamed = with_new_names(plain, where=where, prefix=prefix)
    if renamed == plain:
        return tree
    assert isinstance(renamed, dict | list), "a container becomes a container"
    return OmegaConf.create(renamed)


class _FileSource(FileConfigSource):
    """Hydra's reader of YAML files, which also takes the keys of earlier versions."""

    def load_config(self, config_path: str) -> ConfigResult:
        loaded = super().load_config(config_path)
        package = loaded.header["package"] or config_path.rpartition("/")[0].replace("/", ".")
        prefix = "" if package in ("", "_global_") else f"{package}."
        loaded.config = _with_new_names(loaded.config, where=config_path, prefix=prefix)
        return loaded


@contextmanager
def _recipes_of_earlier_versions() -> Iterator[None]:
    """Have Hydra read files, those of --config-dir among them, by _FileSource."""
    Plugins.instance()  # registers Hydra's own reader, which would be refused later
    readers = SourcesRegistry.instance().types
    before, readers["file"] = readers["file"], _FileSource
    try:
        yield
    finally:
        readers["file"] = before


def _refuse_unknown_keys(request: Request) -> None:
    folders = [asset_folder("recipes"), *([Path(request.config_dir)] if request.config_dir else [])]
    groups = {path.relative_to(folder).as_posix() for folder in folders for path in folder.rglob("*/")}
    known = {knob.key for knob in all_knobs()} | set(sections()) | groups
    keys = [_key_of(override) for override in request.overrides]
    for key in keys:
        if key not in known and key.split("/")[0].split(".")[0] != "hydra":
            raise error_messages.unknown_key(key, groups=sorted(groups))
    if "recipe" not in keys and not request.run:
        files = [file for folder in folders for file in (folder / "recipe").glob("*.yaml")]
        recipes = sorted(file.stem for file in files if "@" not in file.stem)  # frozen ones are for who knows of them
        raise ConfigError("no recipe is named", fix="add one of: " + ", ".join(f"recipe={name}" for name in recipes))


def _key_of(override: str) -> str:
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise error_messages.unreadable(override) from error
    if parsed.is_delete():
        raise ConfigError(f"{override} would remove a knob", fix=f"give it a value: {parsed.key_or_group}=<value>")
    return parsed.key_or_group


def _appended(override: str) -> str:
    """A reopened recipe has no groups left in it; Hydra then takes hardware=cpu only as +hardware=cpu."""
    return f"+{override}" if override.split("=")[0] in GROUPS else override


def _with_run_folder(tree: DictConfig) -> DictConfig:
    """Only while Hydra's job runs is the name of the recipe known."""
    tree.run.dir = tree.run.dir
    return tree


def _frozen(tree: DictConfig) -> RunConfig:
    try:
        OmegaConf.resolve(tree)
    except OmegaConfBaseException as error:
        raise error_messages.translated(error) from error
    missing = sorted(OmegaConf.missing_keys(tree))
    if missing:
        raise error_messages.missing_values(missing)
    config = OmegaConf.to_object(tree)
    assert isinstance(config, RunConfig), "the root of the schema is RunConfig"
    config = with_tuples(config)
    broken = list(broken_rules(config))
    if broken:
        raise ConfigError("\n".join(problem for problem, _ in broken), fix="\n     ".join(fix for _, fix in broken))
    return config


@contextmanager
def _as_command_line(arguments: Sequence[str]) -> Iterator[None]:
    """hydra.main reads sys.argv, and ends the process on an error unless it is told to raise it."""
    argv = sys.argv
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = [argv[0], *arguments], "1"
    try:
        yield
    finally:
        sys.argv = argv

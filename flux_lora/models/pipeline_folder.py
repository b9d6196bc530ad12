"""Where a pipeline and its parts are: inside the package, in a folder, or on the hub.

No weights are opened and diffusers is not imported, so that `check` starts quickly.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from flux_lora.errors import ModelError
from flux_lora.models.hub import HUB_ID, fetched
from flux_lora.models.mini import MINI, mini_folder

INDEX, MODULAR_INDEX = "model_index.json", "modular_model_index.json"
"""What a pipeline's folder has: the latter where diffusers puts the pipeline together of blocks, as FLUX.3's."""


def local_folder(path: str) -> Path:
    """Where a pipeline is if it is on this disk: the embedded base for "mini", else the folder of this name."""
    return mini_folder() if path == MINI else Path(path).expanduser()


def is_here(path: str) -> bool:
    """Whether a pipeline is on this disk as a folder."""
    return has_index(local_folder(path))


def model_folder(path: str) -> str:
    """Where a pipeline is: the embedded base for "mini", a folder on this disk, or the hub id as it was given."""
    folder = local_folder(path)
    if has_index(folder):
        return str(folder)
    if not folder.exists() and path != MINI and HUB_ID.fullmatch(path):
        return path
    if folder.is_file():
        raise ModelError(
            f"{folder} is a file, and model.path wants a whole model: VAE and text encoders too",
            fix=f"set model.transformer={folder}, and model.path to the model that it belongs to",
        )
    raise ModelError(
        f"{folder} is not a diffusers pipeline folder: it has no {INDEX}",
        fix="set model.path to a folder that has one, to a hub id such as black-forest-labs/FLUX.1-dev, or to mini",
    )


def has_index(folder: Path) -> bool:
    """Whether a folder is a diffusers pipeline's."""
    return (folder / INDEX).is_file() or (folder / MODULAR_INDEX).is_file()


def part_folder(path: str, part: str, revision: str = "") -> Path:
    """One part of a pipeline (vae, transformer, ...) as a folder on this disk, fetched from the hub if need be."""
    return first_part_folder(path, (part,), revision)


def first_part_folder(path: str, parts: Sequence[str], revision: str = "") -> Path:
    """The first of these parts that a pipeline has. Raises ModelError where it has none of them."""
    place = model_folder(path)
    root = Path(place)
    if not root.is_dir():
        root = fetched(place, [INDEX, MODULAR_INDEX, *(f"{part}/*" for part in parts)], revision)
    found = next((part for part in parts if (root / part).is_dir()), "")
    if not found:
        raise ModelError(f"{root} has no {parts[-1]}/", fix=f"fetch the whole model again, with its {parts[-1]} folder")
    return root / found


@contextmanager
def broken_files_explained(folder: Path) -> Iterator[None]:
    """What a library says of damaged files, with the way out."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{folder} cannot be opened: {reason}", fix="fetch the model again; a file is missing or cut short"
        ) from error


def part_settings(path: str, part: str, usual: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config.json of a part of a pipeline that is on this disk, else the usual settings; nothing is fetched."""
    folder = local_folder(path)
    file = folder / part / "config.json"
    if not is_here(path) or not file.is_file():
        return usual
    kept = json.loads(file.read_text(encoding="utf-8"))
    return {name: value for name, value in without_packing(kept, folder / part).items() if not name.startswith("_")}


def is_packed(folder: Path) -> bool:
    """Whether a part's weights are in few bits by its config.json. Raises ModelError as `without_packing` does."""
    kept = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return len(without_packing(kept, folder)) < len(kept)


def without_packing(settings: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A part's settings without how its weights are packed: they are made whole on their way.

    Raises ModelError where that is not bitsandbytes' way, the one that is read.
    """
    packing = settings.get("quantization_config")
    method = packing.get("quant_method") if isinstance(packing, dict) else packing
    if method and method != "bitsandbytes":
        raise ModelError(
            f"{folder} is packed by {method}, which is not read; bitsandbytes' 8 and 4 bits are",
            fix="give the model in 16 bits; hardware.quantize packs it",
        )
    return {name: value for name, value in settings.items() if name != "quantization_config"}

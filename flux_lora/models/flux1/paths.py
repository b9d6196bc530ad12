"""Where a FLUX.1 pipeline and its parts are: inside the package, in a folder, or on the hub; its tokenizers.

No weights are opened and diffusers is not imported, so that `check` starts quickly.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from transformers import AutoTokenizer, CLIPTokenizer, PreTrainedTokenizerBase

from flux_lora.errors import ModelError
from flux_lora.models.hub import HUB_ID, fetched
from flux_lora.models.mini import MINI, mini_folder

INDEX = "model_index.json"
TEXT_PARTS = ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2")


def local_folder(path: str) -> Path:
    """Where a pipeline is if it is on this disk: the embedded base for "mini", else the folder of this name."""
    return mini_folder() if path == MINI else Path(path).expanduser()


def model_folder(path: str) -> str:
    """Where a pipeline is: the embedded base for "mini", a folder on this disk, or the hub id as it was given."""
    folder = local_folder(path)
    if (folder / INDEX).is_file():
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


def part_folder(path: str, part: str, revision: str = "") -> Path:
    """One part of a pipeline (vae, transformer, ...) as a folder on this disk, fetched from the hub if need be."""
    place = model_folder(path)
    root = Path(place)
    if not root.is_dir():
        root = fetched(place, [INDEX, f"{part}/*"], revision)
    if not (root / part).is_dir():
        raise ModelError(f"{root} has no {part}/", fix=f"fetch the whole model again, with its {part} folder")
    return root / part


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


TOKENIZERS = Path(__file__).parent / "tokenizers"
"""FLUX.1's own two, which every release and derivative of it shares; licences in NOTICE."""


def load_tokenizers(path: str) -> tuple[CLIPTokenizer, PreTrainedTokenizerBase]:
    """CLIP's and T5's tokenizers alone, enough to count tokens: of a base on this disk, else those of FLUX.1 itself."""
    there = Path(model_folder(path)).is_dir()
    clip, t5 = (part_folder(path, part) if there else TOKENIZERS / part for part in ("tokenizer", "tokenizer_2"))
    with broken_files_explained(t5.parent):
        return CLIPTokenizer.from_pretrained(clip), AutoTokenizer.from_pretrained(t5)

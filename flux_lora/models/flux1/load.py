"""Open the parts of a FLUX.1 pipeline: the embedded base, a diffusers folder, or a model on the hub."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer, CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerBase, T5EncoderModel

from flux_lora.errors import ModelError
from flux_lora.models.flux1.text import TextEncoders
from flux_lora.models.hub import fetched
from flux_lora.models.mini import mini_folder

MINI = "mini"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
INDEX = "model_index.json"
TEXT_PARTS = ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2")

Part = TypeVar("Part", bound=nn.Module)
Place = torch.device | str


def model_folder(path: str) -> str:
    """Where a pipeline is: the embedded base for "mini", a folder on this disk, or the hub id as it was given."""
    folder = mini_folder() if path == MINI else Path(path).expanduser()
    if (folder / INDEX).is_file():
        return str(folder)
    if not folder.exists() and path != MINI and HUB_ID.fullmatch(path):
        return path
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


def load_transformer(
    path: str, dtype: torch.dtype, *, device: Place = "cpu", revision: str = ""
) -> FluxTransformer2DModel:
    """The transformer, frozen."""
    folder = part_folder(path, "transformer", revision)
    with _broken_files_explained(folder):
        transformer = FluxTransformer2DModel.from_pretrained(folder, dtype=dtype, use_safetensors=True)
    return _frozen(transformer, device)


def load_vae(
    path: str, dtype: torch.dtype = torch.float32, *, device: Place = "cpu", revision: str = ""
) -> AutoencoderKL:
    """The VAE, frozen. It is small, and worth its float32."""
    folder = part_folder(path, "vae", revision)
    with _broken_files_explained(folder):
        vae = AutoencoderKL.from_pretrained(folder, dtype=dtype, use_safetensors=True)
    return _frozen(vae, device)


def load_text_encoders(
    path: str, dtype: torch.dtype = torch.float32, *, device: Place = "cpu", revision: str = ""
) -> TextEncoders:
    """CLIP and T5 with their tokenizers, frozen. FLUX.1-dev's T5 takes 9 GiB in bfloat16, twice that in float32."""
    clip_tokenizer, clip, t5_tokenizer, t5 = (part_folder(path, part, revision) for part in TEXT_PARTS)
    with _broken_files_explained(t5.parent):
        return TextEncoders(
            clip_tokenizer=CLIPTokenizer.from_pretrained(clip_tokenizer),
            clip=_frozen(CLIPTextModel.from_pretrained(clip, dtype=dtype, use_safetensors=True), device),
            t5_tokenizer=AutoTokenizer.from_pretrained(t5_tokenizer),
            t5=_frozen(T5EncoderModel.from_pretrained(t5, dtype=dtype, use_safetensors=True), device),
        )


def load_tokenizers(path: str, revision: str = "") -> tuple[CLIPTokenizer, PreTrainedTokenizerBase]:
    """CLIP's and T5's tokenizers alone: enough to count tokens, and fetched in a second."""
    clip, t5 = (part_folder(path, part, revision) for part in ("tokenizer", "tokenizer_2"))
    with _broken_files_explained(t5.parent):
        return CLIPTokenizer.from_pretrained(clip), AutoTokenizer.from_pretrained(t5)


def load_scheduler(path: str, *, revision: str = "") -> FlowMatchEulerDiscreteScheduler:
    """The sampler's schedule, with the model's own shift."""
    folder = part_folder(path, "scheduler", revision)
    with _broken_files_explained(folder):
        scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder)
    assert isinstance(scheduler, FlowMatchEulerDiscreteScheduler), "a pair is returned only when asked for"
    return scheduler


def _frozen(model: Part, device: Place) -> Part:
    model.requires_grad_(False)
    model.eval()
    nn.Module.to(model, device)
    return model


@contextmanager
def _broken_files_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{folder} cannot be opened: {reason}", fix="fetch the model again; a file is missing or cut short"
        ) from error

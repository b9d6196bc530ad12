"""Every dialect of LoRA files for FLUX.1 that is known, and which one a file is in, by its keys."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flux_lora.adapter.layouts import peft, xlabs
from flux_lora.adapter.layouts.reading import END, HARMLESS, StateDictContents, module_of, read_state_dict
from flux_lora.adapter.layouts.spelling import OTHER_KINDS, PEFT_ENDS, KeyFormat, to_keys
from flux_lora.adapter.layouts.text_encoders import is_text_encoder
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError

Read = Callable[[Mapping[str, Tensor], Mapping[str, str]], StateDictContents]
"""(tensors, metadata) -> what they are"""
Write = Callable[[Adapter, torch.dtype], dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One way to spell an adapter."""

    name: str
    about: str
    """Who writes it and who reads it."""
    owns: Callable[[str], bool]
    """Whether a key is spelled so."""
    read: Read
    write: Write | None = None
    folder: bool = False
    """Whether it is a folder with a config beside the tensors."""


def _spelled(spelling: KeyFormat, about: str, *, writable: bool = False) -> Dialect:
    def owns(key: str) -> bool:
        return key.startswith(spelling.prefix) and module_of(spelling, END.sub("", key)) is not None

    def read_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> StateDictContents:
        return read_state_dict(spelling, tensors, metadata)

    def write(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
        return to_keys(adapter, spelling, dtype)

    write_tensors = write if writable else None
    return Dialect(name=spelling.dialect, about=about, owns=owns, read=read_tensors, write=write_tensors)


def _xlabs(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> StateDictContents:
    return StateDictContents(xlabs.from_xlabs(tensors, metadata), Adapter({}))


DIFFUSERS = KeyFormat(dialect="diffusers", prefix="transformer.", ends=PEFT_ENDS, alpha=False, fix=OTHER_KINDS)
"""The scale is folded into `up`: diffusers would take alpha from the metadata, ComfyUI takes it from .alpha tensors and
uses 1 without them. Folded, both see the same change. DoRA is refused: diffusers reads peft's magnitudes, ComfyUI
takes such a file for a plain LoRA."""
COMFYUI = KeyFormat(dialect="comfyui", prefix="diffusion_model.", native=True, kinds=("LoRA", "LoKr", "LoHa"))
"""Down and up, never A and B: diffusers converts the former (block layers) and loads nothing from the latter."""
KOHYA = KeyFormat(
    dialect="kohya", prefix="lora_unet_", native=True, underscores=True, without=("proj_out", "norm_out.linear")
)
"""sd-scripts stops at a module without alpha, and would leave the final layer out in silence."""
ONETRAINER = KeyFormat(
    dialect="onetrainer", prefix="lora_transformer_", underscores=True, kinds=("LoRA", "LoKr", "LoHa")
)
LYCORIS = KeyFormat(
    dialect="lycoris", prefix="lycoris_", underscores=True, kinds=("LoRA", "DoRA", "LoKr", "LoHa", "OFT")
)
"""The only one that holds every kind of change."""

KNOWN = (
    _spelled(
        DIFFUSERS,
        "diffusers, ai-toolkit, SimpleTuner, OneTrainer (DIFFUSERS), Replicate; diffusers and ComfyUI read all of it",
        writable=True,
    ),
    _spelled(
        COMFYUI,
        "ComfyUI's own names; ComfyUI reads all of it, diffusers the block layers if spelled lora_down",
        writable=True,
    ),
    _spelled(
        KOHYA,
        "sd-scripts, fluxgym, FluxTrainer, OneTrainer (KOHYA); sd-scripts, ComfyUI and Forge read it, "
        "diffusers the block layers",
        writable=True,
    ),
    _spelled(
        KeyFormat(dialect="bfl", prefix="", native=True, ends=PEFT_ENDS),
        "Black Forest Labs' names, OneTrainer (ORIGINAL); code built on their repository reads it, no common program",
        writable=True,
    ),
    _spelled(
        ONETRAINER,
        "OneTrainer's older files; ComfyUI and Forge read all of it, diffusers attention only",
        writable=True,
    ),
    Dialect(
        name=xlabs.DIALECT,
        about="XLabs and USO; diffusers reads it, ComfyUI does not",
        owns=xlabs.is_xlabs,
        read=_xlabs,
        write=xlabs.to_xlabs,
    ),
    _spelled(LYCORIS, "LyCORIS and SimpleTuner, every kind of change; ComfyUI and Forge read it", writable=True),
    replace(
        _spelled(peft.SPELLING, "peft's folders, with adapter_config.json; peft reads it"),
        write=peft.to_peft,
        folder=True,
    ),
    _spelled(
        KeyFormat(dialect="bare", prefix="", ends=PEFT_ENDS),
        "transformer.save_lora_adapter and DiffSynth; transformer.load_lora_adapter(prefix=None) reads it",
    ),
    _spelled(
        KeyFormat(dialect="simpletuner", prefix="diffusion_model."),
        "SimpleTuner's --lora_format comfyui, diffusers' names behind ComfyUI's prefix; no program reads it",
    ),
    _spelled(
        KeyFormat(dialect="kohya-split", prefix="lora_unet_", underscores=True),
        "diffusers' names behind kohya's prefix; no program reads it",
    ),
    _spelled(
        KeyFormat(dialect="fal", prefix="base_model.model.", native=True),
        "fal's Kontext trainer; diffusers reads it if every block is there",
    ),
    _spelled(
        KeyFormat(dialect="omi", prefix="transformer.", native=True, numbered=True),
        "the Open Model Initiative's names, OneTrainer of 2025; InvokeAI reads it",
    ),
)
DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in KNOWN}
WRITABLE = tuple(dialect.name for dialect in KNOWN if dialect.write is not None)
TEXT_ONLY = DIALECTS["kohya"]
"""For a file with nothing but text encoders; every dialect reads those alike."""


def detect(keys: Iterable[str]) -> Dialect:
    """The one dialect that all of these keys are spelled in. Keys of text encoders, norms and biases go with any."""
    every = list(keys)
    if not every:
        raise AdapterFileError("the file holds no tensors", fix="fetch or export it again")
    ours = [key for key in every if not is_text_encoder(key) and HARMLESS.fullmatch(key) is None]
    owners = {key: next((each for each in KNOWN if each.owns(key)), None) for key in ours}
    foreign = [key for key, owner in owners.items() if owner is None]
    if foreign:
        raise AdapterFileError(
            f"{len(foreign)} of {len(ours)} keys are of no layout that is known for FLUX.1, "
            f"first {min(foreign)[:200]!r}{_other_model(foreign)}",
            fix="give a LoRA for FLUX.1 from a known trainer",
        )
    votes = Counter(owner.name for owner in owners.values() if owner is not None)
    if len(votes) > 1:
        told = ", ".join(f"{name} ({count} keys)" for name, count in votes.most_common())
        raise AdapterFileError(f"the file mixes layouts: {told}", fix="give a file that was written by one trainer")
    return DIALECTS[next(iter(votes))] if votes else TEXT_ONLY


OTHER_MODELS: Mapping[str, str] = {
    r"(img_attn\.qkv|attn1?\.to_q)\.weight$": "a base model, not a LoRA",
    r"double_stream_modulation|to_qkv_mlp_proj": "a LoRA for FLUX.2",
    r"distilled_guidance_layer": "a LoRA for Chroma",
    r"(key|query)_norm\.scale": "a control LoRA of Black Forest Labs, which also changes norms",
    r"img_mlp\.net\.": "a LoRA for Qwen-Image",
    r"(input|output|middle|down|up|mid)_block": "a LoRA for Stable Diffusion",
    r"joint_blocks": "a LoRA for Stable Diffusion 3",
    r"blocks[._]\d+[._](self|cross)_attn": "a LoRA for Wan",
    r"layers[._]\d+[._]attention": "a LoRA for Z-Image",
}
"""What keys of FLUX.1's neighbours have in them, the surest first."""


def _other_model(keys: list[str]) -> str:
    for mark, model in OTHER_MODELS.items():
        if any(re.search(mark, key) for key in keys):
            return f"; it looks like {model}"
    return ""

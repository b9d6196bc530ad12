"""Every dialect of LoRA files for FLUX in one table: its keys, its limits, the programs it is written for; and which
dialect a file is in.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch
from torch import Tensor

from flux_lora.adapter.dialects import diffsynth, peft, xlabs
from flux_lora.adapter.dialects.flux2_names import is_flux2
from flux_lora.adapter.dialects.flux3_names import IN_BLOCKS, is_flux3
from flux_lora.adapter.dialects.keys import EVERYTHING, OTHER_TYPES, PEFT_ENDS, KeyFormat, to_keys
from flux_lora.adapter.dialects.module_names import MOST_KEYS, bfl_name, diffusers_names
from flux_lora.adapter.dialects.read import HARMLESS, StateDictContents, module_of, read_state_dict, stem_of
from flux_lora.adapter.dialects.text_encoders import is_text_encoder
from flux_lora.adapter.layer_types import Adapter
from flux_lora.errors import AdapterFileError

Read = Callable[[Mapping[str, Tensor], Mapping[str, str]], StateDictContents]
"""(tensors, metadata) -> the adapter, text encoders apart"""
Write = Callable[[Adapter, torch.dtype], dict[str, Tensor]]
"""(adapter, dtype of the file) -> tensors by key"""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """A naming scheme for adapter files."""

    name: str
    about: str
    """Who writes it and who reads it."""
    owns: Callable[[str], bool]
    """Whether a key is of this dialect."""
    read: Read
    write: Write | None = None
    """None for a dialect that is only read."""
    native: bool = False
    """Whether q, k and v are one module, as in BFL's own model."""
    folder: bool = False
    """Whether it is a folder with a config beside the tensors."""
    layer_types: tuple[str, ...]
    """The types that all of its loaders read right."""
    modules: str = EVERYTHING
    """Pattern of the modules it has keys for, by diffusers' names."""
    flux2: bool = False
    """Whether adapters for FLUX.2 are written in it."""
    flux3: bool = False
    """Whether adapters for FLUX.3 are."""
    loaders: Mapping[str, str] = field(default_factory=dict)
    """Programs it is written for: name in loaders/compatibility.py's LOADERS -> pattern of the modules that the program
    takes, whole and at the trained strength. Modules outside the pattern are left out without a message. Empty where
    none of the programs that were measured reads the dialect."""


def _in_keys(
    key_format: KeyFormat,
    about: str,
    *,
    writable: bool = False,
    loaders: Mapping[str, str] | None = None,
    flux3: KeyFormat | None = None,
) -> Dialect:
    """A dialect whose keys are all a prefix, a module and an ending. `flux3`: how it writes adapters for FLUX.3, where
    that is otherwise."""

    def owns(key: str) -> bool:
        return key.startswith(key_format.prefix) and module_of(key_format, stem_of(key)) is not None

    def read(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> StateDictContents:
        return read_state_dict(key_format, tensors, metadata)

    def write(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
        return to_keys(adapter, flux3 if flux3 and is_flux3(adapter.deltas) else key_format, dtype)

    return Dialect(
        name=key_format.dialect,
        about=about,
        owns=owns,
        read=read,
        write=write if writable else None,
        layer_types=key_format.layer_types,
        modules=key_format.modules,
        flux2=key_format.flux2,
        native=key_format.native,
        flux3=key_format.flux3 or flux3 is not None,
        loaders=loaders or {},
    )


BLOCKS_AND_CLIP = r"(single_)?transformer_blocks\..+|(txt_)?mode_blocks\..+|text_encoder\..+"

KNOWN = (
    # The scale is folded into `up`: diffusers would take alpha from the metadata, ComfyUI takes it from .alpha tensors
    # and uses 1 without them. Folded, both see the same update. No DoRA: diffusers reads peft's magnitudes, ComfyUI
    # takes such a file for a plain LoRA.
    _in_keys(
        KeyFormat(
            dialect="diffusers",
            prefix="transformer.",
            ends=PEFT_ENDS,
            alpha=False,
            flux2=True,
            flux3=True,
            fix=OTHER_TYPES,
        ),
        "diffusers, ai-toolkit, SimpleTuner, OneTrainer (DIFFUSERS), Replicate; diffusers and ComfyUI read all of it",
        writable=True,
        loaders=dict.fromkeys(("diffusers", "diffusers 0.32", "ComfyUI", "Forge"), EVERYTHING),
    ),
    # Down and up, never A and B: diffusers converts the former (block layers) and loads nothing from the latter. For
    # FLUX.3 it is the other way round, and it stops at alpha keys; outside of the blocks it knows none of these names.
    _in_keys(
        KeyFormat(dialect="comfyui", prefix="diffusion_model.", native=True, layer_types=("LoRA", "LoKr", "LoHa")),
        "ComfyUI's own names; ComfyUI reads all of it, diffusers the block layers if spelled lora_down",
        writable=True,
        loaders={"ComfyUI": EVERYTHING, "Forge": EVERYTHING, "diffusers": BLOCKS_AND_CLIP},
        flux3=KeyFormat(
            dialect="comfyui",
            prefix="diffusion_model.",
            native=True,
            ends=PEFT_ENDS,
            alpha=False,
            modules=IN_BLOCKS,
            flux3=True,
        ),
    ),
    # sd-scripts stops at a module without alpha, and has no final layer in its network: it would leave it out silently.
    _in_keys(
        KeyFormat(
            dialect="kohya",
            prefix="lora_unet_",
            native=True,
            underscores=True,
            modules=r"(?!(proj_out|norm_out\.linear)$).+",
            flux2=True,
        ),
        "sd-scripts, fluxgym, FluxTrainer, OneTrainer (KOHYA); sd-scripts, ComfyUI and Forge read it, "
        "diffusers the block layers",
        writable=True,
        loaders={"sd-scripts": EVERYTHING, "ComfyUI": EVERYTHING, "Forge": EVERYTHING, "diffusers": BLOCKS_AND_CLIP},
    ),
    _in_keys(
        KeyFormat(dialect="bfl", prefix="", native=True, ends=PEFT_ENDS),
        "Black Forest Labs' names, OneTrainer (ORIGINAL); code built on their repository reads it, no common program",
        writable=True,
    ),
    _in_keys(
        KeyFormat(
            dialect="onetrainer",
            prefix="lora_transformer_",
            underscores=True,
            layer_types=("LoRA", "LoKr", "LoHa"),
        ),
        "OneTrainer's older files; ComfyUI and Forge read all of it, diffusers attention only",
        writable=True,
        loaders=dict.fromkeys(("ComfyUI", "Forge", "diffusers"), EVERYTHING),
    ),
    Dialect(
        name=xlabs.DIALECT,
        about="XLabs and USO; diffusers reads it, ComfyUI does not",
        owns=xlabs.is_xlabs,
        read=xlabs.from_xlabs,
        write=xlabs.to_xlabs,
        layer_types=xlabs.LAYER_TYPES,
        modules=xlabs.MODULE_PATTERN,
        loaders=dict.fromkeys(("diffusers", "diffusers 0.32", "ComfyUI"), EVERYTHING),
    ),
    # The only one that holds every layer type.
    _in_keys(
        KeyFormat(
            dialect="lycoris",
            prefix="lycoris_",
            underscores=True,
            layer_types=("LoRA", "DoRA", "LoKr", "LoHa", "OFT"),
            flux2=True,
        ),
        "LyCORIS and SimpleTuner, every kind of change; ComfyUI and Forge read it",
        writable=True,
        loaders=dict.fromkeys(("ComfyUI", "Forge"), EVERYTHING),
    ),
    replace(
        _in_keys(peft.KEY_FORMAT, "peft's folders, with adapter_config.json; peft reads it"),
        write=peft.to_peft,
        folder=True,
    ),
    _in_keys(
        KeyFormat(dialect="bare", prefix="", ends=PEFT_ENDS),
        "transformer.save_lora_adapter; transformer.load_lora_adapter(prefix=None) reads it",
    ),
    Dialect(
        name=diffsynth.DIALECT,
        about="DiffSynth-Studio's own names; DiffSynth reads it, no other program",
        owns=diffsynth.is_diffsynth,
        read=diffsynth.from_diffsynth,
        layer_types=("LoRA",),
    ),
    _in_keys(
        KeyFormat(dialect="simpletuner", prefix="diffusion_model."),
        "SimpleTuner's --lora_format comfyui, diffusers' names behind ComfyUI's prefix; no program reads it",
    ),
    _in_keys(
        KeyFormat(dialect="kohya-split", prefix="lora_unet_", underscores=True),
        "diffusers' names behind kohya's prefix; no program reads it",
    ),
    _in_keys(
        KeyFormat(dialect="fal", prefix="base_model.model.", native=True),
        "fal's Kontext trainer; diffusers reads it if every block is there",
    ),
    _in_keys(
        KeyFormat(dialect="omi", prefix="transformer.", native=True, numbered=True),
        "the Open Model Initiative's names, OneTrainer of 2025; InvokeAI reads it",
    ),
)
"""One row per dialect. Where a key is of several, the first row owns it."""
MOST_FOREIGN = 1_000
"""Keys of another model that are looked at; more say nothing more."""
DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in KNOWN}
WRITABLE = tuple(dialect.name for dialect in KNOWN if dialect.write is not None)
TEXT_ONLY = DIALECTS["kohya"]
"""For a file with nothing but text encoders; every dialect reads those alike."""


def dialect_refusals(names: Collection[str], layer_type: str, dialects: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each reason why a dialect cannot hold a delta of this type for these modules, and its fix."""
    for dialect in (DIALECTS[name] for name in dialects):
        if is_flux2(names) and not dialect.flux2:
            yield (
                f"export.dialects names {dialect.name}, which is not written for FLUX.2",
                "set export.dialects=[diffusers]: one file that diffusers and ComfyUI both read",
            )
        if is_flux3(names) and not dialect.flux3:
            yield (
                f"export.dialects names {dialect.name}, which is not written for FLUX.3",
                "set export.dialects=[diffusers], or [diffusers,comfyui] for a file in BFL's names beside it",
            )
        if lack := _lacks(dialect, names, layer_type):
            others = [name for name in WRITABLE if not _lacks(DIALECTS[name], names, layer_type)]
            yield f"export.dialects names {dialect.name}, which {lack}", f"set export.dialects to {' or '.join(others)}"
        nameless = [name for name in names if not re.fullmatch(dialect.modules, name)]
        if nameless:
            yield (
                f"export.dialects names {dialect.name}, which has no place for {len(nameless)} of {len(names)} layers, "
                f"first {nameless[0]}",
                "set export.dialects=[diffusers], or adapter.targets=attention",
            )


def _lacks(dialect: Dialect, names: Collection[str], layer_type: str) -> str:
    """Why a dialect cannot spell this type of layer on these modules; empty if it can."""
    if layer_type not in dialect.layer_types:
        return f"has no spelling of a {layer_type}"
    if layer_type == "LoRA" or not dialect.native or is_flux2(names):
        return ""
    flux3 = is_flux3(names)
    parts = [n for n in names if len(diffusers_names(bfl_name(n, flux3=flux3).module, flux3=flux3).names) > 1]
    return f"puts {parts[0]} into one matrix with others, which a {layer_type} cannot share" if parts else ""


@lru_cache(maxsize=MOST_KEYS)
def _owner(key: str) -> Dialect | None:
    return next((dialect for dialect in KNOWN if dialect.owns(key)), None)


def detect(keys: Iterable[str]) -> Dialect:
    """The one dialect of all these keys; AdapterFileError where there is none, or several.

    Keys of text encoders, norms and biases are alike in every dialect.
    """
    all_keys = list(keys)
    if not all_keys:
        raise AdapterFileError("the file holds no tensors", fix="fetch or export it again")
    telling = (key for key in all_keys if not is_text_encoder(key) and HARMLESS.fullmatch(key) is None)
    votes: Counter[str] = Counter()
    foreign: list[str] = []
    for key in telling:
        owner = _owner(key)
        if owner is None:
            foreign.append(key)
        else:
            votes[owner.name] += 1
        if len(foreign) == MOST_FOREIGN:
            break
    if foreign:
        model = next(
            (model for mark, model in OTHER_MODELS.items() if any(re.search(mark, key) for key in foreign)), ""
        )
        more = " or more" if len(foreign) == MOST_FOREIGN else ""
        raise AdapterFileError(
            f"{len(foreign)}{more} of {len(all_keys)} keys are of no layout that is known for FLUX.1, "
            f"first {min(foreign)[:200]!r}{model and f'; it looks like {model}'}",
            fix="give a LoRA for FLUX.1 from a known trainer",
        )
    if len(votes) > 1:
        counts = ", ".join(f"{name} ({count} keys)" for name, count in votes.most_common())
        raise AdapterFileError(f"the file mixes layouts: {counts}", fix="give a file that was written by one trainer")
    return DIALECTS[next(iter(votes))] if votes else TEXT_ONLY


OTHER_MODELS: Mapping[str, str] = {
    r"(img_attn\.qkv|attn1?\.to_q)\.weight$": "a base model, not a LoRA",
    r"distilled_guidance_layer": "a LoRA for Chroma",
    r"(key|query)_norm\.scale": "a control LoRA of Black Forest Labs, which also changes norms",
    r"img_mlp\.net\.": "a LoRA for Qwen-Image",
    r"(input|output|middle|down|up|mid)_block": "a LoRA for Stable Diffusion",
    r"joint_blocks": "a LoRA for Stable Diffusion 3",
    r"blocks[._]\d+[._](self|cross)_attn": "a LoRA for Wan",
    r"layers[._]\d+[._]attention": "a LoRA for Z-Image",
}
"""Pattern found in the keys of another model -> what the file is then, the surest first."""

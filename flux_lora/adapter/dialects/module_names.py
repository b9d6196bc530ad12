"""Module names of FLUX.1: diffusers' and those of Black Forest Labs (BFL), which ComfyUI and sd-scripts use too.

BFL's model fuses several of diffusers' modules into one: their rows are stacked. Its final norm has shift above scale,
diffusers' has scale above shift, so the two halves of its rows change places.

models/flux1/layers.py says the same in another table, on purpose: files are written by this one and proven by
that one, so a slip in either is found. Nothing here may be taken from there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from flux_lora.adapter.dialects import flux2_names, flux3_names
from flux_lora.errors import AdapterFileError

MOST_KEYS = 200_000
"""Names whose meaning is remembered: every dialect is asked about each, more than once."""
QKV = (1, 1, 1)
LINEAR1 = (1, 1, 1, 4)  # the MLP is four times as wide as the model

NATIVE: Mapping[str, tuple[str, ...]] = {
    "double_blocks.{}.img_attn.qkv": tuple(f"transformer_blocks.{{}}.attn.to_{part}" for part in "qkv"),
    "double_blocks.{}.txt_attn.qkv": tuple(f"transformer_blocks.{{}}.attn.add_{part}_proj" for part in "qkv"),
    "double_blocks.{}.img_attn.proj": ("transformer_blocks.{}.attn.to_out.0",),
    "double_blocks.{}.txt_attn.proj": ("transformer_blocks.{}.attn.to_add_out",),
    "double_blocks.{}.img_mlp.0": ("transformer_blocks.{}.ff.net.0.proj",),
    "double_blocks.{}.img_mlp.2": ("transformer_blocks.{}.ff.net.2",),
    "double_blocks.{}.txt_mlp.0": ("transformer_blocks.{}.ff_context.net.0.proj",),
    "double_blocks.{}.txt_mlp.2": ("transformer_blocks.{}.ff_context.net.2",),
    "double_blocks.{}.img_mod.lin": ("transformer_blocks.{}.norm1.linear",),
    "double_blocks.{}.txt_mod.lin": ("transformer_blocks.{}.norm1_context.linear",),
    "single_blocks.{}.linear1": (
        *(f"single_transformer_blocks.{{}}.attn.to_{part}" for part in "qkv"),
        "single_transformer_blocks.{}.proj_mlp",
    ),
    "single_blocks.{}.linear2": ("single_transformer_blocks.{}.proj_out",),
    "single_blocks.{}.modulation.lin": ("single_transformer_blocks.{}.norm.linear",),
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
"""BFL's module: diffusers' modules that are fused into it, top rows first. {} is the number of the block."""
SWAPPED = ("final_layer.adaLN_modulation.1", flux3_names.SWAPPED)
"""BFL's modules whose halves change places."""
SHARES: Mapping[int, tuple[int, ...]] = {1: (1,), len(QKV): QKV, len(LINEAR1): LINEAR1}
"""By the number of parts: rows of each part, in widths of the model."""

DIFFUSERS: Mapping[str, str] = {part: native for native, parts in NATIVE.items() for part in parts}
"""diffusers' module: the BFL module that it is a part of."""
OTHERS = (flux2_names, flux3_names)
"""The tables of the other models."""
UNDERSCORED: Mapping[str, str] = {
    name.replace(".", "_"): name
    for name in (*NATIVE, *DIFFUSERS, *(name for table in OTHERS for name in (*table.NATIVE, *table.DIFFUSERS)))
}
"""Any module, written as kohya and LyCORIS do: with _ for each dot."""
NUMBER = re.compile(r"((?<=blocks[._])|(?<=blocks[._]image[._])|(?<=blocks[._]image_cond[._]))(0|[1-9]\d{0,3})(?=[._])")


PLACES = (
    (r"transformer_blocks\.\d+\.attn\.to_(?!add_).+|double_blocks\.\d+\.img_attn\..+", "image attention"),
    (r"transformer_blocks\.\d+\.attn\.(add_.+|to_add_out)|double_blocks\.\d+\.txt_attn\..+", "text attention"),
    (r"transformer_blocks\.\d+\.ff\..+|double_blocks\.\d+\.img_mlp\..+", "image mlp"),
    (r"transformer_blocks\.\d+\.norm1\.linear|double_blocks\.\d+\.img_mod\.lin", "image modulation"),
    (r"transformer_blocks\.\d+\.norm1_context\.linear|double_blocks\.\d+\.txt_mod\.lin", "text modulation"),
    (r"transformer_blocks\.\d+\.ff_context\..+|double_blocks\.\d+\.txt_mlp\..+", "text mlp"),
    (r"(content_)?mode_blocks\.image\.\d+\.(attn\..+|[qkv]_proj|attn_out)", "image attention"),
    (r"(content_)?mode_blocks\.image\.\d+\.(ff\..+|mlp_.+)", "image mlp"),
    (r"txt_mode_blocks\.\d+\.(attn\..+|[qkv]_proj|attn_out)", "text attention"),
    (r"txt_mode_blocks\.\d+\.(ff\..+|mlp_.+)", "text mlp"),
    (r".*image_cond.*", "references"),
    (r"single_transformer_blocks\.\d+\.ff\..+", "single mlp"),
    (r"single_transformer_blocks\.\d+\.attn\..+", "single attention"),
    (r"single_transformer_blocks\.\d+\.proj_mlp", "single mlp"),
    (r"single_blocks\.\d+\.linear1", "single attention and mlp"),
    (r"single_transformer_blocks\.\d+\.proj_out|single_blocks\.\d+\.linear2", "single output"),
    (r"single_transformer_blocks\.\d+\.norm\.linear|single_blocks\.\d+\.modulation\.lin", "single modulation"),
    (r".+_stream_modulation.*", "shared modulation"),
    (r"(x|context|time_text|time_guidance)_embed.*|(img|txt|time|vector|guidance)_in(\..+)?", "embedders"),
    (r"(target_)?timestep_embedder\..+|(emb|ref_time)_in\..+", "embedders"),
    (r"proj_out|norm_out\.linear|final_layer\..+", "final layer"),
    (r"text_encoder\..+", "CLIP text encoder"),
    (r"text_encoder_2\..+", "T5 text encoder"),
)
"""Part of the model by layer name: diffusers' and, for deltas that cannot be split into those, Black Forest Labs'."""
PLACE = re.compile("|".join(f"(?P<p{number}>{pattern})" for number, (pattern, _) in enumerate(PLACES)))
OTHER = "other"
BLOCK = re.compile(
    r"(single_transformer_blocks|transformer_blocks|double_blocks|single_blocks|mode_blocks\.image(?:_cond)?|txt_mode_blocks)"
    r"[._](\d+)"
)
SAME_BLOCK = {"double_blocks": "transformer_blocks", "single_blocks": "single_transformer_blocks"}
KEY_IN_BLOCK = re.compile(r"(|.*?\.)(?:(double_blocks|single_blocks)|(single_)?transformer_blocks)\.\d+\..+")
"""Finds the prefix of all keys, such as `model.diffusion_model.`: what comes before a block's name."""
REST = "rest"
BLOCK_TYPES = {
    "transformer_blocks": "double",
    "mode_blocks.image": "image",
    "mode_blocks.image_cond": "reference",
    "txt_mode_blocks": "text",
    "single_transformer_blocks": "single",
    REST: "rest",
}
"""Blocks by the name that diffusers gives their list, and what they are called for short."""
ATTENTION_IN_BLOCKS = r"(single_)?transformer_blocks\.\d+\.attn\..+|(?!(single_)?transformer_blocks\.).+"
"""All that diffusers' conversion of OneTrainer's names knows."""
USO = (r"transformer_blocks\.18\.attn\.add_[qkv]_proj", r"single_transformer_blocks\.37\.attn\.to_[qkv]")
"""By these modules ComfyUI recognises a file of USO, whose keys are XLabs'."""


@dataclass(frozen=True)
class BFLLocation:
    """The rows of BFL's model that are one of diffusers' modules."""

    module: str
    """BFL's name."""
    part: int
    """Index among the parts of the module, from the top."""
    parts: int
    """Number of the module's parts."""
    swap: bool
    """Whether the two halves of its rows change places."""

    @property
    def shares(self) -> tuple[int, ...]:
        """Rows of each part, in widths of the model."""
        return SHARES[self.parts]


@dataclass(frozen=True)
class DiffusersParts:
    """The diffusers modules that are fused into one of BFL's."""

    names: tuple[str, ...]
    """Top rows first."""
    swap: bool
    """Whether the two halves of the rows change places."""

    @property
    def shares(self) -> tuple[int, ...]:
        """Rows of each part, in widths of the model."""
        return SHARES[len(self.names)]


def bfl_name(diffusers: str, *, flux3: bool = False) -> BFLLocation:
    """Where a module of diffusers is in BFL's model, which is FLUX.3's if that is said; AdapterFileError if no FLUX has
    such a module."""
    template, number = _template(diffusers)
    own = ((NATIVE, DIFFUSERS), (flux2_names.NATIVE, flux2_names.DIFFUSERS))
    tables = ((flux3_names.NATIVE, flux3_names.DIFFUSERS),) if flux3 else own
    for table, names in tables:
        if template in names:
            native = names[template]
            parts = table[native]
            return BFLLocation(native.format(number), parts.index(template), len(parts), swap=native in SWAPPED)
    raise _unknown(diffusers, "diffusers")


def diffusers_names(bfl: str, *, flux2: bool = False, flux3: bool = False) -> DiffusersParts:
    """The diffusers modules of a BFL module of FLUX.1, FLUX.2 or FLUX.3; AdapterFileError if it has no such module."""
    template, number = _template(bfl)
    table = flux3_names.NATIVE if flux3 else flux2_names.NATIVE if flux2 else NATIVE
    if template not in table:
        raise _unknown(bfl, "Black Forest Labs")
    return DiffusersParts(tuple(name.format(number) for name in table[template]), swap=template in SWAPPED)


def is_diffusers(name: str) -> bool:
    """Whether any FLUX of diffusers has a module of this name."""
    template = _template(name)[0]
    return template in DIFFUSERS or any(template in table.DIFFUSERS for table in OTHERS)


def is_bfl(name: str) -> bool:
    """Whether any FLUX of BFL has a module of this name."""
    template = _template(name)[0]
    return template in NATIVE or any(template in table.NATIVE for table in OTHERS)


def underscored(name: str) -> str:
    """The name as kohya and LyCORIS write it: with _ for each dot."""
    return name.replace(".", "_")


def dotted(name: str) -> str:
    """The module name, BFL's or diffusers', that `underscored` gave this. Unknown ones stay as they are."""
    template, number = _template(name)
    return UNDERSCORED[template].format(number) if template in UNDERSCORED else name


@lru_cache(maxsize=MOST_KEYS)
def _template(name: str) -> tuple[str, str]:
    """The name with {} for the number of its block, and the number; no number for modules outside the blocks."""
    number = NUMBER.search(name)
    if number is None:
        return name.replace("{}", ""), ""
    return f"{name[: number.start()]}{{}}{name[number.end() :]}", number[0]


def _unknown(name: str, whose: str) -> AdapterFileError:
    return AdapterFileError(
        f"FLUX has no module {name[:200]!r} under {whose}' names",
        fix="give a LoRA for FLUX; those for SD 3 and others have other modules",
    )


def block_of(name: str) -> str:
    """The block of a layer, as diffusers counts them: single_transformer_blocks.7, or `rest`."""
    found = BLOCK.search(name)
    return f"{SAME_BLOCK.get(found[1], found[1])}.{found[2]}" if found else REST


def layer_place(name: str) -> str:
    """The part of the model that a layer belongs to, such as `text attention`."""
    found = PLACE.fullmatch(name)
    return PLACES[int(str(found.lastgroup)[1:])][1] if found else OTHER

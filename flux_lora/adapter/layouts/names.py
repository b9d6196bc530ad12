"""The two names of every FLUX.1 module: diffusers', and the native ones of Black Forest Labs, ComfyUI and sd-scripts.

The native model keeps several of diffusers' modules in one: their rows stand below each other.
Its final norm has scale and shift the other way round, so the two halves of its rows change places.

readers/architecture.py says the same in another table, on purpose: files are written by this one and proven by
that one, so a slip in either is found. Nothing here may be taken from there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flux_lora.errors import AdapterFileError

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
"""Native module: diffusers' modules that lie in it, top rows first. {} is the number of the block."""
SWAPPED = "final_layer.adaLN_modulation.1"
SHARES: Mapping[int, tuple[int, ...]] = {1: (1,), len(QKV): QKV, len(LINEAR1): LINEAR1}

DIFFUSERS: Mapping[str, str] = {part: native for native, parts in NATIVE.items() for part in parts}
"""diffusers' module: the native module that it lies in."""
UNDERSCORED: Mapping[str, str] = {name.replace(".", "_"): name for name in (*NATIVE, *DIFFUSERS)}
"""Any module, written as kohya and LyCORIS do: with _ for each dot."""
NUMBER = re.compile(r"(?<=blocks[._])(0|[1-9]\d{0,3})(?=[._])")


@dataclass(frozen=True)
class BFLLocation:
    """Where one of diffusers' modules lies in the native model."""

    module: str
    part: int
    """Its number among the parts of the module, from the top."""
    parts: int
    swap: bool
    """Whether the two halves of its rows change places."""

    @property
    def shares(self) -> tuple[int, ...]:
        """How many rows each part has, in widths of the model."""
        return SHARES[self.parts]


@dataclass(frozen=True)
class DiffusersParts:
    """What a native module is in diffusers."""

    names: tuple[str, ...]
    swap: bool

    @property
    def shares(self) -> tuple[int, ...]:
        """How many rows each part has, in widths of the model."""
        return SHARES[len(self.names)]


def bfl_name(diffusers: str) -> BFLLocation:
    """Where a module of diffusers lies in the native model."""
    template, number = _template(diffusers)
    native = DIFFUSERS.get(template)
    if native is None:
        raise _unknown(diffusers, "diffusers")
    parts = NATIVE[native]
    return BFLLocation(native.format(number), parts.index(template), len(parts), swap=native == SWAPPED)


def diffusers_names(bfl: str) -> DiffusersParts:
    """Which modules of diffusers lie in a native module, top rows first."""
    template, number = _template(bfl)
    if template not in NATIVE:
        raise _unknown(bfl, "Black Forest Labs")
    return DiffusersParts(tuple(name.format(number) for name in NATIVE[template]), swap=template == SWAPPED)


def is_diffusers(name: str) -> bool:
    """Whether diffusers' FLUX.1 has a module of this name."""
    return _template(name)[0] in DIFFUSERS


def is_bfl(name: str) -> bool:
    """Whether the native FLUX.1 has a module of this name."""
    return _template(name)[0] in NATIVE


def underscored(name: str) -> str:
    """The name as kohya and LyCORIS write it."""
    return name.replace(".", "_")


def dotted(name: str) -> str:
    """The module, native or diffusers', whose name was written with _ for each dot. Unknown ones stay as they are."""
    template, number = _template(name)
    return UNDERSCORED[template].format(number) if template in UNDERSCORED else name


def _template(name: str) -> tuple[str, str]:
    number = NUMBER.search(name)
    if number is None:
        return name.replace("{}", ""), ""
    return f"{name[: number.start()]}{{}}{name[number.end() :]}", number[0]


def _unknown(name: str, whose: str) -> AdapterFileError:
    return AdapterFileError(
        f"FLUX.1 has no module {name[:200]!r} under {whose}' names",
        fix="give a LoRA for FLUX.1; those for FLUX.2, SD 3 and others have other modules",
    )

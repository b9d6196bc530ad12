"""A VAE out of one file, in BFL's names (ae.safetensors, flux2-vae.safetensors) or diffusers', alone or not."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers import ModelMixin
from torch import Tensor

from flux_lora.errors import ModelError
from flux_lora.models.pipeline_parts import frozen
from flux_lora.models.weight_file import (
    Layout,
    Sides,
    WeightFile,
    blocks_in,
    part_in,
    settings_told,
)

PREFIXES = ("vae.", "first_stage_model.", "")
"""Before the VAE's names; behind any but the last there may be other models in the same file."""
MARK = "decoder.conv_in.weight"
BFL_BLOCK, DIFFUSERS_BLOCK = "encoder.down.", "encoder.down_blocks."
RENAMED: Mapping[str, str] = {
    r"encoder\.down\.(\d+)\.block\.": r"encoder.down_blocks.\1.resnets.",
    r"encoder\.down\.(\d+)\.downsample\.": r"encoder.down_blocks.\1.downsamplers.0.",
    r"decoder\.up\.(\d+)\.block\.": r"decoder.up_blocks.\1.resnets.",
    r"decoder\.up\.(\d+)\.upsample\.": r"decoder.up_blocks.\1.upsamplers.0.",
    r"(en|de)coder\.mid\.block_1\.": r"\1coder.mid_block.resnets.0.",
    r"(en|de)coder\.mid\.block_2\.": r"\1coder.mid_block.resnets.1.",
    r"(en|de)coder\.mid\.attn_1\.norm\.": r"\1coder.mid_block.attentions.0.group_norm.",
    r"(en|de)coder\.mid\.attn_1\.([qkv])\.": r"\1coder.mid_block.attentions.0.to_\2.",
    r"(en|de)coder\.mid\.attn_1\.proj_out\.": r"\1coder.mid_block.attentions.0.to_out.0.",
    r"(en|de)coder\.norm_out\.": r"\1coder.conv_norm_out.",
    r"(?:encoder|decoder)\.((?:post_)?quant_conv)\.": r"\1.",
}
"""Beginning of one of BFL's names -> of diffusers'. BFL counts the decoder's blocks from the other end."""
SHORTCUT = (".nin_shortcut.", ".conv_shortcut.")
COUNT = "num_batches_tracked"
"""A number of batch norm that nothing reads; files may be without it."""
UP = re.compile(r"(?<=^decoder\.up_blocks\.)\d+")
Vae = TypeVar("Vae", bound=ModelMixin)


def open_vae_file(path: str, layout: Layout) -> WeightFile:
    """Its header. Raises ModelError where it holds no VAE that can be read."""
    return part_in(path, f"VAE of {layout.model}", PREFIXES, (MARK,))


def diffusers_names(shapes: Sides) -> Mapping[str, str]:
    """The file's names, and diffusers' of the same tensors."""
    if not any(name.startswith(BFL_BLOCK) for name in shapes):
        return {name: name for name in shapes}
    blocks = blocks_in(shapes, "decoder.up.")
    return {name: _diffusers_name(name, blocks) for name in shapes}


def _diffusers_name(name: str, blocks: int) -> str:
    for pattern, into in RENAMED.items():
        if re.match(pattern, name):
            renamed = re.sub(pattern, into, name, count=1).replace(*SHORTCUT)
            return UP.sub(lambda number: str(blocks - 1 - int(number[0])), renamed)
    return name


def vae_settings(path: str, layout: Layout) -> Mapping[str, Any]:
    """What its config.json would say."""
    weights = open_vae_file(path, layout)
    return settings_told(weights.file, _renamed_shapes(weights), layout)


def sizes_told(shapes: Sides, *, latent_channels: int) -> Mapping[str, Any]:
    """Sizes of an AutoencoderKL, or what is built like one, by diffusers' names.

    Raises ValueError where its latents have other channels.
    """
    channels = shapes[MARK][1]
    if channels != latent_channels:
        raise ValueError(f"is a VAE of {channels} latent channels, another model's: {latent_channels} are wanted")
    blocks = blocks_in(shapes, DIFFUSERS_BLOCK)
    widths = (shapes[f"{DIFFUSERS_BLOCK}{number}.resnets.0.conv1.weight"][0] for number in range(blocks))
    return {
        "block_out_channels": tuple(widths),
        "down_block_types": ("DownEncoderBlock2D",) * blocks,
        "up_block_types": ("UpDecoderBlock2D",) * blocks,
        "layers_per_block": blocks_in(shapes, f"{DIFFUSERS_BLOCK}0.resnets."),
        "latent_channels": channels,
        "mid_block_add_attention": "encoder.mid_block.attentions.0.to_q.weight" in shapes,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
    }


TOLD_BY = (MARK, f"{DIFFUSERS_BLOCK}0.resnets.0.conv1.weight")


def load_vae_file(
    model: type[Vae], path: str, layout: Layout, device: torch.device | str, dtype: torch.dtype = torch.float32
) -> Vae:
    """The VAE of diffusers' class `model`, frozen. Raises ModelError where the file does not fill it."""
    weights = open_vae_file(path, layout)
    with torch.device("meta"):
        vae = cast(Any, model).from_config(dict(vae_settings(path, layout)))
    state = _tensors_for(vae.state_dict(), weights, dtype)
    vae.load_state_dict({name: tensor.to(device) for name, tensor in state.items()}, assign=True)
    return frozen(vae)


def _tensors_for(expected: Mapping[str, Tensor], weights: WeightFile, dtype: torch.dtype) -> dict[str, Tensor]:
    names = {there: name for name, there in diffusers_names(weights.shapes).items()}
    counts = {name: torch.zeros_like(each, device="cpu") for name, each in expected.items() if name.endswith(COUNT)}
    missing = [name for name in expected if name not in names and name not in counts]
    if missing:
        raise _not_whole(weights.file, missing[0])
    with weights.opened() as read:
        made = counts | {
            name: _like(read(names[name]), each, dtype) for name, each in expected.items() if name in names
        }
    odd = [name for name, each in expected.items() if made[name].shape != each.shape]
    if odd:
        raise _not_whole(weights.file, odd[0])
    return made


def _like(tensor: Tensor, expected: Tensor, dtype: torch.dtype) -> Tensor:
    """BFL's attention has convolutions of one pixel where diffusers has linear layers."""
    narrow = tensor.reshape(expected.shape) if tensor.numel() == expected.numel() else tensor
    return narrow.to(dtype if expected.is_floating_point() else expected.dtype)


def _not_whole(file: Path, name: str) -> ModelError:
    return ModelError(f"{file} has no {name} that fits a VAE", fix="fetch the file again, or give its config.json too")


def _renamed_shapes(weights: WeightFile) -> Sides:
    return {there: weights.shapes[name] for name, there in diffusers_names(weights.shapes).items()}

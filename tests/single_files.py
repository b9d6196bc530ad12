"""FLUX.1 as ComfyUI's users have it, four files: BFL's transformer and VAE, clip_l and t5xxl; small, of random weights.

Its parts are of sizes that a file tells: heads of 128, CLIP's of 64, the released vocabularies and tokenizers.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel

from flux_lora.models.flux1.caption_tokenizers import TOKENIZERS
from flux_lora.models.flux1.layers import fused_weights
from flux_lora.models.single_file import NORMS

CLIP_WIDTH, T5_WIDTH = 64, 48
Weights = Mapping[str, Tensor]


def flux1(seed: int = 0) -> FluxPipeline:
    """All of its parts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(
                shift=3.0, use_dynamic_shifting=True, base_image_seq_len=256, max_image_seq_len=4096
            ),
            vae=_vae(),
            text_encoder=CLIPTextModel(_clip()),
            tokenizer=CLIPTokenizer.from_pretrained(TOKENIZERS / "tokenizer"),
            text_encoder_2=T5EncoderModel(_t5()),
            tokenizer_2=AutoTokenizer.from_pretrained(TOKENIZERS / "tokenizer_2"),
            transformer=FluxTransformer2DModel(
                num_layers=1,
                num_single_layers=1,
                num_attention_heads=1,
                joint_attention_dim=T5_WIDTH,
                pooled_projection_dim=CLIP_WIDTH,
                guidance_embeds=True,
            ),
        )


def write_folder(folder: Path, pipeline: FluxPipeline) -> Path:
    """In the diffusers layout, with the very tokenizers that the package ships."""
    pipeline.save_pretrained(folder)
    for part in ("tokenizer", "tokenizer_2"):
        shutil.rmtree(folder / part)
        shutil.copytree(TOKENIZERS / part, folder / part)
    return folder


def write_files(folder: Path, pipeline: FluxPipeline) -> dict[str, Path]:
    """The same in files, by the knob that takes each."""
    folder.mkdir(parents=True)
    parts = {
        "transformer": ("flux1-dev", native(pipeline.transformer.state_dict())),
        "vae": ("ae", native_vae(pipeline.vae)),
        "text_encoder": (
            "clip_l",
            {f"text_model.{name}": each for name, each in pipeline.text_encoder.state_dict().items()}
            | {"logit_scale": torch.ones(())},
        ),
        "text_encoder_2": ("t5xxl_fp16", encoder(pipeline)),
    }
    return {knob: written(folder / f"{name}.safetensors", weights) for knob, (name, weights) in parts.items()}


def encoder(pipeline: FluxPipeline) -> dict[str, Tensor]:
    """T5 as its files have it: the words once."""
    state = pipeline.text_encoder_2.state_dict()
    return {name: each for name, each in state.items() if name != "encoder.embed_tokens.weight"}


def written(file: Path, weights: Weights) -> Path:
    """A safetensors file."""
    save_file({name: each.contiguous().clone() for name, each in weights.items()}, file)
    return file


def native(weights: Weights) -> dict[str, Tensor]:
    """A transformer as Black Forest Labs name and fuse it."""
    made: dict[str, Tensor] = {}
    for bfl, weight in fused_weights({name.rpartition(".")[0] for name in weights}).items():
        for attribute in ("weight", "bias"):
            parts = [weights[f"{part}.{attribute}"] for part in weight.parts if f"{part}.{attribute}" in weights]
            if parts:
                whole = torch.cat(parts)
                made[f"{bfl}.{attribute}"] = torch.cat(whole.chunk(2)[::-1]) if weight.swaps else whole
    for bfl, name in NORMS.items():
        for ours, theirs in (("transformer_blocks", "double_blocks"), ("single_transformer_blocks", "single_blocks")):
            for number in range(38):
                norm = weights.get(f"{ours}.{number}.{name}.weight")
                if norm is not None and (ours[0] == "s") == bfl.startswith("norm"):
                    made[f"{theirs}.{number}.{bfl}.scale"] = norm
    assert sum(each.numel() for each in made.values()) == sum(each.numel() for each in weights.values())
    return made


def native_vae_names(blocks: int, layers: int) -> list[str]:
    """Every name of BFL's VAE with attention in its middle, by the rules of the latent diffusion code that it is of."""
    inside = ["norm1", "conv1", "norm2", "conv2"]
    made = [f"{half}.{name}" for half in ("encoder", "decoder") for name in ("conv_in", "norm_out", "conv_out")]
    for half in ("encoder", "decoder"):
        made += [f"{half}.mid.block_{number}.{name}" for number in (1, 2) for name in inside]
        made += [f"{half}.mid.attn_1.{name}" for name in ("norm", "q", "k", "v", "proj_out")]
    for number in range(blocks):
        for half, count in (("encoder.down", layers), ("decoder.up", layers + 1)):
            made += [
                f"{half}.{number}.block.{layer}.{name}"
                for layer in range(count)
                for name in (*inside, *(["nin_shortcut"] if layer == 0 else []))
            ]
        made += [f"encoder.down.{number}.downsample.conv", f"decoder.up.{number}.upsample.conv"]
    return [f"{name}.{attribute}" for name in made for attribute in ("weight", "bias")]


def diffusers_vae_names(names: list[str], config: Mapping[str, object]) -> dict[str, str]:
    """BFL's names -> diffusers', by diffusers' own conversion."""
    numbered = {name: torch.full((1, 1), float(number)) for number, name in enumerate(names)}
    converted = convert_ldm_vae_checkpoint(dict(numbered), config)
    return {names[int(each.flatten()[0])]: name for name, each in converted.items()}


def native_vae(vae: AutoencoderKL) -> dict[str, Tensor]:
    """BFL's names, and attention as convolutions of one pixel."""
    config, state = vae.config, vae.state_dict()
    names = native_vae_names(len(config["block_out_channels"]), config["layers_per_block"])
    there = diffusers_vae_names(names, config)
    made = {bfl: state[name] for bfl, name in there.items() if name in state}
    assert len(made) == len(state)
    return {
        name: each[:, :, None, None] if ".attn_1." in name and each.ndim == 2 else each for name, each in made.items()
    }


def eight_bit(weights: Weights, *, scaled: bool) -> dict[str, Tensor]:
    """Weights of linear layers in e4m3, as ComfyUI keeps them."""
    made: dict[str, Tensor] = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)} if scaled else {}
    for name, tensor in weights.items():
        if tensor.ndim != 2:
            made[name] = tensor
            continue
        scale = tensor.abs().max() / 448 if scaled else torch.tensor(1.0)
        made[name] = (tensor / scale).to(torch.float8_e4m3fn)
        if scaled:
            made[name.removesuffix("weight") + "scale_weight"] = scale
    return made


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 32, 64, 64),
        layers_per_block=1,
        latent_channels=16,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _clip() -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=CLIP_WIDTH,
        projection_dim=CLIP_WIDTH,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=1,
    )


def _t5() -> T5Config:
    return T5Config(
        vocab_size=32128, d_model=T5_WIDTH, d_kv=16, d_ff=64, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu"
    )

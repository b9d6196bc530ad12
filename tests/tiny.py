"""A FLUX small enough for a laptop CPU: every kind of layer, one of each, random weights, in the real folder layout."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from flux_lora.adapter.attach import linear_layers
from flux_lora.adapter.trainable import matching_layers
from flux_lora.config.choices import AdapterTargets
from flux_lora.models.flux1.layers import LAYER_GROUPS

TEXT_WIDTH = 32
T5_TOKENS = 32
CLIP_TOKENS = 77
SCORER_PIXELS = 32
LETTERS = [chr(code) for code in range(ord("!"), ord("~") + 1)]


def write_tiny_flux(folder: Path, seed: int = 0) -> Path:
    """Write a FluxPipeline folder, with a CLIP for scores in scorer/. Same seed, same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip_tokenizer = tiny_clip_tokenizer()
        pipeline = FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            vae=tiny_vae(),
            text_encoder=CLIPTextModel(_clip_text_config(clip_tokenizer)),
            tokenizer=clip_tokenizer,
            text_encoder_2=_tiny_t5(),
            tokenizer_2=tiny_t5_tokenizer(),
            transformer=tiny_transformer(),
        )
        scorer = CLIPModel(_scorer_config(clip_tokenizer))
    pipeline.save_pretrained(folder, safe_serialization=True)
    scorer.save_pretrained(folder / "scorer")
    clip_tokenizer.save_pretrained(folder / "scorer")
    size = {"height": SCORER_PIXELS, "width": SCORER_PIXELS}
    CLIPImageProcessorPil(size={"shortest_edge": SCORER_PIXELS}, crop_size=size).save_pretrained(folder / "scorer")
    return folder


def tiny_transformer(*, guidance_embeds: bool = True) -> FluxTransformer2DModel:
    """One double block, one single block, two heads of 16."""
    return FluxTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )


def flux1_layers(transformer: FluxTransformer2DModel, targets: AdapterTargets) -> list[str]:
    """The names of the layers that the targets mean."""
    return matching_layers(linear_layers(transformer), targets, LAYER_GROUPS)


def tiny_vae() -> AutoencoderKL:
    """16 channels, 8 pixels to a latent, FLUX's shift and scale."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=2,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def tiny_clip_tokenizer() -> CLIPTokenizer:
    """Single characters only; the real class, lower-casing as it does."""
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=CLIP_TOKENS)


def tiny_t5_tokenizer() -> T5Tokenizer:
    """Single characters only; the real class."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=T5_TOKENS)


def _clip_text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=CLIP_TOKENS,
        projection_dim=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _scorer_config(tokenizer: CLIPTokenizer) -> CLIPConfig:
    vision = CLIPVisionConfig(
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SCORER_PIXELS,
        patch_size=8,
        projection_dim=16,
    )
    return CLIPConfig(
        text_config=_clip_text_config(tokenizer).to_dict(), vision_config=vision.to_dict(), projection_dim=16
    )


def _tiny_t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tiny_t5_tokenizer()),
            d_model=TEXT_WIDTH,
            d_kv=8,
            d_ff=64,
            num_layers=1,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )

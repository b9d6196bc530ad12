"""A tiny FLUX.2 klein in the layout of the released folders, with random weights: every part of the real classes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM

TEXT_WIDTH, TEXT_LAYERS = 16, 29
"""Two layers more than are used."""
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""What Qwen3's own template makes of one message."""
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def write_klein(folder: Path, *, distilled: bool = False, seed: int = 0) -> Path:
    """The folder, as save_pretrained writes it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = Flux2KleinPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            vae=vae(),
            text_encoder=_text_encoder(),
            tokenizer=tokenizer(),
            transformer=tiny_transformer(),
            is_distilled=distilled,
        )
    pipeline.save_pretrained(folder)
    config = json.loads((folder / "model_index.json").read_text())
    assert config["is_distilled"] is distilled
    return folder


def tokenizer() -> Qwen2Tokenizer:
    """Qwen's class with a token for each byte and no merges."""
    letters = sorted(ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate((*letters, *SPECIAL))}
    made = Qwen2Tokenizer(vocab=vocabulary, merges=[], pad_token="<|endoftext|>", eos_token="<|im_end|>")
    made.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    made.chat_template = CHAT
    return made


def _text_encoder() -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=300,
            hidden_size=TEXT_WIDTH,
            intermediate_size=32,
            num_hidden_layers=TEXT_LAYERS,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            tie_word_embeddings=True,
        )
    )


def vae() -> AutoencoderKLFlux2:
    """Of FLUX.2, and of FLUX.3: statistics of its own for each channel."""
    made = AutoencoderKLFlux2(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=4, sample_size=64
    )
    assert made.bn.running_mean is not None and made.bn.running_var is not None
    made.bn.running_mean.normal_(std=0.3)
    made.bn.running_var.uniform_(0.5, 2.0)
    return made


def tiny_transformer() -> Flux2Transformer2DModel:
    """Two blocks of each kind, two heads of 16."""
    return Flux2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * TEXT_WIDTH,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )


def captured(transformer: Flux2Transformer2DModel, act: Callable[[], object]) -> list[dict[str, Any]]:
    """What each call of the transformer is given while something is done."""
    seen: list[dict[str, Any]] = []
    handle = transformer.register_forward_pre_hook(lambda _, __, named: seen.append(named), with_kwargs=True)
    try:
        act()
    finally:
        handle.remove()
    return seen

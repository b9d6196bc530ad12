# ruff: noqa: E402
"""A tiny FLUX.3 klein in the layout of the released folders, with random weights: every part of the real classes.

As released, the tokenizer lies beside the text encoder, and there is no scheduler. Qwen3-VL's processor wants
torchvision for videos; the official pipeline asks it for a chat template and its tokenizer, so `Processor` has those.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers", minversion="0.42", reason="FLUX.3 came with diffusers 0.42")

from diffusers import AutoencoderKLFlux2, Flux3ModularPipeline, Flux3Transformer2DModel
from diffusers.modular_pipelines import SequentialPipelineBlocks
from diffusers.modular_pipelines.flux3.modular_blocks_flux3 import AUTO_BLOCKS
from transformers import AutoProcessor, PreTrainedTokenizerBase, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from flux_lora.models.family import ModelSource, Placement, PromptEmbeds
from flux_lora.models.flux3.load import load_text_encoder
from flux_lora.models.flux3.text import encode_text
from tests.klein_base import tokenizer as qwen_tokenizer
from tests.klein_base import vae as flux2_vae

TEXT_WIDTH, TEXT_LAYERS = 16, 34
"""Two layers more than are used."""
LONG = "a photo of a red zorb mug on a long wooden table beside a window, " * 2
CAPTIONS = ("a photo of zorb mug on grass", "", LONG)
"""Of 80, 80 and 160 tokens, padding among them: the tokenizer of the tiny base has a token for each letter."""
MOST = 400
PLACE = Placement(torch.device("cpu"), torch.float32)


@dataclass
class Processor:
    """What the official pipeline asks of Qwen3-VL's processor, and notes on it where it came from."""

    tokenizer: PreTrainedTokenizerBase

    def apply_chat_template(self, messages: list[dict[str, str]], **how: Any) -> Any:
        """As the processor does for text alone."""
        return self.tokenizer.apply_chat_template(messages, **how)


def write_flux3(folder: Path, *, distilled: bool = False, seed: int = 0) -> Path:
    """The folder, as it is released."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {
            "transformer": tiny_transformer(flow_map=distilled),
            "vae": flux2_vae(),
            "text_encoder": _text_encoder(),
        }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    qwen_tokenizer().save_pretrained(folder / "text_encoder")
    name = "Flux3Distilled" if distilled else "Flux3"
    places = {name: _entry(folder, name, type(part)) for name, part in parts.items()}
    places["tokenizer"] = _entry(folder, "text_encoder", AutoProcessor)
    index = {"_blocks_class_name": f"{name}AutoBlocks", "_class_name": f"{name}ModularPipeline", **places}
    (folder / "modular_model_index.json").write_text(json.dumps(index))
    return folder


def _entry(folder: Path, place: str, kind: type) -> list[object]:
    """Of a part, in modular_model_index.json."""
    hint = [kind.__module__.partition(".")[0], kind.__name__]
    return [*hint, {"pretrained_model_name_or_path": str(folder), "subfolder": place, "type_hint": hint}]


def official_pipeline(folder: Path) -> Flux3ModularPipeline:
    """Flux3AutoBlocks without the prompt upsampler, with every part of the folder."""
    blocks = SequentialPipelineBlocks.from_blocks_dict(
        {name: block for name, block in AUTO_BLOCKS.items() if name != "prompt_upsampler"}
    )
    pipeline = blocks.init_pipeline()
    text_folder = folder / "text_encoder"
    pipeline.update_components(
        transformer=Flux3Transformer2DModel.from_pretrained(folder / "transformer"),
        vae=AutoencoderKLFlux2.from_pretrained(folder / "vae"),
        text_encoder=Qwen3VLForConditionalGeneration.from_pretrained(text_folder).eval(),
        tokenizer=Processor(type(qwen_tokenizer()).from_pretrained(text_folder)),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _text_encoder() -> Qwen3VLForConditionalGeneration:
    text = {
        "vocab_size": 300,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True},
    }
    eyes = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": TEXT_WIDTH}
    ids = {"image_token_id": 290, "video_token_id": 291, "vision_start_token_id": 292, "vision_end_token_id": 293}
    eyes |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    config = Qwen3VLConfig(text_config=text, vision_config=eyes, tie_word_embeddings=True, **ids)
    return Qwen3VLForConditionalGeneration(config)


def tiny_transformer(*, flow_map: bool = False) -> Flux3Transformer2DModel:
    """Two blocks of each kind, two heads of 16."""
    return Flux3Transformer2DModel(
        in_channels=16,
        cond_in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=8 * TEXT_WIDTH,
        timestep_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        flow_map=flow_map,
    )


def our_embeds(source: ModelSource, caption: str = CAPTIONS[0]) -> PromptEmbeds:
    """In float32."""
    return encode_text(load_text_encoder(source, torch.float32), caption, source.max_sequence_length)


def captured(transformer: torch.nn.Module, act: Callable[[], object]) -> list[dict[str, Any]]:
    """What each call of the transformer is given while something is done."""
    seen: list[dict[str, Any]] = []
    handle = transformer.register_forward_pre_hook(lambda _, __, named: seen.append(named), with_kwargs=True)
    try:
        act()
    finally:
        handle.remove()
    return seen

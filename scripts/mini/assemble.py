"""Put the trained parts together as the pipeline folder that ships in the package."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline
from torch import nn
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerFast

from flux_lora.models.mini import mini_folder
from scripts.mini.clip import image_processor
from scripts.mini.flow import Painter

SCHEDULER = {
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": True,
}
"""FLUX.1-dev's own."""
MOST_BYTES = 16_000_000


def assemble(work: Path, painter: Painter, vae: AutoencoderKL, folder: Path | None = None) -> Path:
    """Write every part in half precision; returns the folder."""
    folder = folder or mini_folder()
    vae.register_to_config(_name_or_path="mini")  # not where it lay on the machine that made it
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
        vae=_half(vae),
        text_encoder=_half(CLIPTextModel.from_pretrained(work / "text_encoder")),
        tokenizer=CLIPTokenizer.from_pretrained(work / "tokenizer"),
        text_encoder_2=_half(painter.t5),
        tokenizer_2=PreTrainedTokenizerFast.from_pretrained(work / "tokenizer_2"),
        transformer=_half(painter.transformer),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    scorer = folder / "scorer"
    _half(CLIPModel.from_pretrained(work / "scorer")).save_pretrained(scorer)
    image_processor().save_pretrained(scorer)
    CLIPTokenizer.from_pretrained(work / "tokenizer").save_pretrained(scorer)
    weight = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert weight <= MOST_BYTES, f"the mini base weighs {weight} bytes, more than {MOST_BYTES}"
    return folder


def _half(module: nn.Module) -> nn.Module:
    return module.to(torch.float16)

"""The snippet in the report makes the picture in the report."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from torch import Tensor
from torch.nn import Module

from flux_lora.evaluate.snippets import comfy_hint, diffusers_snippet
from flux_lora.models.flux1.load import load_scheduler, load_text_encoders, load_vae
from flux_lora.models.flux1.text import encode_text
from flux_lora.render.sampler import render
from flux_lora.render.spec import RenderSpec

PROMPT = "a 'zorb' \"mug\" {x}\n"
SPEC = RenderSpec(prompts=(PROMPT,), seeds=(11, 12), width=32, height=48, text_tokens=24, steps=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the snippet would use bfloat16 on the GPU")
def test_the_snippet_runs_and_gives_the_rendered_picture(
    tiny_flux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = FluxPipeline.from_pretrained(tiny_flux)
    torch.manual_seed(0)
    pipeline.transformer.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], init_lora_weights=False))
    layers: dict[str, Module | Tensor] = {**get_peft_model_state_dict(pipeline.transformer)}
    FluxPipeline.save_lora_weights(tmp_path, transformer_lora_layers=layers, weight_name="zorb.safetensors")
    text = encode_text(load_text_encoders(str(tiny_flux)), SPEC.prompts, SPEC.text_tokens)
    vae, scheduler = load_vae(str(tiny_flux)), load_scheduler(str(tiny_flux))
    seen = render(pipeline.transformer, vae, scheduler, text, SPEC)[0]

    monkeypatch.chdir(tmp_path)
    exec(diffusers_snippet(str(tiny_flux), "zorb.safetensors", PROMPT, SPEC), {})

    made = np.asarray(Image.open(tmp_path / "picture.png"), dtype=int)
    assert np.abs(made - np.asarray(seen, dtype=int)).max() <= 1


def test_comfy_is_told_the_same_settings() -> None:
    hint = comfy_hint("runs/x/zorb.safetensors", SPEC, strength=0.8)
    assert "zorb.safetensors" in hint and "runs/x" not in hint
    assert "strength 0.8" in hint and "FluxGuidance 3.5" in hint and "32 x 48" in hint

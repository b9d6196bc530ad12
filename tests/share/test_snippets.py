"""The snippet is a program, and it makes the very image that the sampler makes of the exported file."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flux_lora.adapter.attach import attach, load_into
from flux_lora.adapter.files import read_adapter, write_dialect
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.config.choices import AdapterTargets
from flux_lora.models.family import ModelSource, Placement
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.load import load_text_encoders, load_transformer
from flux_lora.models.flux1.text import encode_text
from flux_lora.models.mini import MINI
from flux_lora.render.pipeline import render
from flux_lora.render.spec import RenderSpec
from flux_lora.share.base_models import base_model, with_part_files
from flux_lora.share.card import example_of
from flux_lora.share.snippets import comfy_hint, diffusers_snippet
from tests.tiny import flux1_layers

PROMPT = "a 'zorb' \"mug\" {x}\n"
SPEC = RenderSpec(prompts=(PROMPT,), seeds=(11, 12), width=32, height=48, text_tokens=24, steps=2)


def exported(base: str, file: Path) -> Path:
    """An exported file whose adapter changes every layer that is trained by default."""
    generator = torch.Generator().manual_seed(0)
    transformer = load_transformer(base, torch.float32)
    layers = flux1_layers(transformer, AdapterTargets.attention_mlp)
    fresh = attach(transformer, layers, rank=4, alpha=8, generator=generator)
    learned = {
        name: LoRA(layer.down, torch.randn(layer.up.shape, generator=generator) * 0.05, layer.alpha)
        for name, layer in fresh.layers.items()
    }
    return write_dialect(Adapter(learned), file, dialect="diffusers", metadata={}, dtype=torch.bfloat16)


def rendered(base: str, file: Path, spec: RenderSpec) -> np.ndarray:
    """What render/ makes of the file, first prompt and first seed alone."""
    pipeline = Flux1().load_pipeline(ModelSource(base), Placement(torch.device("cpu"), torch.float32))
    load_into(pipeline.transformer, read_adapter(file))
    embeds = encode_text(load_text_encoders(base), spec.prompts[:1], spec.text_tokens)
    return np.asarray(render(pipeline, [embeds], example_of(spec))[0])


def run(program: str, place: Path, started_in: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The image that the program leaves in the folder where it is started."""
    place.write_text(program, encoding="utf-8")
    monkeypatch.chdir(started_in)
    runpy.run_path(str(place))
    return np.asarray(Image.open(started_in / "picture.png"))


on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="the snippet would use bfloat16 on the GPU")


@on_a_cpu
def test_the_snippet_gives_the_image_of_the_exported_file_to_the_last_bit_on_mini(tmp_path: Path, monkeypatch):
    (tmp_path / "export").mkdir()
    file = exported(MINI, tmp_path / "export" / "zubo.safetensors")
    spec = RenderSpec(prompts=("a zubo bottle",), seeds=(7,), width=64, height=48, text_tokens=32, steps=4)
    program = diffusers_snippet(base_model(MINI, MINI, "", Flux1()), file.name, spec.prompts[0], spec)
    made = run(program, file.with_name("use.py"), tmp_path, monkeypatch)
    assert np.array_equal(made, rendered(MINI, file, spec))
    assert str(tmp_path) not in program, "it can be handed on"


@on_a_cpu
def test_any_prompt_any_folder_and_any_base_can_be_written_into_it(tiny_flux: Path, tmp_path: Path, monkeypatch):
    file = exported(str(tiny_flux), tmp_path / "it's" / "zorb.safetensors")
    program = diffusers_snippet(base_model("tiny", str(tiny_flux), "", Flux1()), str(file), PROMPT, SPEC)
    made = run(program, tmp_path / "use.py", tmp_path, monkeypatch)
    assert np.array_equal(made, rendered(str(tiny_flux), file, SPEC))


def test_comfy_is_told_the_same_settings() -> None:
    dev = base_model("FLUX.1-dev", "black-forest-labs/FLUX.1-dev", "", Flux1())
    hint = comfy_hint(dev, "runs/x/zorb.safetensors", SPEC, strength=0.8)
    assert "zorb.safetensors" in hint and "(flux1-dev.safetensors)" in hint and "runs/x" not in hint
    assert "strength 0.8" in hint and "FluxGuidance 3.5" in hint and "32 x 48" in hint


def test_a_transformer_out_of_a_file_of_its_own_is_named_to_diffusers_and_comfyui_without_its_folder() -> None:
    krea = base_model("Krea", "black-forest-labs/FLUX.1-dev", "", Flux1(), "/home/me/models/flux1-krea-dev.safetensors")
    program = diffusers_snippet(krea, "zorb.safetensors", PROMPT, SPEC)
    assert "# The LoRA was trained on flux1-krea-dev.safetensors." in program and "/home/me" not in program
    compile(program, "use.py", "exec")
    assert "(flux1-krea-dev.safetensors)" in comfy_hint(krea, "zorb.safetensors", SPEC)


def test_nobody_is_sent_to_comfyui_with_a_base_that_it_cannot_load() -> None:
    mini = base_model("flux_lora mini", MINI, "apache-2.0", Flux1())
    assert comfy_hint(mini, "zorb.safetensors", SPEC).startswith("ComfyUI cannot load flux_lora mini;")


def test_parts_out_of_files_of_their_own_are_named_to_diffusers_and_comfyui_without_their_folders() -> None:
    dev = base_model("FLUX.1-dev", "black-forest-labs/FLUX.1-dev", "", Flux1())
    own = with_part_files(dev, "/home/me/my-ae.safetensors", ("", "/home/me/t5xxl_fp8_e4m3fn.safetensors"))
    assert own.programs.comfy.vae == "my-ae.safetensors"
    assert own.programs.comfy.text_encoders == ("clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors")
    program = diffusers_snippet(own, "zorb.safetensors", PROMPT, SPEC)
    assert "my-ae.safetensors, t5xxl_fp8_e4m3fn.safetensors" in program and "/home/me" not in program
    compile(program, "use.py", "exec")
    assert with_part_files(dev, "", ("", "")) == dev

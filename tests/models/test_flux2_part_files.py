"""FLUX.2 klein's VAE and Qwen3 in files of their own are those of the folder."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLFlux2
from safetensors.torch import load_file
from transformers import Qwen3Config, Qwen3ForCausalLM

from flux_lora.errors import ConfigError, ModelError
from flux_lora.models.family import ModelSource
from flux_lora.models.flux2.family import KLEIN
from flux_lora.models.flux2.layers import KLEIN_4B, KLEIN_9B
from flux_lora.models.flux2.load import load_scheduler, load_text_encoder, load_vae
from flux_lora.models.flux2.part_files import QWEN_LAYOUT, VAE_LAYOUT
from flux_lora.models.flux2.text_models import QWEN3
from flux_lora.models.flux2.weightless import weightless_base
from flux_lora.models.vae_file import diffusers_names
from tests.klein_base import write_klein
from tests.models.test_part_files import equal, full_size
from tests.single_files import diffusers_vae_names, native_vae_names, written

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_klein(tmp_path_factory.mktemp("klein") / "base")


@pytest.fixture(scope="module")
def source(base: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """Each file with the config.json that says what the released sizes would."""
    files = tmp_path_factory.mktemp("files")
    vae = native(load_file(base / "vae" / "diffusion_pytorch_model.safetensors"))
    text = load_file(base / "text_encoder" / "model.safetensors")
    made = {}
    for part, name, weights in (("vae", "flux2-vae", vae), ("text_encoder", "qwen_3_4b", text)):
        (files / part).mkdir()
        shutil.copy(base / part / "config.json", files / part)
        made[part] = str(written(files / part / f"{name}.safetensors", weights))
    return ModelSource(str(base), max_sequence_length=40, **made)


def native(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """BFL's names: the convolutions around the latents belong to encoder and decoder."""
    there = diffusers_vae_names(native_vae_names(4, 1), {"down_block_types": "1234", "up_block_types": "1234"})
    names = {name: bfl for bfl, name in there.items()}
    for half, conv in (("encoder", "quant_conv"), ("decoder", "post_quant_conv")):
        names |= {f"{conv}.{attribute}": f"{half}.{conv}.{attribute}" for attribute in ("weight", "bias")}
    made = {names.get(name, name): each for name, each in weights.items() if not name.endswith("num_batches_tracked")}
    return {
        name: each[:, :, None, None] if ".attn_1." in name and each.ndim == 2 else each for name, each in made.items()
    }


def test_two_files_are_the_folders_parts_to_the_last_bit(base: Path, source: ModelSource):
    folder = ModelSource(str(base), max_sequence_length=40)
    assert equal(load_vae(source), load_vae(folder))
    ours, theirs = (load_text_encoder(QWEN3, each, torch.float32) for each in (source, folder))
    assert equal(ours.model, theirs.model)
    encoders = [KLEIN[0].encoders(each, device=CPU, text_device=CPU, dtype=torch.float32) for each in (source, folder)]
    one, other = (each.open_caption_encoder()("a red cup")["qwen"] for each in encoders)
    assert torch.equal(one, other)
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    one, other = (each.open_image_encoder()(pixels).mean for each in encoders)
    assert torch.equal(one, other)


def test_released_files_tell_their_sizes_and_names() -> None:
    with torch.device("meta"):
        vae = AutoencoderKLFlux2()
        qwen = {
            size: Qwen3ForCausalLM(Qwen3Config(**QWEN3.settings(size), num_hidden_layers=36))
            for size in (KLEIN_4B, KLEIN_9B)
        }
    told = VAE_LAYOUT.settings(full_size(vae))
    assert {name: told[name] for name in told} == {name: vae.config[name] for name in told}
    outside = [
        f"{name}.{end}" for name in ("encoder.quant_conv", "decoder.post_quant_conv") for end in ("weight", "bias")
    ]
    mapped = diffusers_names(
        dict.fromkeys([*native_vae_names(4, 2), *outside, "bn.running_mean", "bn.running_var"], (1,))
    )
    assert set(mapped.values()) >= {name for name in vae.state_dict() if name != "bn.num_batches_tracked"}
    for size, model in qwen.items():
        shapes = {name.removeprefix("model."): shape for name, shape in full_size(model).items()}
        settings = QWEN_LAYOUT.settings(shapes)
        known = QWEN3.settings(size)
        assert {name: settings[name] for name in known} == dict(known)
        assert settings["num_hidden_layers"] == 36 and settings["rope_parameters"]["rope_theta"] == 1e6


def test_a_smaller_decoder_is_told_by_its_widths() -> None:
    with torch.device("meta"):
        vae = AutoencoderKLFlux2(decoder_block_out_channels=(64, 128, 256, 256))
    assert VAE_LAYOUT.settings(full_size(vae))["decoder_block_out_channels"] == (64, 128, 256, 256)


def test_qwen_of_the_other_size_a_second_encoder_and_flux1s_vae_are_refused(source: ModelSource, tmp_path: Path):
    wider = Qwen3Config(**{**QWEN3.settings(KLEIN_4B), "vocab_size": 8, "intermediate_size": 8}, num_hidden_layers=1)
    config = Qwen3ForCausalLM(wider).state_dict()
    file = str(
        written(tmp_path / "qwen.safetensors", {name: each for name, each in config.items() if "lm" not in name})
    )
    other = ModelSource(source.path, text_encoder=file)
    with pytest.raises(ModelError, match="qwen.safetensors is 2560 wide, and the transformer takes 16"):
        KLEIN[0].encoders(other, device=CPU, text_device=CPU, dtype=torch.float32)
    with pytest.raises(ModelError, match="takes 16"):
        weightless_base(KLEIN_4B, QWEN3, other)
    with pytest.raises(ConfigError, match="has one text encoder"):
        second = ModelSource(source.path, text_encoder_2=file)
        KLEIN[0].encoders(second, device=CPU, text_device=CPU, dtype=torch.float32)
    narrow = {
        "decoder.conv_in.weight": torch.zeros(8, 16, 3, 3),
        "encoder.down_blocks.0.resnets.0.conv1.weight": torch.zeros(8),
    }
    with pytest.raises(ModelError, match="is a VAE of 16 latent channels") as refused:
        load_vae(ModelSource(source.path, vae=str(written(tmp_path / "ae.safetensors", narrow))))
    assert refused.value.fix == "give FLUX.2's VAE, flux2-vae.safetensors"


def test_with_all_parts_in_files_the_schedule_ships() -> None:
    hub = ModelSource("black-forest-labs/FLUX.2-klein-base-4B", transformer="t", vae="v", text_encoder="q")
    assert load_scheduler(hub).config["use_dynamic_shifting"]

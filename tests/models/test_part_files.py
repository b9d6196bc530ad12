"""FLUX.1 in four files, as ComfyUI's users have it, is FLUX.1 in a folder; what a file is not is said in two lines."""

import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, FluxPipeline
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from flux_lora.__main__ import answer
from flux_lora.adapter.files import read_adapter
from flux_lora.config.compose import compose_config
from flux_lora.models.family import ModelSource
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.load import load_scheduler, load_text_encoders, load_vae
from flux_lora.models.flux1.part_files import CLIP, CLIP_LAYOUT, T5, T5_LAYOUT, VAE, VAE_LAYOUT
from flux_lora.models.flux1.weightless import transformer_on_meta, weightless_base
from flux_lora.models.vae_file import diffusers_names
from flux_lora.models.weight_file import Layout, Sides
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from flux_lora.runs.training import train_adapter
from flux_lora.train.checkpoints import latest_checkpoint
from tests.single_files import (
    diffusers_vae_names,
    eight_bit,
    encoder,
    flux1,
    native_vae,
    native_vae_names,
    write_files,
    write_folder,
    written,
)
from tests.test_path import photo_folder, settings

HUB = "black-forest-labs/FLUX.1-dev"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipeline() -> FluxPipeline:
    return flux1()


@pytest.fixture(scope="module")
def folder(pipeline: FluxPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("parts") / "folder", pipeline)


@pytest.fixture(scope="module")
def files(pipeline: FluxPipeline, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_files(tmp_path_factory.mktemp("parts") / "files", pipeline)


def source(files: dict[str, Path], **other: Path) -> ModelSource:
    """The hub's id, of which nothing is here, and the files."""
    return ModelSource(HUB, max_sequence_length=24, **{knob: str(file) for knob, file in (files | other).items()})


def equal(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    mine, their = ours.state_dict(), theirs.state_dict()
    return mine.keys() == their.keys() and all(torch.equal(mine[name], each) for name, each in their.items())


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_where: object) -> None:
        raise AssertionError("nothing is asked of the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def test_every_tensor_of_the_vae_goes_where_diffusers_own_conversion_puts_it() -> None:
    """At full size: ae.safetensors has 244 tensors."""
    with torch.device("meta"):
        theirs = AutoencoderKL.from_config(VAE)
    names = native_vae_names(4, 2)
    mapped = diffusers_names(dict.fromkeys(names, (1,)))
    assert mapped == diffusers_vae_names(names, theirs.config)
    released = {name for name in mapped.values() if name in theirs.state_dict()}
    assert released == set(theirs.state_dict()) and len(released) == 244


def full_size(model: torch.nn.Module) -> Sides:
    return {name: tuple(each.shape) for name, each in model.state_dict().items()}


@pytest.mark.parametrize(
    ("layout", "made", "known"),
    [
        (VAE_LAYOUT, lambda: AutoencoderKL.from_config(VAE), VAE),
        (CLIP_LAYOUT, lambda: CLIPTextModel(CLIPTextConfig(**CLIP)), CLIP),
        (T5_LAYOUT, lambda: T5EncoderModel(T5Config(**T5)), T5),
    ],
)
def test_the_released_files_tell_the_sizes_of_their_parts(layout: Layout, made, known):
    with torch.device("meta"):
        shapes = full_size(made())
    told = layout.settings(shapes)
    assert {name: told[name] for name in known} == dict(known)


def test_four_files_are_the_folders_parts_to_the_last_bit(folder: Path, files: dict[str, Path], no_network: None):
    assert equal(load_vae(str(files["vae"])), load_vae(str(folder)))
    for dtype in (torch.float32, torch.bfloat16):
        ours, theirs = load_text_encoders(source(files), dtype), load_text_encoders(str(folder), dtype)
        assert equal(ours.clip, theirs.clip) and equal(ours.t5, theirs.t5)
        assert ours.t5.dtype == dtype and ours.clip.config.eos_token_id == theirs.clip.config.eos_token_id
    on_meta = weightless_base(source(files))
    assert full_size(on_meta.vae) == full_size(load_vae(str(folder)))
    assert [full_size(each) for each in on_meta.text_encoders] == [full_size(ours.clip), full_size(ours.t5)]


def test_a_vae_in_diffusers_names_and_parts_of_a_checkpoint_are_read_too(
    pipeline: FluxPipeline, folder: Path, files: dict[str, Path], tmp_path: Path
):
    checkpoint = {f"vae.{name}": each for name, each in native_vae(pipeline.vae).items()}
    for knob, prefix in (
        ("transformer", "model.diffusion_model."),
        ("text_encoder", "text_encoders.clip_l.transformer."),
        ("text_encoder_2", "text_encoders.t5xxl.transformer."),
    ):
        checkpoint |= {prefix + name: each for name, each in load_file(files[knob]).items()}
    whole = written(tmp_path / "flux1-all-in-one.safetensors", checkpoint)
    assert equal(load_vae(str(whole)), pipeline.vae)
    assert equal(load_vae(str(written(tmp_path / "vae.safetensors", pipeline.vae.state_dict()))), pipeline.vae)
    ours = load_text_encoders(source(dict.fromkeys(files, whole)))
    theirs = load_text_encoders(str(folder))
    assert equal(ours.clip, theirs.clip) and equal(ours.t5, theirs.t5)


@pytest.mark.parametrize("scaled", [False, True])
def test_t5_in_8_bits_is_the_numbers_that_it_stands_for(
    pipeline: FluxPipeline, files: dict[str, Path], tmp_path: Path, scaled: bool
):
    weights = eight_bit(encoder(pipeline), scaled=scaled)
    file = written(tmp_path / "t5xxl_fp8_e4m3fn.safetensors", weights)
    loaded = load_text_encoders(source(files, text_encoder_2=file), torch.bfloat16).t5.state_dict()
    for name, tensor in encoder(pipeline).items():
        scale = weights.get(name.removesuffix("weight") + "scale_weight", torch.ones(()))
        stands_for = (weights[name].float() * scale).bfloat16() if tensor.ndim == 2 else tensor.bfloat16()
        assert torch.equal(loaded[name], stands_for), name


def test_the_schedule_ships_and_is_that_of_the_transformers_release(files: dict[str, Path], folder: Path, no_network):
    family, size = Flux1(), {"width": 640, "height": 768, "steps": 20}
    theirs = load_scheduler(ModelSource(str(folder)), transformer_on_meta({"guidance_embeds": True}))
    for guided in (True, False):
        ours = load_scheduler(source(files), transformer_on_meta({"guidance_embeds": guided}))
        assert ours.config["use_dynamic_shifting"] is guided
        if guided:
            assert family.sampling_shift(ours, **size) == family.sampling_shift(theirs, **size)


def test_another_file_of_the_same_kind_changes_the_names_of_what_is_cached(files: dict[str, Path], tmp_path: Path):
    def encoders(**other: Path):
        made = Flux1().encoders(source(files, **other), device=CPU, text_device=CPU, dtype=torch.float32)
        return made.image_fingerprint, made.caption_fingerprint

    renamed = {knob: Path(shutil.copy(file, tmp_path / f"my {knob}.safetensors")) for knob, file in files.items()}
    images, captions = encoders()
    assert encoders(**renamed) == (images, captions)

    def changed(knob: str) -> Path:
        weights = load_file(files[knob])
        name = next(iter(weights))
        return written(tmp_path / f"{knob}.safetensors", weights | {name: weights[name] + 1})

    assert encoders(vae=changed("vae"))[0] != images and encoders(vae=changed("vae"))[1] == captions
    for knob in ("text_encoder", "text_encoder_2"):
        assert encoders(**{knob: changed(knob)}) == (images, encoders(**{knob: changed(knob)})[1])
        assert encoders(**{knob: changed(knob)})[1] != captions


def other_vae(channels: int) -> dict[str, Tensor]:
    made = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32,) * 4,
        latent_channels=channels,
    )
    return dict(made.state_dict())


def test_what_a_file_is_not_is_said_in_two_lines_with_the_way_out(files: dict[str, Path], tmp_path: Path, capsys):
    t5_base = T5EncoderModel(T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    wide = T5Config(
        vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu"
    )
    clip_g = CLIPTextConfig(hidden_size=128, intermediate_size=16, num_hidden_layers=1, vocab_size=40)
    clip_g_weights = CLIPTextModel(clip_g).state_dict()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(files["vae"].read_bytes()[:-100])
    few = {name: each for name, each in load_file(files["text_encoder"]).items() if "layers.1.mlp.fc2" not in name}
    cases = {
        "transformer": [(files["vae"], "holds a VAE and no FLUX.1 transformer", "set model.vae=")],
        "vae": [
            (files["transformer"], "holds a transformer and no VAE of FLUX.1", "set model.transformer="),
            (written(tmp_path / "sd.safetensors", other_vae(4)), "is a VAE of 4 latent channels", "ae.safetensors"),
            (cut, "cut.safetensors cannot be opened", "cut short"),
            (tmp_path / "nowhere.safetensors", "is not there", "path"),
        ],
        "text_encoder": [
            (files["text_encoder_2"], "holds T5 and no CLIP", "set model.text_encoder_2="),
            (written(tmp_path / "g.safetensors", clip_g_weights), "128 wide, and the transformer takes 64", "clip_l"),
            (written(tmp_path / "few.safetensors", few), "has no encoder.layers.1.mlp.fc2", "fetch the file again"),
        ],
        "text_encoder_2": [
            (
                written(tmp_path / "t5-base.safetensors", t5_base.state_dict()),
                "has no encoder.block.0.layer.1.De",
                "give",
            ),
            (
                written(tmp_path / "small.safetensors", T5EncoderModel(wide).state_dict()),
                "16 wide, and the transformer takes 48",
                "t5xxl",
            ),
        ],
    }
    for knob, wrong in cases.items():
        for file, problem, fix in wrong:
            asked = {**files, knob: file}
            words = [f"{key}={place}" for key, place in asked.items()]
            code = answer_code(["render", "prompts=[a cup]", f"out={tmp_path / 'out'}", "hardware.device=cpu", *words])
            said = capsys.readouterr().err.strip().splitlines()
            assert code == 2 and len(said) == 2, (file, said)
            assert problem in said[0] and fix in said[1], said
            assert not (tmp_path / "out").exists()


def answer_code(words: list[str]) -> int:
    """As __main__ ends."""
    import sys

    from flux_lora.errors import UserError

    try:
        return answer(words)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def trained(words: list[str]) -> Run:
    run = Run(compose_config(words))
    dataset = preflight(run)
    run.begin()
    train_adapter(run, encode_dataset(run, dataset))
    return run


def test_four_files_train_and_render_with_no_network_and_no_folder_bit_for_bit_as_the_folder_does(
    folder: Path, files: dict[str, Path], tiny_flux: Path, tmp_path: Path, no_network: None
):
    photos = photo_folder(tmp_path / "photos", 4)
    few = ["train.steps=2", "train.save_every=2", "preview.every=2", "train.preservation=0", "train.class_images=0"]
    words = [*settings(tiny_flux, photos, tmp_path / "run", *few), "evaluate.held_out_losses=0"]
    ours = [word for word in words if not word.startswith("model.path=")]
    ours += [f"model.{knob}={file}" for knob, file in files.items()]
    runs = trained(ours), trained([*words, f"model.path={folder}", f"run.dir={tmp_path / 'other'}"])
    one, other = (read_adapter(latest_checkpoint(run.folder.root).adapter_file).layers for run in runs)
    assert one.keys() == other.keys() and one
    for name, layer in one.items():
        assert torch.equal(layer.down, other[name].down) and torch.equal(layer.up, other[name].up)
    previews = [sorted(run.folder.samples.rglob("*.png")) for run in runs]
    assert previews[0] and [each.name for each in previews[0]] == [each.name for each in previews[1]]

    shown = ["render", "prompts=[a red cup]", "seeds=[3]", "width=64", "height=48", "steps=2", "hardware.device=cpu"]
    named = [f"{knob}={file}" for knob, file in files.items()]
    assert answer([*shown, *named, f"out={tmp_path / 'a'}"]) == 0
    assert answer([*shown, f"path={folder}", f"out={tmp_path / 'b'}"]) == 0
    assert pixels(tmp_path / "a") == pixels(tmp_path / "b")
    summary = json.loads((runs[0].folder.root / "summary.json").read_text())
    assert summary["steps"] == 2


def pixels(folder: Path) -> list[bytes]:
    from PIL import Image

    return [Image.open(file).convert("RGB").tobytes() for file in sorted(folder.glob("0*.png"))]

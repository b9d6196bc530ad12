"""Nothing is encoded twice, and nothing stale is read."""

import gc
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTextModel, T5EncoderModel

from flux_lora.data.cache import Encoders, encode_all, encode_captions
from flux_lora.data.encoders import flux1_encoders
from flux_lora.data.plan import plan
from flux_lora.data.samples import find_samples
from flux_lora.models.family import Text
from flux_lora.models.flux1.latents import encode_pixels
from flux_lora.models.flux1.load import load_text_encoders, load_vae
from flux_lora.models.flux1.text import encode_text
from tests.data.pictures import gradient, write_sample
from tests.tiny import write_tiny_flux

CPU = torch.device("cpu")


@dataclass
class MeanColours:
    """Encoders that need no weights, and remember what they were asked."""

    asked: list[str] = field(default_factory=list)

    def encoders(self) -> Encoders:
        return Encoders("mean colour", self.open_pictures, "letters", self.open_captions)

    def open_pictures(self):
        self.asked.append("pictures opened")

        def latents(pixels: Tensor) -> Tensor:
            return torch.nn.functional.avg_pool2d(pixels, 8)

        return latents

    def open_captions(self):
        self.asked.append("captions opened")

        def text(caption: str) -> Text:
            self.asked.append(caption)
            return Text(t5=torch.full((1, 2, 3), float(len(caption))), pooled=torch.zeros(1, 3))

        return text


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    for number in range(3):
        write_sample(folder, f"{number}.png", f"a TOK mug {number}", gradient(48 + 16 * number, 32, seed=number))
    return folder


def encoded_by(colours: MeanColours, photos: Path, folder: Path):
    return encode_all(plan(find_samples(photos), 32), colours.encoders(), folder)


def loaded_models() -> set[int]:
    return {id(thing) for thing in gc.get_objects() if type(thing) in {AutoencoderKL, CLIPTextModel, T5EncoderModel}}


def contents(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def test_what_was_encoded_once_is_read_back_equal_without_opening_an_encoder(photos, tmp_path):
    first = encoded_by(MeanColours(), photos, tmp_path / "cache")
    idle = MeanColours()
    second = encoded_by(idle, photos, tmp_path / "cache")
    assert idle.asked == []
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.latent, other.latent) and torch.equal(one.text.t5, other.text.t5)


def test_an_edited_caption_is_the_only_thing_encoded_again(photos, tmp_path):
    encoded_by(MeanColours(), photos, tmp_path / "cache")
    before = contents(tmp_path / "cache")
    (photos / "1.txt").write_text("a TOK mug, edited")
    colours = MeanColours()
    again = encoded_by(colours, photos, tmp_path / "cache")
    assert colours.asked == ["captions opened", "a TOK mug, edited"]
    assert again[1].text.t5[0, 0, 0] == len("a TOK mug, edited")
    after = contents(tmp_path / "cache")
    assert len(after) == len(before) + 1 and before.items() <= after.items()


def test_an_edited_picture_is_the_only_thing_encoded_again(photos, tmp_path):
    encoded_by(MeanColours(), photos, tmp_path / "cache")
    before = contents(tmp_path / "cache")
    gradient(48, 32, seed=9).save(photos / "0.png")
    colours = MeanColours()
    encoded_by(colours, photos, tmp_path / "cache")
    assert colours.asked == ["pictures opened"]
    assert len(contents(tmp_path / "cache")) == len(before) + 1


def test_a_renamed_or_resaved_picture_is_read_from_the_cache(photos, tmp_path):
    encoded_by(MeanColours(), photos, tmp_path / "cache")
    (photos / "0.png").rename(photos / "z.png")
    (photos / "0.txt").rename(photos / "z.txt")
    gradient(64, 32, seed=1).save(photos / "1.png", compress_level=0)
    colours = MeanColours()
    encoded_by(colours, photos, tmp_path / "cache")
    assert colours.asked == []


def test_other_weights_or_another_resolution_never_read_the_old_files(photos, tmp_path):
    encoded_by(MeanColours(), photos, tmp_path / "cache")
    colours = MeanColours()
    others = replace(colours.encoders(), pictures="other", captions="others")
    encode_all(plan(find_samples(photos), 32), others, tmp_path / "cache")
    assert {"pictures opened", "captions opened"} <= set(colours.asked)
    finer = MeanColours()
    encode_all(plan(find_samples(photos), 64), finer.encoders(), tmp_path / "cache")
    assert finer.asked == ["pictures opened"]


def test_whoever_asks_is_told_of_each_thing_that_is_encoded(photos, tmp_path):
    heard: list[str] = []
    for _ in range(2):
        encode_all(plan(find_samples(photos), 32), MeanColours().encoders(), tmp_path / "cache", told=heard.append)
    assert heard == ["a TOK mug 0", "a TOK mug 1", "a TOK mug 2", "0.png", "1.png", "2.png"]


def test_a_damaged_cache_file_is_made_again(photos, tmp_path):
    encoded_by(MeanColours(), photos, tmp_path / "cache")
    damaged = next((tmp_path / "cache").glob("text-*"))
    damaged.write_bytes(damaged.read_bytes()[:40])
    colours = MeanColours()
    encoded_by(colours, photos, tmp_path / "cache")
    assert colours.asked[0] == "captions opened" and len(colours.asked) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from flux_lora.data.cache import Encoders, encode_captions
from flux_lora.models.family import Text

def open_captions():
    def text(caption):
        if caption == "third":
            os.kill(os.getpid(), signal.SIGKILL)
        return Text(t5=torch.ones(1, 512, 512), pooled=torch.ones(1, 3))
    return text

encode_captions(["first", "second", "third"], Encoders("", None, "", open_captions), Path(sys.argv[1]))
"""


def test_a_killed_run_leaves_whole_files_and_the_next_one_goes_on_from_them(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=dict(os.environ), timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("text-*.safetensors"))) == 2
    colours = MeanColours()
    encode_captions(["first", "second", "third"], replace(colours.encoders(), captions=""), tmp_path)
    assert colours.asked == ["captions opened", "third"]


def test_a_half_written_file_is_never_read(photos, tmp_path):
    encoded_by(MeanColours(), photos, tmp_path / "cache")
    whole = next((tmp_path / "cache").glob("text-*"))
    whole.rename(whole.with_suffix(".partial"))
    colours = MeanColours()
    encoded_by(colours, photos, tmp_path / "cache")
    assert len(colours.asked) == 2
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_flux1_encodes_as_its_own_parts_do_and_lets_go_of_them(tiny_flux, photos, tmp_path):
    path = str(tiny_flux)
    prepared = plan(find_samples(photos), 32)
    encoders = flux1_encoders(path, tokens=12, device=CPU, text_dtype=torch.float32)
    before = loaded_models()
    encoded = encode_all(prepared, encoders, tmp_path / "cache")
    assert loaded_models() <= before

    text = encode_text(load_text_encoders(path), ["a TOK mug 1"], 12)
    torch.testing.assert_close(encoded[1].text.t5, text.t5)
    torch.testing.assert_close(encoded[1].text.pooled, text.pooled)
    bucket = prepared[2].bucket
    assert encoded[2].latent.shape == (16, bucket.height // 8, bucket.width // 8)
    assert bucket.width != bucket.height
    assert load_vae(path).dtype == encoded[2].latent.dtype == torch.float32
    pixels = torch.zeros(1, 3, bucket.height, bucket.width)
    assert encode_pixels(load_vae(path), pixels)[0].shape == encoded[2].latent.shape


def test_fingerprints_tell_models_token_counts_and_dtypes_apart(tiny_flux, tmp_path):
    other = write_tiny_flux(tmp_path / "other", seed=1)
    plain, again = (flux1_encoders(str(tiny_flux), tokens=12, device=CPU, text_dtype=torch.float32) for _ in range(2))
    longer = flux1_encoders(str(tiny_flux), tokens=32, device=CPU, text_dtype=torch.float32)
    coarser = flux1_encoders(str(tiny_flux), tokens=12, device=CPU, text_dtype=torch.bfloat16)
    foreign = flux1_encoders(str(other), tokens=12, device=CPU, text_dtype=torch.float32)
    assert (plain.pictures, plain.captions) == (again.pictures, again.captions)
    assert len({one.captions for one in (plain, longer, coarser, foreign)}) == 4
    assert plain.pictures == longer.pictures != foreign.pictures

"""Nothing is encoded twice, and nothing stale is read."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flux_lora.config.choices import SourceRole
from flux_lora.data.cache import EncodeOptions, encode_all, encode_captions, encode_share
from flux_lora.distributed.processes import ProcessShare
from flux_lora.errors import DataError
from flux_lora.models.family import LatentDistribution, PromptEmbeds
from tests.data.colours import MeanColours, entries, made_by, planned, three_photos
from tests.data.drawn_images import gradient


@pytest.fixture
def photos(tmp_path) -> Path:
    return three_photos(tmp_path / "photos")


def test_what_was_encoded_once_is_read_back_equal_without_opening_an_encoder(photos, tmp_path):
    first = made_by(MeanColours(), photos, tmp_path / "cache").encoded
    idle = MeanColours()
    second = made_by(idle, photos, tmp_path / "cache").encoded
    assert idle.asked == []
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.latent, other.latent) and torch.equal(one.std, other.std)
        assert torch.equal(one.prompt_embeds[0]["t5"], other.prompt_embeds[0]["t5"])


def test_a_latent_is_kept_as_a_mean_and_a_spread(photos, tmp_path):
    for one in made_by(MeanColours(), photos, tmp_path / "cache").encoded:
        assert one.latent.shape == one.std.shape
        assert one.std.unique().tolist() == [0.25]


def test_an_edited_caption_is_the_only_thing_encoded_again(photos, tmp_path):
    made_by(MeanColours(), photos, tmp_path / "cache")
    before = entries(tmp_path / "cache")
    (photos / "1.txt").write_text("a TOK mug, edited")
    colours = MeanColours()
    again = made_by(colours, photos, tmp_path / "cache").encoded
    assert colours.asked == ["captions opened", "a TOK mug, edited"]
    assert again[1].prompt_embeds[0]["t5"][0, 0, 0] == len("a TOK mug, edited")
    after = entries(tmp_path / "cache")
    assert len(after) == len(before) + 1 and before.items() <= after.items()


def test_an_image_with_one_other_pixel_is_the_only_thing_encoded_again(photos, tmp_path):
    before = made_by(MeanColours(), photos, tmp_path / "cache").encoded
    kept = entries(tmp_path / "cache")
    image = gradient(64, 32, seed=1)
    image.putpixel((30, 7), (255, 255, 255))
    image.save(photos / "1.png")
    colours = MeanColours()
    after = made_by(colours, photos, tmp_path / "cache").encoded
    assert colours.asked == ["images opened", "an image"]
    assert not torch.equal(before[1].latent, after[1].latent)
    assert len(entries(tmp_path / "cache")) == len(kept) + 1 and kept.items() <= entries(tmp_path / "cache").items()


def test_a_renamed_or_resaved_image_is_read_from_the_cache(photos, tmp_path):
    made_by(MeanColours(), photos, tmp_path / "cache")
    (photos / "0.png").rename(photos / "z.png")
    (photos / "0.txt").rename(photos / "z.txt")
    gradient(64, 32, seed=1).save(photos / "1.png", compress_level=0)
    colours = MeanColours()
    made_by(colours, photos, tmp_path / "cache")
    assert colours.asked == []


def test_images_of_one_name_in_two_folders_are_two_images(photos, tmp_path):
    other = three_photos(tmp_path / "others")
    gradient(48, 32, seed=8).save(other / "0.png")
    ours = made_by(MeanColours(), photos, tmp_path / "cache").encoded
    theirs = made_by(MeanColours(), other, tmp_path / "cache").encoded
    assert not torch.equal(ours[0].latent, theirs[0].latent)
    assert torch.equal(ours[1].latent, theirs[1].latent)


def test_other_weights_or_another_resolution_never_read_the_old_files(photos, tmp_path):
    made_by(MeanColours(), photos, tmp_path / "cache")
    colours = MeanColours()
    others = replace(colours.encoders(), image_fingerprint="other", caption_fingerprint="others")
    encode_all(planned(photos), others, tmp_path / "cache")
    assert {"images opened", "captions opened"} <= set(colours.asked)
    finer = MeanColours()
    encode_all(planned(photos, 64), finer.encoders(), tmp_path / "cache")
    assert finer.asked == ["images opened", *["an image"] * 3]


def test_every_caption_of_an_image_is_there_and_without_the_trigger_too(photos, tmp_path):
    prepared = [
        replace(one, sample=replace(one.sample, variants=("the mug",), role=SourceRole.regularisation))
        for one in planned(photos)
    ]
    colours, wanted = (
        MeanColours(),
        EncodeOptions(plain=lambda caption: caption.replace("TOK ", ""), words=("", "a prompt")),
    )
    one = encode_all(prepared, colours.encoders(), tmp_path, wanted=wanted).encoded[0]
    assert [text["t5"][0, 0, 0] for text in one.prompt_embeds] == [len("a TOK mug 0"), len("the mug")]
    assert [text["t5"][0, 0, 0] for text in one.class_prompt_embeds] == [len("a mug 0"), len("the mug")]
    assert one.role is SourceRole.regularisation
    said = ["", "a prompt", "a TOK mug 0", "the mug", "a TOK mug 1", "a TOK mug 2", "a mug 0", "a mug 1", "a mug 2"]
    assert [each for each in colours.asked if "image" not in each and "opened" not in each] == said


def test_an_image_without_a_caption_is_shown_with_the_empty_one(photos, tmp_path):
    (photos / "0.txt").unlink()
    assert made_by(MeanColours(), photos, tmp_path / "cache").encoded[0].prompt_embeds[0]["t5"].unique().tolist() == [0]


def test_whoever_asks_is_told_how_far_it_is(photos, tmp_path):
    heard: list[tuple[int, int, str]] = []
    for _ in range(2):
        encode_all(
            planned(photos), MeanColours().encoders(), tmp_path / "cache", progress=lambda *said: heard.append(said)
        )
    captions = [(1, 3, "a TOK mug 0"), (2, 3, "a TOK mug 1"), (3, 3, "a TOK mug 2")]
    assert heard == [*captions, (1, 3, "0.png"), (2, 3, "1.png"), (3, 3, "2.png")]


def test_a_damaged_entry_is_made_again(photos, tmp_path):
    made_by(MeanColours(), photos, tmp_path / "cache")
    damaged = next((tmp_path / "cache").glob("text-*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    colours = MeanColours()
    made_by(colours, photos, tmp_path / "cache")
    assert colours.asked[0] == "captions opened" and len(colours.asked) == 2


def test_numbers_that_are_not_finite_are_refused_and_the_image_is_named(photos, tmp_path):
    def broken():
        return lambda pixels: LatentDistribution(pixels, torch.full_like(pixels, torch.nan))

    with pytest.raises(DataError, match=r"0\.png.*not finite"):
        encode_all(planned(photos), replace(MeanColours().encoders(), open_image_encoder=broken), tmp_path)
    assert not list(tmp_path.glob("latent-*"))


def test_a_caption_that_becomes_numbers_that_are_not_finite_is_named(tmp_path):
    def broken():
        return lambda _: PromptEmbeds({"t5": torch.zeros(1, 2, 3), "pooled": torch.full((1, 3), torch.inf)})

    with pytest.raises(DataError, match="'a mug'.*not finite"):
        encode_captions(["a mug"], replace(MeanColours().encoders(), open_caption_encoder=broken), tmp_path)
    assert not list(tmp_path.glob("text-*"))


def test_processes_share_the_work_without_doing_any_of_it_twice(photos, tmp_path):
    workers = [MeanColours() for _ in range(3)]
    for rank, worker in enumerate(workers):
        encode_share(
            planned(photos),
            worker.encoders(),
            tmp_path / "cache",
            ProcessShare(rank, 3),
            wanted=EncodeOptions(words=("",)),
        )
    asked = [each for worker in workers for each in worker.asked]
    assert asked.count("an image") == 3
    assert sorted(each for each in asked if each.startswith("a TOK")) == [f"a TOK mug {number}" for number in range(3)]
    reader = MeanColours()
    assert len(made_by(reader, photos, tmp_path / "cache", EncodeOptions(words=("",))).encoded) == 3
    assert reader.asked == []


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from flux_lora.data.cache import Encoders, encode_captions
from flux_lora.models.family import PromptEmbeds

def open_captions():
    def text(caption):
        if caption == "third":
            os.kill(os.getpid(), signal.SIGKILL)
        return PromptEmbeds({"t5": torch.ones(1, 512, 512), "pooled": torch.ones(1, 3)})
    return text

encode_captions(["first", "second", "third"], Encoders("", None, "", open_captions, 8), Path(sys.argv[1]))
"""


def test_a_run_that_is_killed_keeps_what_is_done_and_the_next_goes_on_from_there(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=dict(os.environ), timeout=280)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("text-*.safetensors"))) == 2
    colours = MeanColours()
    encode_captions(["first", "second", "third"], replace(colours.encoders(), caption_fingerprint=""), tmp_path)
    assert colours.asked == ["captions opened", "third"]


def test_a_run_that_is_stopped_by_hand_keeps_what_is_done(photos, tmp_path):
    def stop_at_the_second(_done: int, _total: int, name: str) -> None:
        if name == "1.png":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_all(planned(photos), MeanColours().encoders(), tmp_path / "cache", progress=stop_at_the_second)
    colours = MeanColours()
    made_by(colours, photos, tmp_path / "cache")
    assert colours.asked == ["images opened", "an image"]

# ruff: noqa: E402
"""FLUX.3 klein's captions: our prompt embeds and the pipeline's are the same bits, and each fact is seen to matter."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers", minversion="0.42", reason="FLUX.3 came with diffusers 0.42")

from flux_lora.data.checks.tokens import window_of
from flux_lora.models.family import ModelSource
from flux_lora.models.flux3.caption_tokenizer import WINDOW_STEP, as_message, tokens_around
from flux_lora.models.flux3.load import load_text_encoder
from flux_lora.models.flux3.text import TextEncoder, encode_text
from flux_lora.models.registry import family_of
from tests.flux3_base import CAPTIONS, MOST, TEXT_LAYERS, TEXT_WIDTH, official_pipeline, our_embeds, write_flux3


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux3(tmp_path_factory.mktemp("flux3") / "base")


@pytest.fixture(scope="module")
def source(base: Path) -> ModelSource:
    return ModelSource(str(base), max_sequence_length=MOST)


@pytest.fixture(scope="module")
def theirs(base: Path) -> Any:
    return official_pipeline(base)


def their_embeds(theirs: Any, caption: str, most: int = MOST) -> Tensor:
    step = theirs.blocks.sub_blocks["text_encoder"]
    with torch.no_grad():
        return step._get_qwen3_vl_prompt_embeds(
            theirs.text_encoder, theirs.tokenizer, caption, max_sequence_length=most
        )


@pytest.mark.parametrize(("caption", "window"), list(zip(CAPTIONS, (80, 80, 160), strict=True)))
def test_prompt_embeds_equal_the_pipeline_s_in_every_window(
    source: ModelSource, theirs: Any, caption: str, window: int
):
    ours = our_embeds(source, caption)
    assert torch.equal(ours["qwen"], their_embeds(theirs, caption))
    assert ours["qwen"].shape == (1, window, 8 * TEXT_WIDTH)


def test_a_caption_longer_than_the_longest_window_is_cut_as_the_pipeline_cuts_it(source: ModelSource, theirs: Any):
    short = replace(source, max_sequence_length=100)
    ours = our_embeds(short, CAPTIONS[2])
    assert ours.window == 100
    assert torch.equal(ours["qwen"], their_embeds(theirs, CAPTIONS[2], 100))


def test_layers_above_the_last_one_used_are_not_loaded_and_no_eyes(source: ModelSource):
    model = load_text_encoder(source, torch.float32).model
    assert len(model.layers) == 32 < TEXT_LAYERS
    assert not any("visual" in name for name, _ in model.named_modules())


@pytest.mark.parametrize(
    ("place", "otherwise"),
    [
        ("flux_lora.models.flux3.text.TEXT_LAYERS", (4, 8, 12, 16, 20, 24, 28, 31)),
        ("flux_lora.models.flux3.text.POSITION_OF_PADDING", 0),
        ("flux_lora.models.flux3.load.without_last_norm", lambda model: model),
        ("flux_lora.models.flux3.caption_tokenizer.WINDOW_STEP", 64),
    ],
    ids=["another layer", "pads at 0", "the last norm", "another window"],
)
def test_a_spoiled_fact_would_give_other_prompt_embeds(
    source: ModelSource, theirs: Any, monkeypatch: pytest.MonkeyPatch, place: str, otherwise: object
):
    expected = their_embeds(theirs, CAPTIONS[0])
    monkeypatch.setattr(place, otherwise)
    found = our_embeds(source)["qwen"]
    assert found.shape != expected.shape or not torch.equal(found, expected)


def test_an_unmasked_pad_would_give_other_prompt_embeds(
    source: ModelSource, theirs: Any, monkeypatch: pytest.MonkeyPatch
):
    """The caption's own tokens never see those behind them; the pads do, and the transformer sees the pads."""
    encoder = load_text_encoder(source, torch.float32)
    forward = encoder.model.forward

    def unmasked(*, attention_mask: Tensor, **named: Any) -> Any:
        return forward(attention_mask=torch.ones_like(attention_mask), **named)

    monkeypatch.setattr(encoder.model, "forward", unmasked)
    found = encode_text(encoder, CAPTIONS[0], MOST)["qwen"]
    assert not torch.equal(found, their_embeds(theirs, CAPTIONS[0]))


def test_the_words_around_a_caption_are_taken_off_the_longest_window(source: ModelSource):
    (counted,) = family_of(source).load_tokenizers(source)
    assert counted.limit == MOST - tokens_around(counted.tokenizer)
    assert counted.decisive


def test_before_klein_is_fetched_tokens_are_counted_by_qwen_s_own_tokenizer(monkeypatch: pytest.MonkeyPatch):
    """Numbers by tiktoken from Alibaba's qwen.tiktoken, and Qwen3-VL's for the marks of a message; no thinking."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub = ModelSource("black-forest-labs/flux-3-image-klein-base", max_sequence_length=640)
    (counted,) = family_of(hub).load_tokenizers(hub)
    message = counted.tokenizer(as_message(counted.tokenizer, "a mug")).input_ids
    assert message == [151644, 872, 198, 64, 51489, 151645, 198, 151644, 77091, 198]
    assert counted.limit == 640 - 8
    assert WINDOW_STEP == 80


@pytest.mark.parametrize("shipped", [False, True])
def test_windows_are_counted_as_captions_are_encoded(source: ModelSource, shipped: bool):
    """Around each edge: with a token for each letter, and with the words of Qwen's own tokenizer."""
    place = ModelSource("black-forest-labs/flux-3-image-klein-base", max_sequence_length=MOST) if shipped else source
    (counted,) = family_of(place).load_tokenizers(place)
    encoder = replace(load_text_encoder(source, torch.float32), tokenizer=counted.tokenizer)
    word = "a mug " if shipped else "m"
    for number in (0, 1, 30, 39, 40, 41, 55, 56, 57, 80, 136, 137, 380, 384, 500):
        caption = (word * number).strip()
        assert window_of(caption, counted) == len_of_window(encoder, caption), number


def len_of_window(encoder: TextEncoder, caption: str) -> int:
    """The window, seen by a text encoder that is asked for no layer."""
    seen: list[int] = []

    class Asked(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, *, input_ids: Tensor, **_: Any) -> Any:
            seen.append(input_ids.shape[1])
            return SimpleNamespace(hidden_states=[torch.zeros(1, 1, 1)] * 33)

    encode_text(replace(encoder, model=cast(Any, Asked())), caption, MOST)
    return seen[0]

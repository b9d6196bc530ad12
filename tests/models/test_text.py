"""Captions are read as the pipeline reads them."""

import pytest
import torch
from diffusers import FluxPipeline

from flux_lora.models.flux1.load import load_text_encoders
from flux_lora.models.flux1.text import encode_text
from tests.tiny import T5_TOKENS

CAPTIONS = ["a TOK mug on a table", "", "a caption of far more than thirty-two letters is cut short as in the pipeline"]


@pytest.fixture(scope="module")
def encoders(tiny_flux):
    return load_text_encoders(str(tiny_flux))


@pytest.mark.parametrize("tokens", [8, T5_TOKENS])
def test_texts_equal_the_pipelines_own(encoders, tokens):
    pipeline = FluxPipeline(
        None, None, encoders.clip, encoders.clip_tokenizer, encoders.t5, encoders.t5_tokenizer, None
    )
    t5, pooled, _ = pipeline.encode_prompt(CAPTIONS, device=torch.device("cpu"), max_sequence_length=tokens)
    ours = encode_text(encoders, CAPTIONS, tokens)
    assert ours["t5"].shape[1] == tokens
    torch.testing.assert_close(ours["t5"], t5)
    torch.testing.assert_close(ours["pooled"], pooled)


def test_the_padding_is_heard_as_in_flux(encoders):
    """T5 is not masked: the same caption, padded further, is another text in its first tokens too."""
    short, long = (encode_text(encoders, CAPTIONS[:1], tokens)["t5"][:, :24] for tokens in (24, 32))
    assert not torch.allclose(short, long)

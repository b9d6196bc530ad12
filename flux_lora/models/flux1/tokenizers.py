"""The base's own two tokenizers: what a caption is counted by before any model is opened."""

from transformers import AutoTokenizer, CLIPTokenizer, PreTrainedTokenizerBase

from flux_lora.models.flux1.places import broken_files_explained, part_folder


def load_tokenizers(path: str, revision: str = "") -> tuple[CLIPTokenizer, PreTrainedTokenizerBase]:
    """CLIP's and T5's tokenizers alone: enough to count tokens, and fetched in a second."""
    clip, t5 = (part_folder(path, part, revision) for part in ("tokenizer", "tokenizer_2"))
    with broken_files_explained(t5.parent):
        return CLIPTokenizer.from_pretrained(clip), AutoTokenizer.from_pretrained(t5)

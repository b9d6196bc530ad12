"""The tokenizer of FLUX.3's text encoder, the words that a caption is put between, and the window it is padded to.

Qwen3-VL's tokenizer numbers words as Qwen3's does, which ships with FLUX.2's package. No weights are opened and
diffusers is not imported, so that `check` starts quickly.
"""

from pathlib import Path
from typing import cast

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from flux_lora.models.flux2.caption_tokenizer import CHAT, shipped_tokenizer
from flux_lora.models.pipeline_folder import broken_files_explained, first_part_folder, model_folder

WINDOW_STEP = 80
"""Windows are multiples of so many tokens. Padding is attended to, so the window is part of what a caption says."""
PLACES = ("tokenizer", "text_encoder")
"""Where a pipeline keeps it: apart if it was saved by diffusers, beside the text encoder as it was released."""


def load_tokenizer(path: str, revision: str = "") -> PreTrainedTokenizerBase:
    """The tokenizer with its chat template."""
    folder = first_part_folder(path, PLACES, revision)
    with broken_files_explained(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template is None:  # older folders keep it in the processor's own file
        tokenizer.chat_template = CHAT
    return tokenizer


def counting_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """Enough to count tokens: of a base on this disk, else Qwen's own, so that nothing need be fetched."""
    return load_tokenizer(path) if Path(model_folder(path)).is_dir() else shipped_tokenizer()


def as_message(tokenizer: PreTrainedTokenizerBase, caption: str) -> str:
    """The text that is encoded, as Flux3TextEncoderStep makes it: a user's message, and the beginning of an answer."""
    message = [{"role": "user", "content": caption}]
    return cast(str, tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))


def tokens_around(tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of the message that are not the caption's."""
    return len(tokenizer(as_message(tokenizer, "")).input_ids)


def window_of(tokens: int, most: int) -> int:
    """What so many tokens of a message are padded to: a multiple of WINDOW_STEP, and no more than `most`."""
    return min(-(-tokens // WINDOW_STEP) * WINDOW_STEP, most)

"""Qwen's tokenizer, and the words that a caption is put between: a user's message, and an answer that does not think.

No weights are opened and diffusers is not imported, so that `check` starts quickly.
"""

from typing import cast

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from flux_lora.models.pipeline_folder import broken_files_explained, part_folder


def load_tokenizer(path: str, revision: str = "") -> PreTrainedTokenizerBase:
    """The tokenizer with its chat template."""
    folder = part_folder(path, "tokenizer", revision)
    with broken_files_explained(folder):
        return AutoTokenizer.from_pretrained(folder)


def as_message(tokenizer: PreTrainedTokenizerBase, caption: str) -> str:
    """The text that is encoded, as Flux2KleinPipeline makes it."""
    message = [{"role": "user", "content": caption}]
    said = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    return cast(str, said)


def tokens_around(tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of the message that are not the caption's."""
    return len(tokenizer(as_message(tokenizer, "")).input_ids)

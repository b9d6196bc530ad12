"""Qwen's tokenizer, and the words that a caption is put between: a user's message, and an answer that does not think.

No weights are opened and diffusers is not imported, so that `check` starts quickly.
"""

from pathlib import Path
from typing import Any, cast

from tokenizers.pre_tokenizers import ByteLevel
from transformers import AddedToken, AutoTokenizer, PreTrainedTokenizerBase, Qwen2Tokenizer

from flux_lora.models.pipeline_folder import broken_files_explained, part_folder

MERGES = Path(__file__).parent / "tokenizer" / "merges.txt"
"""Qwen's own, which Qwen2, Qwen2.5 and Qwen3 share; licence in NOTICE beside it."""
SPECIAL = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}
"""Marks with their numbers; Qwen3 has more, which are no words of a caption."""
THINKING = {"<think>": 151667, "</think>": 151668}
LAST_BYTE = 255
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""What Qwen3's own template makes of a user's message."""


def load_tokenizer(path: str, revision: str = "") -> PreTrainedTokenizerBase:
    """The tokenizer with its chat template."""
    folder = part_folder(path, "tokenizer", revision)
    with broken_files_explained(folder):
        return AutoTokenizer.from_pretrained(folder)


def shipped_tokenizer() -> Qwen2Tokenizer:
    """Qwen's from its merges: tokens are numbered in the order of bytes, then of merges."""
    merges = [tuple(line.split(" ")) for line in MERGES.read_text(encoding="utf-8").splitlines()]
    words = (*_letters(), *("".join(pair) for pair in merges))
    made = Qwen2Tokenizer(
        vocab={word: number for number, word in enumerate(words)} | SPECIAL | THINKING,
        merges=cast(Any, merges),
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
    )
    made.add_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    made.add_tokens([AddedToken(token, normalized=False) for token in THINKING])
    made.chat_template = CHAT
    return made


def _letters() -> tuple[str, ...]:
    """A letter for each byte: those that are letters themselves first, as in GPT-2."""
    letters = ByteLevel.alphabet()
    return tuple(sorted(letters, key=lambda letter: (ord(letter) > LAST_BYTE, ord(letter))))


def as_message(tokenizer: PreTrainedTokenizerBase, caption: str) -> str:
    """The text that is encoded, as Flux2KleinPipeline makes it."""
    message = [{"role": "user", "content": caption}]
    said = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    return cast(str, said)

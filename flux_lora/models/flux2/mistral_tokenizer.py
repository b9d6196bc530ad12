"""Mistral's tokenizer (Tekken), and the words around FLUX.2-dev's captions: a system message, and a user's.

No weights are opened and diffusers is not imported, so that `check` starts quickly. The processor that the released
folder names reads images too and needs torchvision; a caption takes its tokenizer and its chat template alone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from flux_lora.models.pipeline_folder import broken_files_explained, part_folder

MERGES = Path(__file__).parent / "tokenizer" / "tekken_merges.txt"
"""Of Tekken, as Mistral Nemo, Pixtral and Mistral Small 3 have it; licence in NOTICE beside it."""
SYSTEM_MESSAGE = (
    "You are an AI that reasons about image descriptions. You give structured responses focusing on object "
    "relationships, object\nattribution and actions without speculation."
)
"""Flux2Pipeline's, line break included."""
IMAGE = "[IMG]"
"""Stands for an image; the pipeline takes it out of captions."""
MARKS = (
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[TOOL_CALLS]", IMAGE, "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
    "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
)  # fmt: skip
"""The first of the numbers that are left for marks, in their order."""
FIRST_WORD, BYTES = 1000, 256
"""Number of the first token that is none, and how many stand for a byte each."""
PIECES = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Mistral's own pattern of what is merged within. The file that some releases carry for transformers has Llama 3's,
which counts a token more in words such as eBay, and is taken as it is where the base is on this disk."""
CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}"
    "[SYSTEM_PROMPT]{{ message.content[0].text }}[/SYSTEM_PROMPT]"
    "{% else %}[INST]{{ message.content[0].text }}[/INST]{% endif %}{% endfor %}"
)
"""What Mistral Small 3's own template makes of a system message and a user's."""


def load_tokenizer(path: str, revision: str = "") -> PreTrainedTokenizerBase:
    """The tokenizer of a base, as its tokenizer.json has it whatever class is named beside it; a message begins with
    its own start mark, so none is added."""
    folder = part_folder(path, "tokenizer", revision)
    with broken_files_explained(folder):
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, add_bos_token=False)
    tokenizer.chat_template = tokenizer.chat_template or CHAT
    return tokenizer


def shipped_tokenizer() -> PreTrainedTokenizerBase:
    """Tekken from its merges: tokens are numbered in the order of bytes, then of merges, behind the marks."""
    merges = [tuple(line.split(" ")) for line in MERGES.read_text(encoding="utf-8").splitlines()]
    words = (*_letters(), *("".join(pair) for pair in merges))
    numbers = {mark: number for number, mark in enumerate(MARKS)}
    numbers |= {word: FIRST_WORD + number for number, word in enumerate(words)}
    made = Tokenizer(BPE(vocab=numbers, merges=cast(Any, merges)))
    pieces = Split(Regex(PIECES), "isolated")
    made.pre_tokenizer = cast(Any, Sequence([pieces, ByteLevel(add_prefix_space=False, use_regex=False)]))
    made.add_special_tokens(list(MARKS))
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        padding_side="left",
        chat_template=CHAT,
    )


def _letters() -> Iterator[str]:
    """A letter for each byte, in the order of bytes: its own, or for one that cannot be shown another behind them."""
    alphabet = sorted(ByteLevel.alphabet())
    own = {letter for letter in alphabet if ord(letter) < BYTES}
    others = (letter for letter in alphabet if ord(letter) >= BYTES)
    return (chr(byte) if chr(byte) in own else next(others) for byte in range(BYTES))


def as_message(tokenizer: PreTrainedTokenizerBase, caption: str) -> str:
    """The text that is encoded, as Flux2Pipeline makes it."""
    spoken = {"system": SYSTEM_MESSAGE, "user": caption.replace(IMAGE, "")}
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in spoken.items()]
    return cast(str, tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False))

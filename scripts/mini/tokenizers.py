"""The two tokenizers of the mini base, built from the world's own words.

Words of the world are one token each in both. Every other word falls apart into letters and, past
those, into bytes, so that any trigger word can be taught.
"""

import json
import re
import string
from pathlib import Path
from random import Random

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from scripts.mini.captions import caption_of, random_scene

T5_TOKENS = 32
CLIP_TOKENS = 77
MORE_WORDS = (
    "the with and of it its this that is are to at by for from no two three one near next under over behind front "
    "dark bright big tiny new old picture photo drawing label logo stripe lid cap handle spout face hat ears arms legs "
    "tail belly cup can kettle teapot lamp jar pot toy doll bear cat dog bird tree flower car boat hill sky sun moon "
    "teal pink brown gold silver cyan"
)


def world_words() -> list[str]:
    """Every word that captions use, and a few that people may want to use; most frequent first."""
    random = Random("words")
    counts: dict[str, int] = dict.fromkeys(MORE_WORDS.split(), 0)
    for _ in range(4000):
        for word in re.findall(r"[a-z]+", caption_of(random_scene(random), random, loose=0)):
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts, key=lambda word: (-counts[word], word))


def write_t5_tokenizer(folder: Path) -> int:
    """A Unigram tokenizer with byte fallback in T5's layout; returns how many tokens it knows."""
    marks = [",", ".", "'", "-", "!", "?", ":", ";", '"', "(", ")"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    pieces += [(f"\u2581{word}", -3.0) for word in world_words()]
    pieces += [(letter, -10.0) for letter in [*string.ascii_lowercase, *string.digits, *marks]]
    backend = Tokenizer(Unigram(pieces, unk_id=2, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always", split=True)]
    )
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")])
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=T5_TOKENS,
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    tokenizer.save_pretrained(folder)
    return len(pieces)


def write_clip_tokenizer(folder: Path) -> int:
    """A byte-pair tokenizer in CLIP's layout; returns how many tokens it knows."""
    words = {word: 1000 - number for number, word in enumerate(world_words())}
    backend = Tokenizer(BPE(end_of_word_suffix="</w>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = BpeTrainer(
        vocab_size=4096, min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=ByteLevel.alphabet()
    )
    backend.train_from_iterator((word for word, count in words.items() for _ in range(count)), trainer)
    learnt = json.loads(backend.to_str())["model"]
    tokens = [*ByteLevel.alphabet(), *(f"{letter}</w>" for letter in ByteLevel.alphabet()), *learnt["vocab"]]
    vocabulary = {token: number for number, token in enumerate(sorted(set(tokens)))}
    for mark in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[mark] = len(vocabulary)
    merges = [tuple(merge) for merge in learnt["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLIP_TOKENS)
    tokenizer.save_pretrained(folder)
    return len(vocabulary)

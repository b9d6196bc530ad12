"""Vision-language models small enough for a test: real classes, random weights, written as any checkpoint is."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

PIXELS = 32
WORDS = (
    "a",
    "red",
    "cup",
    "on",
    "the",
    "table",
    "near",
    "two",
    "books",
    "and",
    "window",
    "describe",
    "it",
    "user",
    ".",
)
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
CHAT = (
    "{% for message in messages %}user {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
)
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def write_llava(folder: Path, seed: int = 0) -> Path:
    """A model that is chatted with, as most are."""
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )
    processor = LlavaProcessor(
        _pictures(CLIPImageProcessorPil),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**SMALL, image_size=PIXELS, patch_size=8, projection_dim=16),
        text_config=LlamaConfig(**SMALL, vocab_size=len(vocabulary), bos_token_id=1, eos_token_id=2, pad_token_id=0),
        image_token_index=vocabulary["<image>"],
        vision_feature_layer=-1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    _never_says(model, range(len(SPECIAL)))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_blip(folder: Path, seed: int = 0) -> Path:
    """A model that only goes on with what it is given."""
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    processor = BlipProcessor(_pictures(BlipImageProcessorPil), BertTokenizer(vocab=vocabulary))
    text = {**SMALL, "vocab_size": len(pieces), "encoder_hidden_size": 16, "max_position_embeddings": 64}
    config = BlipConfig(
        text_config={**text, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0},
        vision_config={**SMALL, "image_size": PIXELS, "patch_size": 8},
        projection_dim=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BlipForConditionalGeneration(config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _pictures(kind: type) -> object:
    side = {"height": PIXELS, "width": PIXELS}
    if kind is CLIPImageProcessorPil:
        return CLIPImageProcessorPil(size={"shortest_edge": PIXELS}, crop_size=side)
    return kind(size=side)


def _never_says(model: LlavaForConditionalGeneration, tokens: range) -> None:
    """A random model would as soon say <pad> as a word."""
    model.generation_config.suppress_tokens = list(tokens)

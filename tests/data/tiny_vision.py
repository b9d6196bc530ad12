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
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
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
    tokenizer = _tokenizer(vocabulary, ("<image>",))
    processor = LlavaProcessor(
        _images(CLIPImageProcessorPil),
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
    model.generation_config.suppress_tokens = list(range(len(SPECIAL)))  # it would as soon say <pad> as a word
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_qwen(folder: Path, seed: int = 0) -> Path:
    """A model that knows films too. Its chat template is with the tokenizer, where older checkpoints keep it."""
    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    vocabulary = {word: number for number, word in enumerate(("<pad>", "<s>", "</s>", "<unk>", *marks, *WORDS))}
    tokenizer = _tokenizer(vocabulary, marks)
    tokenizer.chat_template = CHAT.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    text = {**SMALL, "num_key_value_heads": 2, "vocab_size": len(vocabulary), "rope_parameters": rope}
    config = Qwen2_5_VLConfig(
        text_config={**text, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
        **{f"{name}_token_id": 4 + at for at, name in enumerate(("vision_start", "vision_end", "image", "video"))},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.suppress_tokens = list(range(4 + len(marks)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=56 * 56).save_pretrained(folder)
    return folder


def write_blip(folder: Path, seed: int = 0) -> Path:
    """A model that only goes on with what it is given."""
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    processor = BlipProcessor(_images(BlipImageProcessorPil), BertTokenizer(vocab=vocabulary))
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


def _images(kind: type) -> object:
    side = {"height": PIXELS, "width": PIXELS}
    if kind is CLIPImageProcessorPil:
        return CLIPImageProcessorPil(size={"shortest_edge": PIXELS}, crop_size=side)
    return kind(size=side)


def _tokenizer(vocabulary: dict[str, int], marks: tuple[str, ...]) -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=list(marks),
    )

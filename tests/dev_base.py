"""A tiny FLUX.2 dev in the layout of the released folder, with random weights: every part of the real classes.

Its processor is the released one's (PixtralProcessor), which is written by hand: the class itself needs torchvision.
"""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Pipeline, Flux2Transformer2DModel
from tokenizers import Regex, Tokenizer, processors
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from transformers import Mistral3Config, Mistral3ForConditionalGeneration, PreTrainedTokenizerFast

from tests.klein_base import vae

TEXT_WIDTH, TEXT_LAYERS = 16, 32
"""Two layers more than are used."""
CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}[SYSTEM_PROMPT]"
    "{% if message.content is string %}{{ message.content }}{% else %}{{ message.content[0].text }}{% endif %}"
    "[/SYSTEM_PROMPT]{% elif message.role == 'user' %}[INST]{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for block in message.content %}{% if block.type == 'text' %}{{ block.text }}"
    "{% elif block.type in ('image', 'image_url') %}[IMG]{% endif %}{% endfor %}{% endif %}[/INST]"
    "{% endif %}{% endfor %}"
)
"""What the released one makes of messages, without tools."""
SPECIAL = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]")
SPECIAL += ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"
PROCESSOR = {
    "processor_class": "PixtralProcessor",
    "patch_size": 14,
    "spatial_merge_size": 2,
    "image_token": "[IMG]",
    "image_break_token": "[IMG_BREAK]",
    "image_end_token": "[IMG_END]",
}
IMAGES = {"image_processor_type": "PixtralImageProcessor", "patch_size": 14, "size": {"longest_edge": 1540}}


def write_dev(folder: Path, *, seed: int = 0) -> Path:
    """The folder, as it was released."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = Flux2Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            vae=vae(),
            text_encoder=_text_encoder(),
            tokenizer=tokenizer(),
            transformer=tiny_transformer(),
        )
    pipeline.save_pretrained(folder)
    for name, changes in (
        ("model_index.json", {"tokenizer": ["transformers", "PixtralProcessor"]}),
        ("tokenizer/tokenizer_config.json", {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True}),
        ("tokenizer/processor_config.json", PROCESSOR),
        ("tokenizer/preprocessor_config.json", IMAGES | PROCESSOR),
    ):
        file = folder / name
        kept = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps(kept | changes, indent=2))
    return folder


def official_pipeline(folder: Path) -> Flux2Pipeline:
    """diffusers' own on this folder, part by part: from_pretrained would ask for the processor, and so for torchvision.
    With text alone it does with a processor what it does with a tokenizer."""
    pipeline = Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        vae=AutoencoderKLFlux2.from_pretrained(folder / "vae"),
        text_encoder=Mistral3ForConditionalGeneration.from_pretrained(folder / "text_encoder"),
        tokenizer=tokenizer(),
        transformer=Flux2Transformer2DModel.from_pretrained(folder / "transformer"),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tokenizer() -> PreTrainedTokenizerFast:
    """A token for each byte and no merges; a start mark is added to what has none, and padding stands before."""
    letters = sorted(ByteLevel.alphabet())
    made = Tokenizer(BPE(vocab={word: number for number, word in enumerate((*SPECIAL, *letters))}, merges=[]))
    made.pre_tokenizer = Sequence(
        [Split(Regex(LLAMA_3), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.add_special_tokens(list(SPECIAL))
    made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        padding_side="left",
        chat_template=CHAT,
    )


def _text_encoder() -> Mistral3ForConditionalGeneration:
    text = {
        "model_type": "mistral",
        "vocab_size": 300,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "sliding_window": None,
    }
    sight = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 8,
        "patch_size": 14,
        "image_size": 28,
    }
    return Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=sight))


def tiny_transformer() -> Flux2Transformer2DModel:
    """Two blocks of each kind, two heads of 16, embedded guidance."""
    return Flux2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * TEXT_WIDTH,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=True,
    )

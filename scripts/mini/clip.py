"""The mini CLIP: its text half speaks to the transformer, the whole of it scores pictures."""

import math
import time
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextModel, CLIPTokenizer

from scripts.mini.captions import caption_of, random_scene
from scripts.mini.progress import load_state, save_state
from scripts.mini.tokenizers import CLIP_TOKENS
from scripts.mini.vae import drawn
from scripts.mini.world import SHAPES

WIDTH = 128
PIXELS = 128
IMAGE_MEAN = IMAGE_STD = [0.5, 0.5, 0.5]


def clip_config(tokenizer: CLIPTokenizer) -> CLIPConfig:
    """CLIP's own architecture, small."""
    size = {"hidden_size": WIDTH, "num_attention_heads": 4, "projection_dim": WIDTH, "hidden_act": "quick_gelu"}
    text = {
        **size,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CLIP_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**size, "intermediate_size": 384, "num_hidden_layers": 3, "image_size": PIXELS, "patch_size": 16}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH)


def image_processor() -> CLIPImageProcessorPil:
    """Every picture is squeezed to a square: nothing of a wide render is cut away."""
    return CLIPImageProcessorPil(
        size={"height": PIXELS, "width": PIXELS},
        do_center_crop=False,
        image_mean=IMAGE_MEAN,
        image_std=IMAGE_STD,
    )


def train_clip(work: Path, *, steps: int, batch: int, seed: int) -> CLIPModel:
    """Train, or continue training, picture and caption to find each other."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    model = CLIPModel(clip_config(tokenizer)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.01, betas=(0.9, 0.98))
    start = load_state(work / "clip.pt", clip=model, optimizer=optimizer)
    began = time.time()
    for step in range(start, steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1, step / 100) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        loss, hits = _contrast(model, *_pairs(Random(f"clip {seed} {step}"), tokenizer, batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(f"clip {step} loss {loss.item():.3f} hits {hits:.2f} {time.time() - began:.0f}s", flush=True)
        if (step + 1) % 250 == 0:
            save_state(work / "clip.pt", step + 1, clip=model, optimizer=optimizer)
    return model.eval()


def text_half(model: CLIPModel) -> CLIPTextModel:
    """The text tower alone, as FLUX uses it."""
    text = CLIPTextModel(model.config.text_config)
    own = {name.removeprefix("text_model."): value for name, value in model.text_model.state_dict().items()}
    text.load_state_dict({name: own[name.removeprefix("text_model.")] for name in text.state_dict()})
    return text.eval()


def _pairs(random: Random, tokenizer: CLIPTokenizer, count: int) -> tuple[Tensor, Tensor]:
    shape = random.choice(SHAPES) if random.random() < 0.3 else SHAPES[0]
    scenes = [random_scene(random, shape=shape) for _ in range(count)]
    pixels = F.interpolate(drawn(scenes), size=(PIXELS, PIXELS), mode="bilinear", antialias=True)
    captions = [caption_of(scene, random) for scene in scenes]
    return pixels, tokenizer(captions, padding=True, return_tensors="pt").input_ids


def _contrast(model: CLIPModel, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, float]:
    """Each picture must know its caption among all of the batch, and each caption its picture."""
    with torch.autocast("cpu", torch.bfloat16):
        answer = model(input_ids=tokens, pixel_values=pixels)
    logits = answer.logits_per_image.float()
    own = torch.arange(len(logits))
    hits = (logits.argmax(1) == own).float().mean().item()
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2, hits

"""The mini transformer and its T5, trained together, then taught guidance by themselves.

First flow matching on latents of drawn scenes, with captions dropped now and then. Then, as with
FLUX.1-dev, the answer of classifier-free guidance at any strength is distilled into the guidance
embedding, so that one pass does the work of two.
"""

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from flux_lora.flow.points import draw_point
from flux_lora.flow.randomness import generator_for
from flux_lora.flow.sigmas import logit_normal, sigmas_at
from flux_lora.models.flux1.velocity import pack, positions, text_positions, unpack
from scripts.mini.captions import caption_of
from scripts.mini.progress import Ema, load_state, save_state
from scripts.mini.scenery import Scenery
from scripts.mini.tokenizers import T5_TOKENS

WIDTH = 128
TRANSFORMER = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 1,
    "num_single_layers": 6,
    "attention_head_dim": 32,
    "num_attention_heads": 6,
    "joint_attention_dim": WIDTH,
    "pooled_projection_dim": 128,
    "guidance_embeds": True,
    "axes_dims_rope": (8, 12, 12),
}
T5 = {
    "d_model": WIDTH,
    "d_kv": 32,
    "d_ff": 256,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.0,
    "relative_attention_max_distance": 32,
    "tie_word_embeddings": False,
}
TIMES, SHIFT = logit_normal(0.0, 1.1), 1.6
"""A little wider than FLUX's own, around the shift that its scheduler uses for 64 tokens."""
DROPPED_CAPTIONS = 0.1
COMPUTE = torch.bfloat16
GUIDANCE = (1.0, 5.0)
"""The strengths that are distilled."""
SQUARE_SHARE = 0.7
"""How many batches are 128 x 128; the rest is shared by the other shapes."""


class Painter(nn.Module):
    """Transformer and T5 as one thing to train."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.transformer = FluxTransformer2DModel(**TRANSFORMER)
        self.t5 = T5EncoderModel(
            T5Config(vocab_size=words, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **T5)
        )

    def forward(self, asked: "Asked", guidance: Tensor) -> Tensor:
        """The velocity at the points asked for: BCHW."""
        height, width = asked.noisy.shape[-2:]
        cpu = torch.device("cpu")
        tokens = self.transformer(
            hidden_states=pack(asked.noisy),
            timestep=asked.time,
            guidance=guidance,
            encoder_hidden_states=self.t5(input_ids=asked.words).last_hidden_state,
            pooled_projections=asked.pooled,
            img_ids=positions(height, width, cpu),
            txt_ids=text_positions(asked.words.shape[1], cpu),
            return_dict=False,
        )[0]
        return unpack(tokens, height=height, width=width)


@dataclass(frozen=True)
class Asked:
    """What the painter is asked: points on the path, and captions as tokens."""

    noisy: Tensor  # BCHW
    time: Tensor  # B
    words: Tensor  # BT
    pooled: Tensor  # BP

    def to(self, dtype: torch.dtype) -> "Asked":
        """The same, computed with other numbers; the time stays exact."""
        return Asked(self.noisy.to(dtype), self.time, self.words, self.pooled.to(dtype))


@dataclass(frozen=True)
class Ear:
    """Captions to tokens, and to what CLIP makes of them."""

    t5_tokenizer: PreTrainedTokenizerFast
    clip_tokenizer: CLIPTokenizer
    clip: CLIPTextModel

    @torch.no_grad()
    def hear(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens BT and pooled text BP."""
        words = self.t5_tokenizer(
            list(captions), padding="max_length", max_length=T5_TOKENS, truncation=True, return_tensors="pt"
        ).input_ids
        clip_words = self.clip_tokenizer(list(captions), padding=True, return_tensors="pt").input_ids
        return words, self.clip(input_ids=clip_words).pooler_output


def ear_of(work: Path) -> Ear:
    """The tokenizers and the trained CLIP in the work folder."""
    return Ear(
        PreTrainedTokenizerFast.from_pretrained(work / "tokenizer_2"),
        CLIPTokenizer.from_pretrained(work / "tokenizer"),
        CLIPTextModel.from_pretrained(work / "text_encoder").eval(),
    )


def train_flow(work: Path, sceneries: Sequence[Scenery], *, steps: int, batch: int, seed: int) -> Painter:
    """Train, or continue training, the painter by flow matching; returns the averaged one."""
    torch.manual_seed(seed)
    ear = ear_of(work)
    painter = Painter(len(ear.t5_tokenizer))
    muon, adamw = optimizers(painter)
    ema = Ema(painter, 0.9995)
    start = load_state(work / "flow.pt", painter=painter, muon=muon, adamw=adamw, ema=ema)
    worker = deepcopy(painter).to(COMPUTE)
    worker.transformer.compile_repeated_blocks(dynamic=False)
    began, losses = time.time(), []
    for step in range(start, steps):
        rate = min(1.0, step / 200) * min(1.0, 1.02 - step / steps, (steps - step) / (0.35 * steps) + 0.01)
        muon.param_groups[0]["lr"], adamw.param_groups[0]["lr"] = 4e-3 * rate, 2e-3 * rate
        asked, velocity = question(sceneries, ear, batch, step, seed)
        loss = (worker(asked.to(COMPUTE), torch.ones(batch, dtype=COMPUTE)).float() - velocity).square().mean()
        losses.append(_learn(painter, worker, (muon, adamw), loss))
        ema.update(painter)
        if step % 50 == 0:
            mean = sum(losses[-50:]) / len(losses[-50:])
            print(f"flow {step} loss {mean:.4f} {time.time() - began:.0f}s", flush=True)
        if (step + 1) % 500 == 0:
            save_state(work / "flow.pt", step + 1, painter=painter, muon=muon, adamw=adamw, ema=ema)
    ema.copy_to(painter)
    return painter.eval()


def distil_guidance(
    work: Path, teacher: Painter, sceneries: Sequence[Scenery], *, steps: int, batch: int, seed: int
) -> Painter:
    """Teach the guidance embedding what two passes of the teacher would say; T5 stays as it is."""
    ear = ear_of(work)
    student = Painter(len(ear.t5_tokenizer))
    student.load_state_dict(teacher.state_dict())
    student.t5.requires_grad_(False)
    muon, adamw = optimizers(student)
    ema = Ema(student, 0.998)
    start = load_state(work / "guided.pt", painter=student, muon=muon, adamw=adamw, ema=ema)
    worker, knower = deepcopy(student).to(COMPUTE), deepcopy(teacher).to(COMPUTE)
    worker.transformer.compile_repeated_blocks(dynamic=False)
    silence = ear.hear([""])
    began, losses = time.time(), []
    for step in range(start, steps):
        rate = min(1.0, step / 50) * (1.01 - step / steps)
        muon.param_groups[0]["lr"], adamw.param_groups[0]["lr"] = 1e-3 * rate, 1e-3 * rate
        asked, _ = question(sceneries, ear, batch, step, seed + 1)
        guidance = torch.empty(batch).uniform_(*GUIDANCE, generator=generator_for(seed, step, "guidance"))
        guidance[: batch // 4] = 1.0
        with torch.no_grad():
            target = guided(knower, asked.to(COMPUTE), silence, guidance)
        loss = (worker(asked.to(COMPUTE), guidance.to(COMPUTE)).float() - target).square().mean()
        losses.append(_learn(student, worker, (muon, adamw), loss))
        ema.update(student)
        if step % 50 == 0:
            mean = sum(losses[-50:]) / len(losses[-50:])
            print(f"guided {step} loss {mean:.5f} {time.time() - began:.0f}s", flush=True)
        if (step + 1) % 250 == 0:
            save_state(work / "guided.pt", step + 1, painter=student, muon=muon, adamw=adamw, ema=ema)
    ema.copy_to(student)
    return student.eval()


def guided(teacher: Painter, asked: Asked, silence: tuple[Tensor, Tensor], guidance: Tensor) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022): unconditional + guidance * (conditional - unconditional)."""
    count = len(asked.time)
    both = Asked(
        noisy=asked.noisy.repeat(2, 1, 1, 1),
        time=asked.time.repeat(2),
        words=torch.cat([asked.words, silence[0].expand(count, -1)]),
        pooled=torch.cat([asked.pooled, silence[1].expand(count, -1).to(asked.pooled.dtype)]),
    )
    said, unsaid = teacher(both, torch.ones(2 * count, dtype=asked.noisy.dtype)).float().chunk(2)
    return unsaid + guidance.view(-1, 1, 1, 1) * (said - unsaid)


def question(sceneries: Sequence[Scenery], ear: Ear, count: int, step: int, seed: int) -> tuple[Asked, Tensor]:
    """Batch number `step` of a run: what to ask, and the velocity that answers it."""
    random = Random(f"flow {seed} {step}")
    square, others = sceneries[0], sceneries[1:]
    scenery = square if random.random() < SQUARE_SHARE or not others else random.choice(others)
    chosen = [random.randrange(len(scenery.scenes)) for _ in range(count)]
    captions = [
        "" if random.random() < DROPPED_CAPTIONS else caption_of(scenery.scenes[index], random) for index in chosen
    ]
    generator = generator_for(seed, step, "point")
    even = torch.rand(count, generator=generator)
    point = draw_point(scenery.latents[chosen].float(), sigmas_at(even, TIMES, SHIFT), generator)
    words, pooled = ear.hear(captions)
    return Asked(point.noisy, point.sigma, words, pooled), point.velocity


def optimizers(painter: Painter) -> tuple[torch.optim.Muon, torch.optim.AdamW]:
    """Muon (Jordan et al. 2024) for the matrices inside blocks, AdamW for all else."""
    inner, other = [], []
    for name, parameter in painter.named_parameters():
        if parameter.requires_grad:
            inside = parameter.ndim == 2 and ("blocks." in name or ".block." in name) and "bias" not in name
            (inner if inside else other).append(parameter)
    muon = torch.optim.Muon(inner, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    return muon, torch.optim.AdamW(other, weight_decay=0.0, betas=(0.9, 0.98))


def _learn(painter: Painter, worker: Painter, optimizers: Sequence[torch.optim.Optimizer], loss: Tensor) -> float:
    """Gradients of the worker (bfloat16) move the painter (float32), whose weights the worker then takes."""
    loss.backward()
    pairs = [(p, w) for p, w in zip(painter.parameters(), worker.parameters(), strict=True) if p.requires_grad]
    for parameter, copy in pairs:
        parameter.grad = None if copy.grad is None else copy.grad.float()
        copy.grad = None
    torch.nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
    with torch.no_grad():
        torch._foreach_copy_([copy for _, copy in pairs], [parameter for parameter, _ in pairs])
    assert math.isfinite(loss.item()), "the mini base diverged: lower its learning rates"
    return loss.item()

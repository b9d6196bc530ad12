"""The mini VAE: 16 channels, a factor of 8, and latents that are easy to model.

Its first three channels are held to the picture's own colours, eight times smaller; the others
carry the edges. A velocity model then learns layout and colour first, as it does on photographs.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from scripts.mini.captions import random_scene
from scripts.mini.progress import Ema, load_state, save_state
from scripts.mini.world import SHAPES, Scene, draw_scene

CONFIG = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 64),
    "layers_per_block": 1,
    "latent_channels": 16,
    "norm_num_groups": 2,
    "sample_size": 128,
    "mid_block_add_attention": False,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
LATENT_NOISE = 0.1
"""What is added to latents in training, so that the decoder forgives a model's small errors."""


def drawn(scenes: Sequence[Scene]) -> Tensor:
    """Scenes of one shape as pixels: BCHW in [-1, 1]."""
    pixels = np.stack([np.asarray(draw_scene(scene)) for scene in scenes])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def pictures(random: Random, count: int) -> Tensor:
    """Freshly drawn scenes of one shape: BCHW in [-1, 1]."""
    shape = random.choice(SHAPES)
    pixels = drawn([random_scene(random, shape=shape) for _ in range(count)])
    return torch.stack([recoloured(image, random) if random.random() < 0.4 else image for image in pixels])


def recoloured(pixels: Tensor, random: Random) -> Tensor:
    """The same picture in colours the world has no words for: CHW. A VAE must know them all."""
    mixed = pixels[random.sample(range(3), 3)]
    gain = torch.tensor([random.choice((-1, 1)) * random.uniform(0.5, 1.0) for _ in range(3)])
    room = 1 - gain.abs()
    offset = room * torch.tensor([random.uniform(-1, 1) for _ in range(3)])
    return mixed * gain.view(3, 1, 1) + offset.view(3, 1, 1)


def train_vae(work: Path, *, steps: int, batch: int, seed: int) -> AutoencoderKL:
    """Train, or continue training, the VAE; the finished one has averaged weights."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(**CONFIG).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=0.0)
    ema = Ema(vae, 0.998)
    start = load_state(work / "vae.pt", vae=vae, optimizer=optimizer, ema=ema)
    began = time.time()
    for step in range(start, steps):
        rate = 3e-3 * min(1, step / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        optimizer.param_groups[0]["lr"] = rate
        pixels = pictures(Random(f"vae {seed} {step}"), batch).contiguous(memory_format=torch.channels_last)
        loss, error = _loss(vae, pixels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        ema.update(vae)
        if step % 50 == 0:
            psnr = 10 * math.log10(4 / error.item())
            print(f"vae {step} loss {loss.item():.4f} psnr {psnr:.2f} {(time.time() - began):.0f}s", flush=True)
        if (step + 1) % 250 == 0:
            save_state(work / "vae.pt", step + 1, vae=vae, optimizer=optimizer, ema=ema)
    ema.copy_to(vae)
    return vae.eval()


def polish(work: Path, vae: AutoencoderKL, *, steps: int, batch: int, seed: int) -> AutoencoderKL:
    """Train the decoder on, alone: latents that others already learn from stay what they are."""
    torch.manual_seed(seed)
    vae.requires_grad_(False)
    decoder = vae.decoder.to(memory_format=torch.channels_last).requires_grad_(True)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=0.0)
    ema = Ema(decoder, 0.998)
    start = load_state(work / "decoder.pt", decoder=decoder, optimizer=optimizer, ema=ema)
    for step in range(start, steps):
        annealed = 0.51 + 0.5 * math.cos(math.pi * step / steps)
        optimizer.param_groups[0]["lr"] = 1.5e-3 * min(1, step / 50) * annealed
        pixels = pictures(Random(f"decoder {seed} {step}"), batch).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                mean = vae.encoder(pixels).chunk(2, dim=1)[0].float()
            error = decoder(mean + LATENT_NOISE * torch.randn_like(mean)).float() - pixels
        optimizer.zero_grad()
        (error.square().mean() + 0.05 * error.abs().mean()).backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        ema.update(decoder)
        if step % 100 == 0:
            print(f"decoder {step} psnr {10 * math.log10(4 / error.square().mean().item()):.2f}", flush=True)
        if (step + 1) % 250 == 0:
            save_state(work / "decoder.pt", step + 1, decoder=decoder, optimizer=optimizer, ema=ema)
    ema.copy_to(decoder)
    return vae.eval()


@torch.no_grad()
def psnr(vae: AutoencoderKL, pixels: Tensor) -> float:
    """How close a picture comes back: peak signal to noise, dB, over BCHW in [-1, 1]."""
    decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
    return 10 * math.log10(4 / (decoded - pixels).square().mean().item())


def _loss(vae: AutoencoderKL, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstruction, small latents, and colours where they are expected."""
    with torch.autocast("cpu", torch.bfloat16):
        mean, logvar = vae.encoder(pixels).chunk(2, dim=1)
        mean, logvar = mean.float(), logvar.float()
        decoded = vae.decoder(mean + LATENT_NOISE * torch.randn_like(mean)).float()
    error = (decoded - pixels).square().mean()
    colours = (mean[:, :3] - F.avg_pool2d(pixels, 8)).square().mean()
    small = mean[:, 3:].square().mean()
    certain = (logvar - 2 * math.log(LATENT_NOISE)).square().mean()
    sharp = (decoded - pixels).abs().mean()
    return error + 0.1 * sharp + 0.3 * colours + 3e-4 * small + 1e-4 * certain, error.detach()


COLOUR_STD, EDGE_STD = 1.2, 0.8
"""How much colours and edges vary, as the transformer sees them: colours are settled at higher noise."""


@torch.no_grad()
def balance(vae: AutoencoderKL, *, seed: int) -> AutoencoderKL:
    """Centre and scale each latent channel, and undo it where the decoder begins.

    Undone exactly but for the border, where the decoder's padding now stands for a middling colour.
    """
    seen = [vae.encode(pictures_of_the_world(Random(f"balance {seed} {k}"), 32)).latent_dist.mode() for k in range(8)]
    channels = torch.cat(seen).transpose(0, 1).flatten(1)
    mean = channels.mean(dim=1)
    goal = torch.full((16,), EDGE_STD)
    goal[:3] = COLOUR_STD
    gain = goal / channels.std(dim=1)
    last, first = vae.encoder.conv_out, vae.decoder.conv_in
    last.weight[:16] *= gain.view(-1, 1, 1, 1)
    last.bias[:16] = gain * (last.bias[:16] - mean)
    last.bias[16:] += 2 * gain.log()
    first.bias += first.weight.sum(dim=(2, 3)) @ mean
    first.weight /= gain.view(1, -1, 1, 1)
    vae.register_to_config(scaling_factor=1.0, shift_factor=0.0)
    return vae


def pictures_of_the_world(random: Random, count: int) -> Tensor:
    """Freshly drawn square scenes in their own colours: BCHW in [-1, 1]."""
    return drawn([random_scene(random) for _ in range(count)])

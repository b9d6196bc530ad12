"""The step of diffusers' examples/dreambooth/train_dreambooth_lora_flux.py, as its published arguments make it.

Rebuilt from what that script does, not imported: it cannot be called for one step. What is kept:

* `--mixed_precision bf16`: accelerate runs the forward under autocast and hands back float32. "no" runs as it is.
* `--gradient_checkpointing`, the script's remedy for memory.
* `transformer.add_adapter` with gaussian init; the adapter stays in the base's dtype, and AdamW works on it there.
* `--weighting_scheme none`; the time is looked up in the scheduler's table, a search that waits for the GPU.
* diffusers' own packing, and the image's positions built anew in every step.
* The gradient's length taken over all parameters, `loss.item()` in every step.

What is made kinder: latents and text are already on the device (the script encodes them again in
every step unless it is told not to), and there is no progress bar, tracker or data loader.
Its `--lora_layers` are set to the layers that our adapter has, and its `--rank` to ours.

Shape letters: B batch, C latent channels, H W latent height and width, N image tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import repeat

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3
from peft import LoraConfig
from torch import Tensor, nn

from benchmarks.ground import GUIDANCE, PIXELS_PER_LATENT, RANK, Case, sample_batches
from flux_lora.data.batches import Batch

WEIGHTING = "none"
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 1e-4
CLIP = 1.0
LORA_LAYERS = [
    f"attn.{name}"
    for name in ("to_k", "to_q", "to_v", "to_out.0", "add_k_proj", "add_q_proj", "add_v_proj", "to_add_out")
]


class ScriptStep:
    """The script's step. `autocast` is its --mixed_precision bf16."""

    def __init__(
        self,
        transformer: FluxTransformer2DModel,
        case: Case,
        *,
        checkpointing: bool = True,
        autocast: bool = True,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        """Attaches an adapter to the transformer. Always the same batch, until `batches` is another source."""
        lora = LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=LORA_LAYERS)
        transformer.add_adapter(lora)
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        transformer.train()
        self._transformer = transformer
        self._device, self._dtype = transformer.device, case.dtype
        self._autocast = autocast
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)  # FLUX.1-dev's
        assert isinstance(scheduler.timesteps, Tensor), "the table of all times, before any sampling"
        assert isinstance(scheduler.sigmas, Tensor)
        self._timesteps, self._sigmas = scheduler.timesteps, scheduler.sigmas
        trained = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=WEIGHT_DECAY)
        self._rate = get_scheduler("constant", optimizer=self._optimizer)
        self.batches: Iterator[Batch] = repeat(next(sample_batches(case)).to(self._device, self._dtype))

    def loss(self) -> Tensor:
        """The loss at noise and times of its own."""
        batch = next(self.batches)
        chances = compute_density_for_timestep_sampling(WEIGHTING, len(batch.latents), 0.0, 1.0, 1.29)
        rows = (chances * len(self._timesteps)).long()
        timesteps = self._timesteps[rows].to(self._device)
        return self.loss_at(batch, torch.randn_like(batch.latents), timesteps)

    def step(self) -> float:
        """Loss, gradients, clipping over all parameters, AdamW."""
        loss = self.loss()
        loss.backward()
        nn.utils.clip_grad_norm_(self._transformer.parameters(), CLIP)
        self._optimizer.step()
        self._rate.step()
        self._optimizer.zero_grad()
        return loss.detach().item()

    def loss_at(self, batch: Batch, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The loss of one batch at a given noise BCHW and timesteps B, of the scheduler's table."""
        latents = batch.latents
        sigmas = self._sigmas_of(timesteps, latents)
        noisy = (1.0 - sigmas) * latents + sigmas * noise
        predicted = self._predict(noisy, timesteps, batch)
        weighting = compute_loss_weighting_for_sd3(WEIGHTING, sigmas)
        wrong = weighting.float() * (predicted.float() - (noise - latents).float()) ** 2
        return wrong.reshape(len(latents), -1).mean(1).mean()

    def _sigmas_of(self, timesteps: Tensor, latents: Tensor) -> Tensor:
        table = self._timesteps.to(self._device)
        rows: Sequence[int | float] = [(table == timestep).nonzero().item() for timestep in timesteps]
        sigmas = self._sigmas.to(self._device, latents.dtype)[torch.tensor(rows)]
        return sigmas.view(-1, *(1 for _ in latents.shape[1:]))

    def _predict(self, noisy: Tensor, timesteps: Tensor, batch: Batch) -> Tensor:
        B, C, H, W = noisy.shape
        side = {"height": H * PIXELS_PER_LATENT, "width": W * PIXELS_PER_LATENT}
        positions = FluxPipeline._prepare_latent_image_ids(  # noqa: SLF001  (the script calls it too)
            B, H // 2, W // 2, self._device, self._dtype
        )
        hears_guidance = bool(self._transformer.config["guidance_embeds"])
        mixed = torch.autocast(self._device.type, torch.bfloat16) if self._autocast else nullcontext()
        with mixed:
            tokens = self._transformer(
                hidden_states=FluxPipeline._pack_latents(noisy, B, C, H, W),  # noqa: SLF001
                timestep=timesteps / 1000,
                guidance=torch.tensor([GUIDANCE], device=self._device).expand(B) if hears_guidance else None,
                pooled_projections=batch.prompt_embeds["pooled"],
                encoder_hidden_states=batch.prompt_embeds["t5"],
                txt_ids=torch.zeros(batch.prompt_embeds["t5"].shape[1], 3, device=self._device, dtype=self._dtype),
                img_ids=positions,
                return_dict=False,
            )[0]
        tokens = tokens.float() if self._autocast else tokens
        return FluxPipeline._unpack_latents(tokens, **side, vae_scale_factor=PIXELS_PER_LATENT)  # noqa: SLF001

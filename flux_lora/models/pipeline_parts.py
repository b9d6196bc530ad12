"""What families do alike with the parts of a pipeline: a transformer filled, the schedule, latents to images.

Shape letters: B batch, C latent channels, H W latent height and width, T text tokens, D width of the prompt embeds.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers import ConfigMixin, FlowMatchEulerDiscreteScheduler, ModelMixin
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Generator, Tensor, nn

from flux_lora.models.family import PromptEmbeds, Velocity
from flux_lora.models.pipeline_folder import broken_files_explained, part_folder, without_packing
from flux_lora.models.single_file import SingleFile, settings_of, tensors_in
from flux_lora.models.weight_file import tensors_of, weights_in
from flux_lora.models.weight_stream import Precision, fill, weight_files

Part = TypeVar("Part", bound=nn.Module)
TEXT_TOKENS, LATENT_SIDE, SIGMA = 16, 8, 0.7
"""Of the fixed point at which models of one kind of prompt embeds are compared."""
ABSENT: Any = None
"""A part the pipeline does without; diffusers allows that and its annotations do not."""


@dataclass(frozen=True)
class Stored:
    """A transformer on this disk."""

    place: Path
    settings: Mapping[str, Any]
    """Of its config.json, or told by its tensors."""
    tensors: Iterator[tuple[str, Tensor]]
    """diffusers' names and their tensors; none is read before its turn."""


def stored_in_file(single: SingleFile) -> Stored:
    """In one file."""
    return Stored(single.file, settings_of(single), tensors_in(single))


def stored_in_folder(model: type[ConfigMixin], path: str, revision: str) -> Stored:
    """In a pipeline's folder, fetched from the hub if need be. `model`: diffusers' class of it."""
    folder = part_folder(path, "transformer", revision)
    with broken_files_explained(folder):
        settings = cast(dict[str, Any], model.load_config(folder))
        return Stored(folder, without_packing(settings, folder), tensors_of(weights_in(folder, weight_files(folder))))


def filled(transformer: Part, stored: Stored, precision: Precision) -> Part:
    """A transformer on the meta device with its weights, frozen."""
    with broken_files_explained(stored.place):
        fill(transformer, stored.tensors, precision)
    return frozen(transformer)


def loras_in_dtype_of(transformer: ModelMixin) -> None:
    """peft gives a LoRA its layer's dtype, and a quantised layer has none to give."""
    dtype = transformer.dtype  # diffusers looks through all modules for it
    for name, parameter in transformer.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(dtype)


@torch.inference_mode()
def velocity_at_fixed_point(transformer: ModelMixin, predict: Velocity, embeds: str) -> Tensor:
    """The velocity at one fixed random point: BCHW with B 1, float32. `embeds`: name of the prompt embeds."""
    generator, settings = Generator().manual_seed(0), transformer.config
    noisy_BCHW = torch.randn(1, settings["in_channels"], LATENT_SIDE, LATENT_SIDE, generator=generator)
    text_BTD = torch.randn(1, TEXT_TOKENS, settings["joint_attention_dim"], generator=generator)
    parameter = next(transformer.parameters())
    sigma = torch.tensor([SIGMA], device=parameter.device)
    said = PromptEmbeds({embeds: text_BTD}).to(parameter.device, parameter.dtype)
    return predict(noisy_BCHW.to(parameter), sigma, said).float()


def load_scheduler(path: str, *, revision: str = "") -> FlowMatchEulerDiscreteScheduler:
    """The sampler's schedule, with the model's own shift."""
    folder = part_folder(path, "scheduler", revision)
    with broken_files_explained(folder):
        scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder)
    assert isinstance(scheduler, FlowMatchEulerDiscreteScheduler), "a pair is returned only when asked for"
    return scheduler


def frozen(model: Part) -> Part:
    """The model, without gradients or dropout."""
    model.requires_grad_(False)
    model.eval()
    return model


def decode_images(vae: ModelMixin, decode: Callable[[Tensor], Tensor], latents: Tensor) -> list[Image.Image]:
    """Latents BCHW -> images, by diffusers' image processor. `decode`: latents -> pixels, by this VAE. Between calls
    the VAE is where it was: a preview's decoder takes 3 GiB at 1024 x 1024, and its weights need not stay beside a
    training step."""
    place = vae.device
    nn.Module.to(vae, latents.device)
    try:
        drawn = VaeImageProcessor().postprocess(decode(latents).float(), output_type="pil")
    finally:
        nn.Module.to(vae, place)
    return cast(list[Image.Image], drawn)

"""What families do alike with the parts of a pipeline: the schedule, frozen weights, latents to images.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from diffusers import FlowMatchEulerDiscreteScheduler, ModelMixin
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor, nn

from flux_lora.models.pipeline_folder import broken_files_explained, part_folder

Part = TypeVar("Part", bound=nn.Module)
ABSENT: Any = None
"""A part the pipeline does without; diffusers allows that and its annotations do not."""


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

"""The parts that make pictures, opened together: transformer, VAE and schedule."""

from dataclasses import dataclass

from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from PIL import Image

from flux_lora.commands.machine import Machine
from flux_lora.config.schema import RunConfig
from flux_lora.models.family import Text
from flux_lora.models.flux1.load import load_scheduler, load_transformer, load_vae
from flux_lora.render.sampler import render
from flux_lora.render.spec import RenderSpec


@dataclass(frozen=True)
class Painter:
    """A base that draws. What its transformer has learned shows in its pictures."""

    transformer: FluxTransformer2DModel
    vae: AutoencoderKL
    scheduler: FlowMatchEulerDiscreteScheduler

    def paint(self, text: Text, spec: RenderSpec) -> list[Image.Image]:
        """One picture for each of spec.shots(), in that order."""
        return render(self.transformer, self.vae, self.scheduler, text, spec)


def open_painter(config: RunConfig, machine: Machine) -> Painter:
    """The base of a run, frozen."""
    path, revision = config.model.path, config.model.revision
    return Painter(
        transformer=load_transformer(path, machine.dtype, device=machine.device, revision=revision),
        vae=load_vae(path, device=machine.device, revision=revision),
        scheduler=load_scheduler(path, revision=revision),
    )

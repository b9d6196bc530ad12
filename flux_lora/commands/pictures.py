"""The parts that make pictures, opened together: transformer, VAE and schedule."""

from dataclasses import dataclass

from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from PIL import Image

from flux_lora.commands.machine import DeviceAndDtype
from flux_lora.config.schema import RunConfig
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.load import load_scheduler, load_transformer, load_vae
from flux_lora.render.sampler import render
from flux_lora.render.spec import RenderSpec


@dataclass(frozen=True)
class Pipeline:
    """A base that draws. What its transformer has learned shows in its pictures."""

    transformer: FluxTransformer2DModel
    vae: AutoencoderKL
    scheduler: FlowMatchEulerDiscreteScheduler

    def render(self, text: PromptEmbeds, spec: RenderSpec) -> list[Image.Image]:
        """One picture for each of spec.shots(), in that order."""
        return render(self.transformer, self.vae, self.scheduler, text, spec)


def load_pipeline(config: RunConfig, machine: DeviceAndDtype) -> Pipeline:
    """The base of a run, frozen."""
    path, revision = config.model.path, config.model.revision
    return Pipeline(
        transformer=load_transformer(path, machine.dtype, device=machine.device, revision=revision),
        vae=load_vae(path, device=machine.device, revision=revision),
        scheduler=load_scheduler(path, revision=revision),
    )

"""How other programs name a model family, its releases and its parts."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Release:
    """A published base of a family, as other programs and people name it."""

    name: str
    hub: str
    """Its id there."""
    comfy: str
    """File name in ComfyUI/models/diffusion_models."""
    architecture: str
    """modelspec's name of it; a LoRA of it is of `architecture`/lora."""
    licence: str
    licence_link: str = ""
    shifts_sigmas: bool = True
    """Whether the sigma shift grows with image size."""


@dataclass(frozen=True, kw_only=True)
class ComfyParts:
    """What ComfyUI needs beside the transformer."""

    text_encoders: tuple[str, ...]
    """File names in text_encoders, in the order of the pipeline's parts: one, as CLIPLoader takes it, or two, as
    DualCLIPLoader does."""
    text_type: str
    """The loader's word for the family."""
    text_tokens: int
    """Length that ComfyUI pads the prompt to by default."""
    text_length_node: str = ""
    """Type of the node that sets another length; empty if there is none."""
    vae: str
    """File name in vae."""
    latent_node: str
    """Type of the node that makes empty latents."""
    scheduler_node: str = ""
    """Type of the node that makes the family's sigmas from steps and size; empty where BasicScheduler does."""
    base_shift: float = 0.0
    """Logarithm of the sigma shift at 256 image tokens, for BasicScheduler."""
    max_shift: float = 0.0
    """The same at 4096 image tokens."""
    uses_cfg: bool = False
    """Whether guidance is that of CFGGuider, against an empty prompt; else FluxGuidance's."""
    untried: str = ""
    """What to do if a file of ours does nothing there; empty where it was tried."""


@dataclass(frozen=True, kw_only=True)
class Programs:
    """How other programs name a family."""

    diffusers_pipeline: str
    """The pipeline's class in diffusers."""
    diffusers_program: str = ""
    """Template of a program that draws with a LoRA there; empty where from_pretrained and a call are enough."""
    editing_pipeline: str = ""
    """The class that draws from an image, where that is another one."""
    editing_arguments: tuple[str, ...] = ()
    """What it is told beside the image, with {area} for the pixels of what it draws."""
    keeps_area: bool = False
    """Whether it draws as many pixels as 1024 x 1024 has whatever size is asked for, unless max_area says otherwise."""
    comfy: ComfyParts
    implementation: str
    """modelspec.implementation. Forge knows a FLUX file by this, or by the architecture."""
    sd_scripts: str
    """sd-scripts' ss_base_model_version."""
    releases: tuple[Release, ...]

"""How other programs name FLUX.1's releases and parts: diffusers, ComfyUI, the hub, modelspec and sd-scripts."""

from collections.abc import Sequence
from dataclasses import replace

from flux_lora.models.programs import ComfyParts, Programs, Release

EDITING_PIPELINE = "FluxKontextPipeline"
"""diffusers' pipeline that draws from an image; it takes any FLUX.1."""

HUB = "https://huggingface.co"

DEV = Release(
    name="FLUX.1-dev",
    hub="black-forest-labs/FLUX.1-dev",
    comfy="flux1-dev.safetensors",
    architecture="flux-1-dev",
    licence="flux-1-dev-non-commercial-license",
    licence_link=f"{HUB}/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md",
)
SCHNELL = Release(
    name="FLUX.1-schnell",
    hub="black-forest-labs/FLUX.1-schnell",
    comfy="flux1-schnell.safetensors",
    architecture="flux-1-schnell",
    licence="apache-2.0",
    shifts_sigmas=False,
)
KREA = Release(
    name="FLUX.1-Krea-dev",
    hub="black-forest-labs/FLUX.1-Krea-dev",
    comfy="flux1-krea-dev.safetensors",
    architecture="flux-1-dev",
    licence="flux-1-dev-non-commercial-license",
    licence_link=f"{HUB}/black-forest-labs/FLUX.1-Krea-dev/blob/main/LICENSE.md",
)
KONTEXT = Release(
    name="FLUX.1-Kontext-dev",
    hub="black-forest-labs/FLUX.1-Kontext-dev",
    comfy="flux1-dev-kontext_fp8_scaled.safetensors",
    architecture="flux-1-dev",
    licence="flux-1-dev-non-commercial-license",
    licence_link=f"{HUB}/black-forest-labs/FLUX.1-Kontext-dev/blob/main/LICENSE.md",
)
PROGRAMS = Programs(
    diffusers_pipeline="FluxPipeline",
    editing_pipeline=EDITING_PIPELINE,
    editing_arguments=("max_area={area}", "_auto_resize=False"),
    comfy=ComfyParts(
        text_encoders=("clip_l.safetensors", "t5xxl_fp16.safetensors"),
        text_type="flux",
        text_tokens=256,
        text_length_node="T5TokenizerOptions",
        vae="ae.safetensors",
        latent_node="EmptySD3LatentImage",
        base_shift=0.5,
        max_shift=1.15,
    ),
    implementation="https://github.com/black-forest-labs/flux",
    sd_scripts="flux1",
    releases=(DEV, SCHNELL, KREA),
)


KONTEXT_PROGRAMS = replace(PROGRAMS, diffusers_pipeline=EDITING_PIPELINE, keeps_area=True, releases=(KONTEXT,))
"""The same layers and parts; ComfyUI draws from text alone with the same nodes."""


def release_like(name: str, among: Sequence[Release]) -> Release:
    """The release that another base, by its name, was made from: schnell or Krea where it says so, else the first."""
    said = name.lower()
    wanted = SCHNELL if "schnell" in said else KREA if "krea" in said else among[0]
    return wanted if wanted in among else among[0]

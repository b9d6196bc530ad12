"""How other programs name FLUX.3 klein's releases and parts: diffusers, ComfyUI, the hub and modelspec.

ComfyUI's file names and nodes are those of its own templates (comfyui-workflow-templates-json 0.1.123,
image_flux3_klein_t2i).
"""

from flux_lora.models.family import ComfyParts, Programs, Release

HUB = "https://huggingface.co"
KOMMUNITY = "flux-kommunity-license"
BASE = Release(
    name="FLUX.3-image-klein-base",
    hub="black-forest-labs/flux-3-image-klein-base",
    comfy="flux3-image-klein-base-bf16.safetensors",
    architecture="flux-3-klein",
    licence=KOMMUNITY,
    licence_link=f"{HUB}/black-forest-labs/flux-3-image-klein-base/blob/main/LICENSE.md",
    shifts_sigmas=False,
)
DISTILLED = Release(
    name="FLUX.3-image-klein",
    hub="black-forest-labs/flux-3-image-klein",
    comfy="flux3-image-klein-bf16.safetensors",
    architecture="flux-3-klein",
    licence=KOMMUNITY,
    licence_link=f"{HUB}/black-forest-labs/flux-3-image-klein/blob/main/LICENSE.md",
    shifts_sigmas=False,
)


def programs_of(release: Release, pipeline: str) -> Programs:
    """Of one release. `pipeline`: diffusers' class."""
    return Programs(
        diffusers_pipeline=pipeline,
        comfy=ComfyParts(
            text_encoders=("qwen3vl_4b_int8_convrot.safetensors",),
            text_type="flux3",
            text_tokens=0,
            vae="flux2-vae.safetensors",
            latent_node="EmptyFlux2LatentImage",
            uses_cfg=True,
        ),
        implementation="https://github.com/black-forest-labs/flux-3-image-klein",
        sd_scripts="",
        releases=(release,),
    )

"""How other programs name FLUX.2's releases and parts: diffusers, ComfyUI, the hub and modelspec.

ComfyUI's file names and nodes are those of its own templates (comfyui-workflow-templates 0.1.123,
image_flux2_klein_text_to_image, image_flux2_text_to_image).
modelspec's names of FLUX.2 are those that musubi-tuner writes and SwarmUI knows.
"""

from flux_lora.models.programs import ComfyParts, Programs, Release

HUB = "https://huggingface.co"
OWN_TERMS = "flux-non-commercial-license"
BASE_4B = Release(
    name="FLUX.2-klein-base-4B",
    hub="black-forest-labs/FLUX.2-klein-base-4B",
    comfy="flux-2-klein-base-4b.safetensors",
    architecture="Flux.2-klein-4b",
    licence="apache-2.0",
)
DISTILLED_4B = Release(
    name="FLUX.2-klein-4B",
    hub="black-forest-labs/FLUX.2-klein-4B",
    comfy="flux-2-klein-4b.safetensors",
    architecture="Flux.2-klein-4b",
    licence="apache-2.0",
)
BASE_9B = Release(
    name="FLUX.2-klein-base-9B",
    hub="black-forest-labs/FLUX.2-klein-base-9B",
    comfy="flux-2-klein-base-9b.safetensors",
    architecture="Flux.2-klein-9b",
    licence=OWN_TERMS,
    licence_link=f"{HUB}/black-forest-labs/FLUX.2-klein-base-9B/blob/main/LICENSE.md",
)
DISTILLED_9B = Release(
    name="FLUX.2-klein-9B",
    hub="black-forest-labs/FLUX.2-klein-9B",
    comfy="flux-2-klein-9b.safetensors",
    architecture="Flux.2-klein-9b",
    licence=OWN_TERMS,
    licence_link=f"{HUB}/black-forest-labs/FLUX.2-klein-9B/blob/main/LICENSE.md",
)


DEV_RELEASE = Release(
    name="FLUX.2-dev",
    hub="black-forest-labs/FLUX.2-dev",
    comfy="flux2_dev_fp8mixed.safetensors",
    architecture="Flux.2-dev",
    licence="flux-dev-non-commercial-license",
    licence_link=f"{HUB}/black-forest-labs/FLUX.2-dev",
)
KLEIN_PIPELINE, DEV_PIPELINE = "Flux2KleinPipeline", "Flux2Pipeline"


def programs_of(release: Release, text_encoder: str, pipeline: str = KLEIN_PIPELINE) -> Programs:
    """Of one release. `text_encoder`: its file's name in ComfyUI."""
    return Programs(
        diffusers_pipeline=pipeline,
        comfy=ComfyParts(
            text_encoders=(text_encoder,),
            text_type="flux2",
            text_tokens=512,
            vae="flux2-vae.safetensors",
            latent_node="EmptyFlux2LatentImage",
            scheduler_node="Flux2Scheduler",
            uses_cfg=pipeline == KLEIN_PIPELINE,
        ),
        implementation="https://github.com/black-forest-labs/flux2",
        sd_scripts="",
        releases=(release,),
    )

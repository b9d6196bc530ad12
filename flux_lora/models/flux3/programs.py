"""How other programs name FLUX.3 klein's releases and parts: diffusers, ComfyUI, the hub and modelspec.

ComfyUI's file names and nodes are those of its own templates (comfyui-workflow-templates-json 0.1.123,
image_flux3_klein_t2i).
"""

from flux_lora.models.programs import ComfyParts, Programs, Release

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


UNTRIED = (
    "ComfyUI was not tried with FLUX.3 here. If the file changes nothing there, take the one in FLUX's own names: "
    "export again with export.dialects=[diffusers,comfyui]."
)
PROGRAM = """\
{{imports}}from diffusers import {classes}

device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
blocks = {blocks}()
blocks.sub_blocks.pop("prompt_upsampler")  # the prompt is drawn as it is written; long ones are drawn best
pipeline = blocks.init_pipeline({{base}})
pipeline.load_components(dtype=dtype)  # the text encoder's processor needs torchvision
pipeline.load_lora_weights({{folder}}, weight_name={{file!r}}, adapter_name="subject")
pipeline.set_adapters(["subject"], [{{strength:g}}])
{guider}pipeline.to(device)

picture = pipeline(
    prompt={{prompt!r}},
{{image}}    width={{width}},
    height={{height}},
    num_inference_steps={{steps}},
    max_sequence_length={{text_tokens}},
    generator=torch.Generator("cpu").manual_seed({{seed}}),
    output="images",
)[0]
picture.save("picture.png")
"""
"""diffusers puts FLUX.3's pipeline together of blocks: there is no class that from_pretrained opens and guides."""
GUIDER = "pipeline.update_components(guider=ClassifierFreeGuidance(guidance_scale={{guidance:g}}))\n"


def programs_of(release: Release, kind: str) -> Programs:
    """Of one release. `kind`: what diffusers' classes of it begin with."""
    guided = release is BASE
    blocks = f"{kind}AutoBlocks"
    return Programs(
        diffusers_pipeline=f"{kind}ModularPipeline",
        diffusers_program=PROGRAM.format(
            classes=f"ClassifierFreeGuidance, {blocks}" if guided else blocks,
            blocks=blocks,
            guider=GUIDER.format() if guided else "",
        ),
        comfy=ComfyParts(
            text_encoders=("qwen3vl_4b_int8_convrot.safetensors",),
            text_type="flux3",
            text_tokens=0,
            vae="flux2-vae.safetensors",
            latent_node="EmptyFlux2LatentImage",
            uses_cfg=guided,
            untried=UNTRIED,
        ),
        implementation="https://github.com/black-forest-labs/flux-3-image-klein",
        sd_scripts="",
        releases=(release,),
    )

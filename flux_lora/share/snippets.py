"""The exported file in diffusers and in ComfyUI, as text to copy."""

from collections.abc import Iterator
from pathlib import Path

from flux_lora.models.mini import MINI
from flux_lora.render.spec import RenderSpec
from flux_lora.share.base_models import BaseModel
from flux_lora.share.workflow import BEFORE

FROM_MINI = "from flux_lora.models.mini import mini_folder\n"
OWN_FOLDER = "str(Path(__file__).parent)"
"""The folder of the program itself, whatever the working directory."""

DIFFUSERS = """\
{imports}
device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
{note}pipeline = {pipeline}.from_pretrained({base}, dtype=dtype)  # older diffusers say torch_dtype
pipeline.load_lora_weights({folder}, weight_name={file!r}, adapter_name="subject")
pipeline.set_adapters(["subject"], [{strength:g}])
pipeline.to(device)

picture = pipeline(
    prompt={prompt!r},
{image}    width={width},
    height={height},
{area}    num_inference_steps={steps},
    guidance_scale={guidance:g},
    max_sequence_length={text_tokens},
    generator=torch.Generator("cpu").manual_seed({seed}),
).images[0]
picture.save("picture.png")
"""

OWN_TRANSFORMER = (
    "# The LoRA was trained on {file}. Give it as transformer=..., read by from_single_file, for its images.\n"
)
OWN_PARTS = "# It was trained with {files} in place of the base's own; its release's own files are the same.\n"
COMFY_EDIT = """
The image to edit: Load Image > VAE Encode > ReferenceLatent, behind each CLIP Text Encode."""
NOT_IN_COMFYUI = "ComfyUI cannot load {base}; a LoRA for a released base, made by the same commands, works there."
COMFY = """\
Put {name} into ComfyUI/models/loras and restart or refresh.
Drop workflow.json, which lies beside it, onto the window. Or by hand:
Load Diffusion Model ({unet}) > LoraLoaderModelOnly ({name}, strength {strength:g}) > KSampler.
{guided}
KSampler: {steps} steps, sampler euler, scheduler simple, denoise 1.0, {width} x {height}."""
EMBEDDED = "CLIP Text Encode > FluxGuidance {guidance:g} > positive; cfg 1.0, so the negative prompt does nothing."
CFG = "CLIP Text Encode > positive, an empty one > negative; cfg {guidance:g}.{sigmas}"
BY_NODE = " Sigmas by {scheduler}, not by KSampler."


def diffusers_snippet(base: BaseModel, file: str, prompt: str, spec: RenderSpec, *, strength: float = 1.0) -> str:
    """A diffusers program that renders this prompt with the first seed of the spec.

    It opens the base at its place. file is a path or org/name/file of the hub; a bare name means beside the
    program. On a CPU the image equals that of render/ for this prompt and seed, to the last bit.
    """
    same_folder = Path(file).name == file
    return (base.programs.diffusers_program or DIFFUSERS).format(
        imports=_imports(base, same_folder, spec),
        note=_own_files(base),
        pipeline=_pipeline(base, spec),
        image=_image(spec),
        base="mini_folder()" if base.place == MINI else repr(base.place),
        folder=OWN_FOLDER if same_folder else repr(str(Path(file).parent)),
        file=Path(file).name,
        prompt=prompt,
        strength=strength,
        width=spec.width,
        height=spec.height,
        area="".join(f"    {each}\n" for each in _area(base, spec)),
        steps=spec.steps,
        guidance=spec.guidance,
        text_tokens=spec.text_tokens,
        seed=spec.seeds[0],
    )


def _pipeline(base: BaseModel, spec: RenderSpec) -> str:
    edits = base.programs.editing_pipeline if spec.made_from else ""
    return edits or base.programs.diffusers_pipeline


def _image(spec: RenderSpec) -> str:
    """The line that gives the image to edit, which lies beside the program."""
    return f'    image=Image.open({OWN_FOLDER} + "/{BEFORE}").convert("RGB"),\n' if spec.made_from else ""


def _area(base: BaseModel, spec: RenderSpec) -> Iterator[str]:
    pixels = spec.width * spec.height
    if spec.made_from:
        yield from (f"{each.format(area=pixels)}," for each in base.programs.editing_arguments)
    elif base.programs.keeps_area:
        yield f"max_area={pixels},"


def comfy_hint(base: BaseModel, file: str, spec: RenderSpec, *, strength: float = 1.0) -> str:
    """The nodes and settings for ComfyUI, as text; or that it cannot load this base."""
    if not base.in_comfyui:
        return NOT_IN_COMFYUI.format(base=base.name)
    return (
        COMFY.format(
            name=Path(file).name,
            unet=base.comfy,
            strength=strength,
            guided=_guided(base, spec),
            steps=spec.steps,
            width=spec.width,
            height=spec.height,
        )
        + (COMFY_EDIT if spec.made_from else "")
        + (f"\n{base.programs.comfy.untried}" if base.programs.comfy.untried else "")
    )


def _own_files(base: BaseModel) -> str:
    """Comments on what was not the base's own."""
    said = OWN_TRANSFORMER.format(file=base.own_transformer) if base.own_transformer else ""
    return said + (OWN_PARTS.format(files=", ".join(base.own_parts)) if base.own_parts else "")


def _guided(base: BaseModel, spec: RenderSpec) -> str:
    parts = base.programs.comfy
    said = CFG if parts.uses_cfg else EMBEDDED
    sigmas = BY_NODE.format(scheduler=parts.scheduler_node) if parts.scheduler_node else ""
    return said.format(guidance=spec.guidance, sigmas=sigmas)


def _imports(base: BaseModel, same_folder: bool, spec: RenderSpec) -> str:
    lines = ["from pathlib import Path\n\n"] if same_folder or spec.made_from else []
    lines += ["import torch\n"]
    if not base.programs.diffusers_program:  # which imports what it needs
        lines += [f"from diffusers import {_pipeline(base, spec)}\n"]
    lines += ["from PIL import Image\n"] if spec.made_from else []
    return "".join(lines + ([f"\n{FROM_MINI}"] if base.place == MINI else []))

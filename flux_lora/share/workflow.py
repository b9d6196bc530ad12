"""A ComfyUI workflow that draws with the exported file as flux_lora's own sampler does.

    model  UNETLoader > LoraLoaderModelOnly > ModelSamplingFlux > BasicScheduler (simple), BasicGuider
    text   DualCLIPLoader > T5TokenizerOptions > CLIPTextEncode > FluxGuidance > BasicGuider
    noise  RandomNoise, EmptySD3LatentImage, KSamplerSelect (euler) > SamplerCustomAdvanced > VAEDecode > SaveImage

ModelSamplingFlux makes the schedule follow the picture's size, as diffusers does; without it ComfyUI
uses the one of 1024 x 1024 for every size. T5TokenizerOptions pads the text to the length that the
adapter was trained with; ComfyUI's own is 256.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flux_lora.render.spec import RenderSpec
from flux_lora.share.bases import BaseModel
from flux_lora.share.nodes import Value

BASE_SHIFT, MAX_SHIFT = 0.5, 1.15
"""FLUX.1-dev's schedule: exp of the first at 256 tokens, of the second at 4096."""
COMFY_T5_TOKENS = 256
"""What ComfyUI pads T5's text to, unless it is told otherwise."""
T5_FILE, CLIP_FILE, VAE_FILE = "t5xxl_fp16.safetensors", "clip_l.safetensors", "ae.safetensors"
WEIGHED = str.maketrans({"(": r"\(", ")": r"\)"})
"""ComfyUI reads brackets as weights of words."""


@dataclass(frozen=True)
class Link:
    """An output of a node, by its place among the node's outputs."""

    node: int
    output: int = 0


@dataclass(frozen=True)
class WorkflowNode:
    """One node of a workflow: its kind, what its widgets hold and what fills its sockets."""

    id: int
    kind: str
    title: str
    values: Mapping[str, Value] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)


def text_to_image(
    base: BaseModel, file: str, prompt: str, spec: RenderSpec, *, strength: float = 1.0
) -> tuple[WorkflowNode, ...]:
    """The nodes that draw this prompt with the first seed of the spec; sources come before those they feed."""
    model, schedule = Link(2), Link(3 if base.shifts_sigmas else 2)
    text = Link(5 if spec.text_tokens != COMFY_T5_TOKENS else 4)
    nodes = [
        WorkflowNode(1, "UNETLoader", "FLUX", {"unet_name": base.comfy, "weight_dtype": "default"}),
        WorkflowNode(
            2, "LoraLoaderModelOnly", "LoRA", {"lora_name": file, "strength_model": strength}, {"model": Link(1)}
        ),
        *_schedule_of_size(base, spec, model),
        *_text(prompt, spec, text),
        WorkflowNode(8, "BasicGuider", "Guider", links={"model": schedule, "conditioning": Link(7)}),
        WorkflowNode(9, "RandomNoise", "Seed", {"noise_seed": spec.seeds[0]}),
        WorkflowNode(10, "KSamplerSelect", "Sampler", {"sampler_name": "euler"}),
        WorkflowNode(
            11,
            "BasicScheduler",
            "Steps",
            {"scheduler": "simple", "steps": spec.steps, "denoise": 1.0},
            {"model": schedule},
        ),
        WorkflowNode(12, "EmptySD3LatentImage", "Size", {"width": spec.width, "height": spec.height, "batch_size": 1}),
        *_picture(file.removesuffix(".safetensors")),
    ]
    return tuple(nodes)


def to_api(nodes: tuple[WorkflowNode, ...]) -> str:
    """The JSON that ComfyUI's HTTP interface takes as a prompt."""
    return _text_of(
        {
            str(each.id): {
                "class_type": each.kind,
                "inputs": {**each.values, **{name: [str(link.node), link.output] for name, link in each.links.items()}},
                "_meta": {"title": each.title},
            }
            for each in nodes
        }
    )


def _text_of(contents: Mapping[str, object]) -> str:
    return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"


def _schedule_of_size(base: BaseModel, spec: RenderSpec, model: Link) -> Iterator[WorkflowNode]:
    if base.shifts_sigmas:
        shifts = {"max_shift": MAX_SHIFT, "base_shift": BASE_SHIFT}
        size = {"width": spec.width, "height": spec.height}
        yield WorkflowNode(3, "ModelSamplingFlux", "Schedule for this size", {**shifts, **size}, {"model": model})


def _text(prompt: str, spec: RenderSpec, text: Link) -> Iterator[WorkflowNode]:
    files = {"clip_name1": T5_FILE, "clip_name2": CLIP_FILE, "type": "flux", "device": "default"}
    yield WorkflowNode(4, "DualCLIPLoader", "Text encoders", files)
    if text.node == 5:
        padding = {"min_padding": 0, "min_length": spec.text_tokens}
        yield WorkflowNode(5, "T5TokenizerOptions", "Text length", padding, {"clip": Link(4)})
    yield WorkflowNode(6, "CLIPTextEncode", "Prompt", {"text": prompt.translate(WEIGHED)}, {"clip": text})
    yield WorkflowNode(7, "FluxGuidance", "Guidance", {"guidance": spec.guidance}, {"conditioning": Link(6)})


def _picture(prefix: str) -> Iterator[WorkflowNode]:
    drawn = {
        "noise": Link(9),
        "guider": Link(8),
        "sampler": Link(10),
        "sigmas": Link(11),
        "latent_image": Link(12),
    }
    yield WorkflowNode(13, "SamplerCustomAdvanced", "Draw", links=drawn)
    yield WorkflowNode(14, "VAELoader", "VAE", {"vae_name": VAE_FILE})
    yield WorkflowNode(15, "VAEDecode", "To pixels", links={"samples": Link(13), "vae": Link(14)})
    yield WorkflowNode(16, "SaveImage", "Picture", {"filename_prefix": prefix}, {"images": Link(15)})

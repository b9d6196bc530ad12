"""A ComfyUI workflow that renders with the exported file as flux_lora's own sampler does, as API JSON and as canvas.

model  UNETLoader > LoraLoaderModelOnly > ModelSamplingFlux > BasicScheduler (simple), BasicGuider
    text   DualCLIPLoader > (text length) > CLIPTextEncode > FluxGuidance > BasicGuider
    noise  RandomNoise, EmptySD3LatentImage, KSamplerSelect (euler) > SamplerCustomAdvanced > VAEDecode > SaveImage

ModelSamplingFlux makes the schedule follow the image's size, as diffusers does; without it ComfyUI
uses the one of 1024 x 1024 for every size. The node of the text's length pads it to what the adapter
was trained with, where that is not ComfyUI's own.

An edit also has LoadImage > VAEEncode > ReferenceLatent behind the prompt, and behind the empty one where there is one.

FLUX.2 klein has one text encoder, empty latents and sigmas (by steps and size) of its own, and guidance against an
empty prompt: CLIPLoader, EmptyFlux2LatentImage, Flux2Scheduler and CFGGuider, as in ComfyUI's own template. FLUX.3
klein has the same but for the sigmas, which are BasicScheduler's and alike for every size.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flux_lora.models.programs import ComfyParts
from flux_lora.render.spec import RenderSpec
from flux_lora.share.base_models import BaseModel
from flux_lora.share.nodes import FIXED, NODES, IntWidget, Value

BEFORE = "before.png"
"""The image that an edit begins with, as it lies beside the file."""
ESCAPED_WEIGHTS = str.maketrans({"(": r"\(", ")": r"\)"})
"""ComfyUI parses brackets as weights of words."""


@dataclass(frozen=True)
class Link:
    """An output of a node, by its index among the node's outputs."""

    node: int
    output: int = 0


@dataclass(frozen=True)
class WorkflowNode:
    """One node of a workflow: its type in NODES, the values of its widgets and the links to its sockets."""

    id: int
    kind: str
    title: str
    values: Mapping[str, Value] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)


def text_to_image(
    base: BaseModel, file: str, prompt: str, spec: RenderSpec, *, strength: float = 1.0
) -> tuple[WorkflowNode, ...]:
    """The nodes that render this prompt with the first seed of the spec, in topological order."""
    parts = base.programs.comfy
    model, schedule = Link(2), Link(3 if _shifts_by_node(base) else 2)
    nodes = [
        WorkflowNode(1, "UNETLoader", "FLUX", {"unet_name": base.comfy, "weight_dtype": "default"}),
        WorkflowNode(
            2, "LoraLoaderModelOnly", "LoRA", {"lora_name": file, "strength_model": strength}, {"model": Link(1)}
        ),
        *_schedule_of_size(base, spec, model),
        *_reference(parts, spec),
        *_text(parts, prompt, spec),
        _guider(parts, spec, schedule),
        WorkflowNode(9, "RandomNoise", "Seed", {"noise_seed": spec.seeds[0]}),
        WorkflowNode(10, "KSamplerSelect", "Sampler", {"sampler_name": "euler"}),
        _sigmas(parts, spec, schedule),
        WorkflowNode(12, parts.latent_node, "Size", {"width": spec.width, "height": spec.height, "batch_size": 1}),
        *_image(parts, spec, file.removesuffix(".safetensors")),
    ]
    return tuple(nodes)


def to_api(nodes: tuple[WorkflowNode, ...]) -> str:
    """The JSON that ComfyUI's HTTP interface takes as a prompt."""
    return _json_text(
        {
            str(node.id): {
                "class_type": node.kind,
                "inputs": {**node.values, **{name: [str(link.node), link.output] for name, link in node.links.items()}},
                "_meta": {"title": node.title},
            }
            for node in nodes
        }
    )


def _json_text(contents: Mapping[str, object]) -> str:
    return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"


def _schedule_of_size(base: BaseModel, spec: RenderSpec, model: Link) -> Iterator[WorkflowNode]:
    if _shifts_by_node(base):
        parts = base.programs.comfy
        shifts = {"max_shift": parts.max_shift, "base_shift": parts.base_shift}
        size = {"width": spec.width, "height": spec.height}
        yield WorkflowNode(3, "ModelSamplingFlux", "Schedule for this size", {**shifts, **size}, {"model": model})


def _shifts_by_node(base: BaseModel) -> bool:
    return base.shifts_sigmas and not base.programs.comfy.scheduler_node


def _sigmas(parts: ComfyParts, spec: RenderSpec, schedule: Link) -> WorkflowNode:
    if parts.scheduler_node:
        values = {"steps": spec.steps, "width": spec.width, "height": spec.height}
        return WorkflowNode(11, parts.scheduler_node, "Steps", values)
    values = {"scheduler": "simple", "steps": spec.steps, "denoise": 1.0}
    return WorkflowNode(11, "BasicScheduler", "Steps", values, {"model": schedule})


def _guider(parts: ComfyParts, spec: RenderSpec, schedule: Link) -> WorkflowNode:
    if parts.uses_cfg:
        said, unsaid = (20, 21) if spec.made_from else (6, 7)
        links = {"model": schedule, "positive": Link(said), "negative": Link(unsaid)}
        return WorkflowNode(8, "CFGGuider", "Guider", {"cfg": spec.guidance}, links)
    return WorkflowNode(8, "BasicGuider", "Guider", links={"model": schedule, "conditioning": Link(7)})


def _vae(parts: ComfyParts) -> WorkflowNode:
    return WorkflowNode(14, "VAELoader", "VAE", {"vae_name": parts.vae})


def _reference(parts: ComfyParts, spec: RenderSpec) -> Iterator[WorkflowNode]:
    """The image that an edit is made from, of the size that it was trained at."""
    if spec.made_from:
        yield _vae(parts)
        yield WorkflowNode(18, "LoadImage", "Image to edit", {"image": BEFORE})
        yield WorkflowNode(19, "VAEEncode", "To latents", links={"pixels": Link(18), "vae": Link(14)})


def _shown(number: int, prompt: int, title: str) -> WorkflowNode:
    """The prompt of this node, with the image to edit."""
    links = {"conditioning": Link(prompt), "latent": Link(19)}
    return WorkflowNode(number, "ReferenceLatent", title, links=links)


def _text(parts: ComfyParts, prompt: str, spec: RenderSpec) -> Iterator[WorkflowNode]:
    kind = {"type": parts.text_type, "device": "default"}
    if len(parts.text_encoders) == 1:
        yield WorkflowNode(4, "CLIPLoader", "Text encoder", {"clip_name": parts.text_encoders[0], **kind})
    else:
        first, second = parts.text_encoders
        yield WorkflowNode(4, "DualCLIPLoader", "Text encoders", {"clip_name1": first, "clip_name2": second, **kind})
    text = Link(4)
    if parts.text_length_node and spec.text_tokens != parts.text_tokens:
        padding = {"min_padding": 0, "min_length": spec.text_tokens}
        yield WorkflowNode(5, parts.text_length_node, "Text length", padding, {"clip": text})
        text = Link(5)
    yield WorkflowNode(6, "CLIPTextEncode", "Prompt", {"text": prompt.translate(ESCAPED_WEIGHTS)}, {"clip": text})
    if spec.made_from:
        yield _shown(20, 6, "Shown the image")
    if parts.uses_cfg:
        yield WorkflowNode(7, "CLIPTextEncode", "Nothing to steer away from", {"text": ""}, {"clip": text})
        yield from [_shown(21, 7, "Shown it, too")] if spec.made_from else []
    else:
        links = {"conditioning": Link(20 if spec.made_from else 6)}
        yield WorkflowNode(7, "FluxGuidance", "Guidance", {"guidance": spec.guidance}, links)


def _image(parts: ComfyParts, spec: RenderSpec, prefix: str) -> Iterator[WorkflowNode]:
    links = {
        "noise": Link(9),
        "guider": Link(8),
        "sampler": Link(10),
        "sigmas": Link(11),
        "latent_image": Link(12),
    }
    yield WorkflowNode(13, "SamplerCustomAdvanced", "Draw", links=links)
    yield from [] if spec.made_from else [_vae(parts)]
    yield WorkflowNode(15, "VAEDecode", "To pixels", links={"samples": Link(13), "vae": Link(14)})
    yield WorkflowNode(16, "SaveImage", "Image", {"filename_prefix": prefix}, {"images": Link(15)})


VERSION = 0.4
NOTE = "MarkdownNote"
"""A note of the editor; it is not executed."""
NOTE_ID = 22
WIDTH, GAP, ROW, HEAD = 320, 60, 26, 40
NOTE_SIZE = (WIDTH, 300)
ESCAPED_CHOICES = str.maketrans({"{": r"\{", "}": r"\}"})
"""The editor takes {a|b} as a random choice (dynamic prompts)."""

Wire = tuple[int, int, int, int, int, str]
"""A row of the canvas's links: number, from node and output, to node and input, type."""


def to_canvas(nodes: tuple[WorkflowNode, ...], note: str) -> str:
    """The JSON that is dropped onto ComfyUI's window; the note stands left of the first column."""
    wires = list(_wires(nodes))
    positions = _positions(nodes)
    entries = [_node(node, order, positions[node.id], wires) for order, node in enumerate(nodes)]
    contents = {
        "last_node_id": NOTE_ID,
        "last_link_id": len(wires),
        "nodes": [*entries, _note(note, len(nodes))],
        "links": [list(wire) for wire in wires],
        "groups": [],
        "config": {},
        "extra": {},
        "version": VERSION,
    }
    return _json_text(contents)


def _wires(nodes: Sequence[WorkflowNode]) -> Iterator[Wire]:
    types = {node.id: NODES[node.kind] for node in nodes}
    number = 0
    for node in nodes:
        for index, socket in enumerate(NODES[node.kind].sockets):
            link = node.links[socket.name]
            number += 1
            yield number, link.node, link.output, node.id, index, types[link.node].gives[link.output]


def _node(node: WorkflowNode, order: int, position: tuple[int, int], wires: Sequence[Wire]) -> Mapping[str, object]:
    kind = NODES[node.kind]
    into = {wire[4]: wire[0] for wire in wires if wire[3] == node.id}
    out_of = [[wire[0] for wire in wires if wire[1:3] == (node.id, number)] for number in range(len(kind.gives))]
    return {
        "id": node.id,
        "type": node.kind,
        "pos": list(position),
        "size": [WIDTH, _height(node)],
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [
            {"name": socket.name, "type": socket.type, "link": into[number]}
            for number, socket in enumerate(kind.sockets)
        ],
        "outputs": [
            {"name": given, "type": given, "slot_index": number, "links": links}
            for number, (given, links) in enumerate(zip(kind.gives, out_of, strict=True))
        ],
        "title": node.title,
        "properties": {"Node name for S&R": node.kind},
        "widgets_values": list(_values(node)),
    }


def _values(node: WorkflowNode) -> Iterator[Value]:
    """The widgets' values in order; control_after_generate follows a seed."""
    for widget in NODES[node.kind].widgets:
        value = node.values[widget.name]
        yield value.translate(ESCAPED_CHOICES) if node.kind == "CLIPTextEncode" and isinstance(value, str) else value
        if isinstance(widget, IntWidget) and widget.seeds:
            yield FIXED


def _note(text: str, order: int) -> Mapping[str, object]:
    return {
        "id": NOTE_ID,
        "type": NOTE,
        "pos": [-WIDTH - GAP, 0],
        "size": list(NOTE_SIZE),
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "title": "Read me",
        "properties": {},
        "widgets_values": [text],
    }


def _positions(nodes: Sequence[WorkflowNode]) -> Mapping[int, tuple[int, int]]:
    """Left top corners by id, in pixels. A node's column is the longest path to it; nodes of a column are stacked."""
    columns: dict[int, int] = {}
    bottoms: dict[int, int] = {}
    positions = {}
    for node in nodes:
        column = 1 + max((columns[link.node] for link in node.links.values()), default=-1)
        columns[node.id] = column
        positions[node.id] = (column * (WIDTH + GAP), bottoms.get(column, 0))
        bottoms[column] = bottoms.get(column, 0) + _height(node) + GAP
    return positions


def _height(node: WorkflowNode) -> int:
    kind = NODES[node.kind]
    taller = 120 if node.kind == "CLIPTextEncode" else 0
    return HEAD + taller + ROW * (max(len(kind.sockets), len(kind.gives)) + len(kind.widgets))

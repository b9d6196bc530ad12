"""What ComfyUI would refuse in a workflow, found by the table of its nodes."""

import json
from collections.abc import Iterator, Mapping, Sequence

from flux_lora.share.canvas import NOTE
from flux_lora.share.nodes import (
    AFTER_SEED,
    NODES,
    ChoiceWidget,
    FloatWidget,
    IntWidget,
    NodeType,
    TextWidget,
    Value,
    Widget,
)
from flux_lora.share.workflow import Link, WorkflowNode

AFTER = ChoiceWidget("control_after_generate", AFTER_SEED)


def workflow_faults(text: str) -> list[str]:
    """Every fault of a workflow, in either of ComfyUI's two forms; none if it can be run."""
    contents = json.loads(text)
    if "nodes" in contents:
        return [*_loose_wires(contents), *_canvas_faults(contents)]
    return list(_faults(tuple(_from_api(contents))))


def _from_api(contents: Mapping[str, Mapping[str, object]]) -> Iterator[WorkflowNode]:
    for name, each in contents.items():
        inputs = each["inputs"]
        assert isinstance(inputs, Mapping), "a node's inputs have names"
        links = {key: Link(int(value[0]), value[1]) for key, value in inputs.items() if isinstance(value, list)}
        values = {key: value for key, value in inputs.items() if not isinstance(value, list)}
        yield WorkflowNode(int(name), str(each["class_type"]), "", values, links)


def _canvas_faults(contents: Mapping[str, object]) -> Iterator[str]:
    wires = {wire[0]: Link(wire[1], wire[2]) for wire in _listed(contents, "links")}
    placed = []
    for each in _listed(contents, "nodes"):
        kind, number, held = each["type"], each["id"], each["widgets_values"]
        links = {one["name"]: wires[one["link"]] for one in each["inputs"] if one["link"] in wires}
        if kind in NODES:
            yield from (f"node {number} ({kind}) {fault}" for fault in _held_faults(NODES[kind], held))
            values = {widget.name: value for widget, value in zip(_on_canvas(NODES[kind]), held, strict=False)}
            values.pop(AFTER.name, None)
            placed.append(WorkflowNode(number, kind, "", values, links))
        elif kind != NOTE:
            placed.append(WorkflowNode(number, kind, "", links=links))
    yield from _faults(tuple(placed))


def _on_canvas(kind: NodeType) -> Iterator[Widget]:
    """A canvas lists what widgets hold by place, and behind a seed what happens to it afterwards."""
    for widget in kind.widgets:
        yield widget
        if isinstance(widget, IntWidget) and widget.seeds:
            yield AFTER


def _held_faults(kind: NodeType, held: Sequence[Value]) -> Iterator[str]:
    widgets = list(_on_canvas(kind))
    if len(held) != len(widgets):
        yield f"holds {len(held)} values in {len(widgets)} widgets"
    for widget, value in zip(widgets, held, strict=False):
        if widget is AFTER:
            yield from _value_faults(widget, value)


def _loose_wires(contents: Mapping[str, object]) -> Iterator[str]:
    """The table of links and the nodes have to tell the same."""
    nodes = {each["id"]: each for each in _listed(contents, "nodes")}
    for number, source, output, target, place, kind in _listed(contents, "links"):
        if source not in nodes or target not in nodes:
            yield f"link {number} joins node {source} to node {target}, and one is missing"
            continue
        given, taken = nodes[source]["outputs"], nodes[target]["inputs"]
        if output >= len(given) or given[output]["type"] != kind or number not in given[output]["links"]:
            yield f"link {number} does not leave node {source} as {kind}"
        if place >= len(taken) or taken[place]["type"] != kind or taken[place]["link"] != number:
            yield f"link {number} does not enter node {target} as {kind}"


def _listed(contents: Mapping[str, object], name: str) -> list:
    listed = contents[name]
    assert isinstance(listed, list), f"a canvas lists its {name}"
    return listed


def _faults(nodes: tuple[WorkflowNode, ...]) -> Iterator[str]:
    known = {each.id: each for each in nodes if each.kind in NODES}
    for each in nodes:
        if each.kind not in NODES:
            yield _unknown(each.id, each.kind)
            continue
        where = f"node {each.id} ({each.kind})"
        yield from (f"{where} {fault}" for fault in _node_faults(each, NODES[each.kind], known))
    if not any(NODES[each.kind].ends for each in known.values()):
        yield "no node keeps the picture"
    if circle := _circle(nodes):
        yield f"nodes {', '.join(str(number) for number in circle)} feed each other in a circle"
    used = {link.node for each in nodes for link in each.links.values()}
    for each in known.values():
        if each.id not in used and not NODES[each.kind].ends:
            yield f"node {each.id} ({each.kind}) leads nowhere"


def _circle(nodes: tuple[WorkflowNode, ...]) -> list[int]:
    """Nodes that wait for each other, or for one that does."""
    waiting = {each.id: {link.node for link in each.links.values()} for each in nodes}
    while ready := [number for number, sources in waiting.items() if not sources & waiting.keys()]:
        for number in ready:
            del waiting[number]
    return sorted(waiting)


def _node_faults(placed: WorkflowNode, kind: NodeType, nodes: Mapping[int, WorkflowNode]) -> Iterator[str]:
    expected = {each.name for each in (*kind.sockets, *kind.widgets)}
    for name in sorted({*placed.values, *placed.links} - expected):
        yield f"has no input {name}"
    for socket in kind.sockets:
        if socket.name not in placed.links:
            yield f"lacks {socket.name}"
        elif (given := _given(placed.links[socket.name], nodes)) != socket.type:
            yield f"takes {socket.type} as {socket.name} and is given {given}"
    for widget in kind.widgets:
        if widget.name in placed.values:
            yield from _value_faults(widget, placed.values[widget.name])
        elif not (isinstance(widget, ChoiceWidget) and widget.optional):
            yield f"lacks {widget.name}"


def _given(link: Link, nodes: Mapping[int, WorkflowNode]) -> str:
    if link.node not in nodes:
        return f"nothing: there is no node {link.node}"
    gives = NODES[nodes[link.node].kind].gives
    return gives[link.output] if link.output < len(gives) else f"nothing: node {link.node} has no output {link.output}"


def _value_faults(widget: Widget, value: Value) -> Iterator[str]:
    match widget:
        case IntWidget(name, low, high) if not isinstance(value, int) or not low <= value <= high:
            yield f"takes a whole number from {low} to {high} as {name}, not {value!r}"
        case FloatWidget(name, low, high) if not isinstance(value, int | float) or not low <= value <= high:
            yield f"takes a number from {low:g} to {high:g} as {name}, not {value!r}"
        case TextWidget(name) if not isinstance(value, str):
            yield f"takes text as {name}, not {value!r}"
        case ChoiceWidget(name, among) if not isinstance(value, str) or (among and value not in among):
            yield f"takes one of {', '.join(among) or 'the files it finds'} as {name}, not {value!r}"


def _unknown(number: int, kind: str) -> str:
    return f"node {number} is a {kind}, which is not in the table of nodes"

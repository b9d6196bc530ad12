"""Checks a ComfyUI workflow, in either of its forms, against the table of nodes."""

import json
from collections.abc import Iterator, Mapping, Sequence

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
from flux_lora.share.workflow import NOTE, Link, WorkflowNode

AFTER = ChoiceWidget("control_after_generate", AFTER_SEED)


def workflow_faults(text: str) -> list[str]:
    """Every fault of a workflow, as API JSON or canvas; none if ComfyUI would run it."""
    contents = json.loads(text)
    if "nodes" in contents:
        return [*_link_faults(contents), *_canvas_faults(contents)]
    return list(_faults(tuple(_from_api(contents))))


def _from_api(contents: Mapping[str, Mapping[str, object]]) -> Iterator[WorkflowNode]:
    for name, entry in contents.items():
        inputs = entry["inputs"]
        assert isinstance(inputs, Mapping), "a node's inputs have names"
        links = {key: Link(int(value[0]), value[1]) for key, value in inputs.items() if isinstance(value, list)}
        values = {key: value for key, value in inputs.items() if not isinstance(value, list)}
        yield WorkflowNode(int(name), str(entry["class_type"]), "", values, links)


def _canvas_faults(contents: Mapping[str, object]) -> Iterator[str]:
    wires = {wire[0]: Link(wire[1], wire[2]) for wire in _listed(contents, "links")}
    nodes = []
    for entry in _listed(contents, "nodes"):
        kind, number, listed = entry["type"], entry["id"], entry["widgets_values"]
        links = {socket["name"]: wires[socket["link"]] for socket in entry["inputs"] if socket["link"] in wires}
        if kind in NODES:
            yield from (f"node {number} ({kind}) {fault}" for fault in _widget_faults(NODES[kind], listed))
            values = {widget.name: value for widget, value in zip(_canvas_widgets(NODES[kind]), listed, strict=False)}
            values.pop(AFTER.name, None)
            nodes.append(WorkflowNode(number, kind, "", values, links))
        elif kind != NOTE:
            nodes.append(WorkflowNode(number, kind, "", links=links))
    yield from _faults(tuple(nodes))


def _canvas_widgets(kind: NodeType) -> Iterator[Widget]:
    """The widgets as a canvas lists their values: in order, control_after_generate behind a seed."""
    for widget in kind.widgets:
        yield widget
        if isinstance(widget, IntWidget) and widget.seeds:
            yield AFTER


def _widget_faults(kind: NodeType, values: Sequence[Value]) -> Iterator[str]:
    """Faults that only a canvas can have: the number of values, and control_after_generate."""
    widgets = list(_canvas_widgets(kind))
    if len(values) != len(widgets):
        yield f"holds {len(values)} values in {len(widgets)} widgets"
    for widget, value in zip(widgets, values, strict=False):
        if widget is AFTER:
            yield from _value_faults(widget, value)


def _link_faults(contents: Mapping[str, object]) -> Iterator[str]:
    """Where the table of links and the nodes of a canvas disagree."""
    nodes = {entry["id"]: entry for entry in _listed(contents, "nodes")}
    for number, source, output, target, index, kind in _listed(contents, "links"):
        if source not in nodes or target not in nodes:
            yield f"link {number} joins node {source} to node {target}, and one is missing"
            continue
        given, taken = nodes[source]["outputs"], nodes[target]["inputs"]
        if output >= len(given) or given[output]["type"] != kind or number not in given[output]["links"]:
            yield f"link {number} does not leave node {source} as {kind}"
        if index >= len(taken) or taken[index]["type"] != kind or taken[index]["link"] != number:
            yield f"link {number} does not enter node {target} as {kind}"


def _listed(contents: Mapping[str, object], name: str) -> list:
    listed = contents[name]
    assert isinstance(listed, list), f"a canvas lists its {name}"
    return listed


def _faults(nodes: tuple[WorkflowNode, ...]) -> Iterator[str]:
    known = {node.id: node for node in nodes if node.kind in NODES}
    for node in nodes:
        if node.kind not in NODES:
            yield f"node {node.id} is a {node.kind}, which is not in the table of nodes"
            continue
        where = f"node {node.id} ({node.kind})"
        yield from (f"{where} {fault}" for fault in _node_faults(node, NODES[node.kind], known))
    if not any(NODES[node.kind].ends for node in known.values()):
        yield "no node keeps the image"
    if cycle := _cycle(nodes):
        yield f"nodes {', '.join(str(number) for number in cycle)} feed each other in a circle"
    used = {link.node for node in nodes for link in node.links.values()}
    for node in known.values():
        if node.id not in used and not NODES[node.kind].ends:
            yield f"node {node.id} ({node.kind}) leads nowhere"


def _cycle(nodes: tuple[WorkflowNode, ...]) -> list[int]:
    """Ids of nodes in a cycle, or behind one; empty for a directed acyclic graph."""
    waiting = {node.id: {link.node for link in node.links.values()} for node in nodes}
    while ready := [number for number, sources in waiting.items() if not sources & waiting.keys()]:
        for number in ready:
            del waiting[number]
    return sorted(waiting)


def _node_faults(node: WorkflowNode, kind: NodeType, nodes: Mapping[int, WorkflowNode]) -> Iterator[str]:
    expected = {entry.name for entry in (*kind.sockets, *kind.widgets)}
    for name in sorted({*node.values, *node.links} - expected):
        yield f"has no input {name}"
    for socket in kind.sockets:
        if socket.name not in node.links:
            yield f"lacks {socket.name}"
        elif (given := _output_type(node.links[socket.name], nodes)) != socket.type:
            yield f"takes {socket.type} as {socket.name} and is given {given}"
    for widget in kind.widgets:
        if widget.name in node.values:
            yield from _value_faults(widget, node.values[widget.name])
        elif not (isinstance(widget, ChoiceWidget) and widget.optional):
            yield f"lacks {widget.name}"


def _output_type(link: Link, nodes: Mapping[int, WorkflowNode]) -> str:
    """The type that a link carries, or why it carries nothing."""
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

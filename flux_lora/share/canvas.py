"""The same workflow as ComfyUI's editor saves it: nodes with places on a canvas, and a table of links."""

import json
from collections.abc import Iterator, Mapping, Sequence

from flux_lora.share.nodes import FIXED, NODES, IntWidget, Value
from flux_lora.share.workflow import WorkflowNode

VERSION = 0.4
NOTE = "MarkdownNote"
"""A sheet of text that only the editor knows; it is no part of what is run."""
NOTE_ID = 17
WIDTH, GAP, ROW, HEAD = 320, 60, 26, 40
NOTE_SIZE = (WIDTH, 300)
CHOICES = str.maketrans({"{": r"\{", "}": r"\}"})
"""The editor takes one at random of what stands between braces."""

Wire = tuple[int, int, int, int, int, str]
"""Number, from node and output, to node and input, type."""


def to_canvas(nodes: tuple[WorkflowNode, ...], note: str) -> str:
    """The JSON that is dropped onto ComfyUI's window; the note is shown beside the first column."""
    wires = list(_wires(nodes))
    places = _places(nodes)
    drawn = [_node(each, order, places[each.id], wires) for order, each in enumerate(nodes)]
    contents = {
        "last_node_id": NOTE_ID,
        "last_link_id": len(wires),
        "nodes": [*drawn, _note(note, len(nodes))],
        "links": [list(wire) for wire in wires],
        "groups": [],
        "config": {},
        "extra": {},
        "version": VERSION,
    }
    return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"


def _wires(nodes: Sequence[WorkflowNode]) -> Iterator[Wire]:
    kinds = {each.id: NODES[each.kind] for each in nodes}
    number = 0
    for each in nodes:
        for place, socket in enumerate(NODES[each.kind].sockets):
            link = each.links[socket.name]
            number += 1
            yield number, link.node, link.output, each.id, place, kinds[link.node].gives[link.output]


def _node(placed: WorkflowNode, order: int, place: tuple[int, int], wires: Sequence[Wire]) -> Mapping[str, object]:
    kind = NODES[placed.kind]
    into = {wire[4]: wire[0] for wire in wires if wire[3] == placed.id}
    out_of = [[wire[0] for wire in wires if wire[1:3] == (placed.id, number)] for number in range(len(kind.gives))]
    return {
        "id": placed.id,
        "type": placed.kind,
        "pos": list(place),
        "size": [WIDTH, _height(placed)],
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
        "title": placed.title,
        "properties": {"Node name for S&R": placed.kind},
        "widgets_values": list(_values(placed)),
    }


def _values(placed: WorkflowNode) -> Iterator[Value]:
    """What the widgets hold, by place; behind a seed stands what happens to it afterwards."""
    for widget in NODES[placed.kind].widgets:
        value = placed.values[widget.name]
        yield value.translate(CHOICES) if placed.kind == "CLIPTextEncode" and isinstance(value, str) else value
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


def _places(nodes: Sequence[WorkflowNode]) -> Mapping[int, tuple[int, int]]:
    """A column for each length of the way from the sources; in a column, one below the other."""
    columns: dict[int, int] = {}
    bottoms: dict[int, int] = {}
    places = {}
    for each in nodes:
        column = 1 + max((columns[link.node] for link in each.links.values()), default=-1)
        columns[each.id] = column
        places[each.id] = (column * (WIDTH + GAP), bottoms.get(column, 0))
        bottoms[column] = bottoms.get(column, 0) + _height(each) + GAP
    return places


def _height(placed: WorkflowNode) -> int:
    kind = NODES[placed.kind]
    taller = 120 if placed.kind == "CLIPTextEncode" else 0
    return HEAD + taller + ROW * (max(len(kind.sockets), len(kind.gives)) + len(kind.widgets))

"""Order of work: everything the first exit needs, then what the second needs in addition, and so on."""

from __future__ import annotations

import json

import onnx_ir as ir

from edgerun.errors import ModelFormatError
from edgerun.importer.load import Graph
from edgerun.importer.single import captured

EXITS_KEY = "edgerun.exits"


def exit_outputs(graph: Graph) -> list[int]:
    """Indices of the outputs that are exits, first to last; empty for a model without exits. Raises
    ModelFormatError."""
    text = graph.metadata.get(EXITS_KEY, "").strip()
    if not text:
        return []
    try:
        names = json.loads(text) if text.startswith("[") else [part.strip() for part in text.split(",")]
    except ValueError as error:
        raise ModelFormatError(
            f"{graph.name}: metadata {EXITS_KEY}: expected a JSON array of output names, found {text!r}"
        ) from error
    for name in names:
        if name not in graph.outputs:
            raise ModelFormatError(
                f"{graph.name}: metadata {EXITS_KEY}: expected names of outputs "
                f"({', '.join(graph.outputs)}), found {name!r}"
            )
    if len(set(names)) != len(names):
        raise ModelFormatError(f"{graph.name}: metadata {EXITS_KEY}: expected different names, found {names}")
    return [graph.outputs.index(name) for name in names]


def segments(graph: ir.Graph, exits: list[int]) -> list[list[ir.Node]]:
    """Nodes of each segment in topological order; without exits one segment holds all. What no exit needs comes
    last."""
    order = list(graph)
    if not exits:
        return [order]
    done: set[ir.Node] = set()
    result = []
    for index in exits[:-1]:
        needed = _ancestors(graph.outputs[index], graph)
        result.append([n for n in order if n in needed and n not in done])
        done |= needed
    result.append([n for n in order if n not in done])
    return result


def _ancestors(value: ir.Value, graph: ir.Graph) -> set[ir.Node]:
    found: set[ir.Node] = set()
    pending = [value.producer()]
    while pending:
        node = pending.pop()
        if node is None or node in found or node.graph is not graph:
            continue
        found.add(node)
        pending += [v.producer() for v in node.inputs if v is not None]
        pending += [v.producer() for v in captured(node)]
    return found

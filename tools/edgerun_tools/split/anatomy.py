"""What reads and makes what in an ONNX graph, and which tensors a cut has to pass on."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import onnx

from edgerun.errors import OptionError

LISTED = 5


@dataclass(frozen=True)
class Halves:
    """Nodes of both sides by number, in order, and the outputs of the model that each side has. Nodes that compute constants may be on
    both sides. also: what the tail needs beside the tensors of the cut."""

    head: tuple[int, ...]
    tail: tuple[int, ...]
    head_outputs: tuple[str, ...]
    tail_outputs: tuple[str, ...]
    also: tuple[str, ...]


@dataclass(frozen=True)
class Anatomy:
    """A graph, its tensors by name. Every name is made once (ONNX: single assignment)."""

    graph: onnx.GraphProto
    name: str
    makers: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.makers.update((out, k) for k, node in enumerate(self.graph.node) for out in node.output if out)

    @cached_property
    def reads(self) -> list[tuple[str, ...]]:
        """Names that each node reads, those in its subgraphs included."""
        return [tuple(dict.fromkeys(_reads(node))) for node in self.graph.node]

    @cached_property
    def weights(self) -> frozenset[str]:
        """Names of initializers."""
        return frozenset(i.name for i in self.graph.initializer)

    @cached_property
    def fed(self) -> frozenset[str]:
        """Names that depend on an input of the model, those inputs included."""
        return self._forward({i.name for i in self.graph.input} - self.weights)

    def _forward(self, names: Iterable[str]) -> frozenset[str]:
        found = set(names)
        for k, node in enumerate(self.graph.node):  # in topological order: ONNX demands it
            if not found.isdisjoint(self.reads[k]):
                found.update(o for o in node.output if o)
        return frozenset(found)

    def backward(self, names: Iterable[str], stop: Collection[str] = ()) -> tuple[set[int], set[str]]:
        """(nodes that `names` need, names that were met), not going past `stop`."""
        nodes: set[int] = set()
        met: set[str] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name in met:
                continue
            met.add(name)
            k = self.makers.get(name)
            if k is not None and name not in stop and k not in nodes:
                nodes.add(k)
                pending += self.reads[k]
        return nodes, met

    def halves(self, tensors: Sequence[str]) -> Halves:
        """Both sides of a cut at these tensors. OptionError for a name that is no computed tensor, or that leaves a side empty."""
        for t in tensors:
            if t not in self.makers or t not in self.fed:
                self._refuse(t)
        behind = self._forward(tensors)
        outputs = [o.name for o in self.graph.output]
        after = [o for o in outputs if o in behind and o not in tensors]
        before = [o for o in outputs if o not in after]
        made_after = {o for o in behind if self.makers.get(o) is not None and o not in tensors}
        # What the tail cannot make of the cut's tensors and constants is passed on, too: where it is first met
        passed: set[str] = set(tensors)
        _, met = self.backward(after, stop=self.fed - made_after)
        passed |= {m for m in met if m in self.fed and m not in made_after}
        tail, _ = self.backward(after, stop=passed)
        head, _ = self.backward([*before, *passed])
        if not after or not head:
            raise OptionError(f"{self.name}: --at {','.join(tensors)}: expected a tensor with work before and behind it; found that the "
                              f"{'tail' if head else 'head'} would be empty")
        order = [i.name for i in self.graph.input] + [o for node in self.graph.node for o in node.output]
        also = sorted(passed - set(tensors), key=order.index)
        return Halves(tuple(sorted(head)), tuple(sorted(tail)), tuple(before), tuple(after), tuple(also))

    def _refuse(self, tensor: str) -> None:
        if tensor in self.makers or tensor in self.weights:
            what = "a constant"
        elif tensor in {i.name for i in self.graph.input}:
            what = "an input of the model: serve the whole model instead"
        else:
            known = [o for k in sorted({self.makers[f] for f in self.fed if f in self.makers}) for o in self.graph.node[k].output if o]
            near = difflib.get_close_matches(tensor, known, LISTED, 0.3) or known[:LISTED]
            what = f"none of that name; near it: {', '.join(near)}; --auto lists those that can be cut"
        raise OptionError(f"{self.name}: --at {tensor}: expected a tensor that a node computes from the inputs; found {what}")


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _captured(graph)


def _captured(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of outer graphs that a subgraph uses."""
    local = {i.name for i in (*graph.input, *graph.initializer)} | {o for node in graph.node for o in node.output}
    for node in graph.node:
        yield from (name for name in _reads(node) if name not in local)
    yield from (o.name for o in graph.output if o.name not in local)

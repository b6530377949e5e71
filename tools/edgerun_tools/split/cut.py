"""The two models of a cut: ordinary ONNX files that any runtime takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx
import onnx.shape_inference

from edgerun import exits
from edgerun.describe import EXITS_KEY, describe
from edgerun.errors import OptionError, PolicyError
from edgerun.exits import store
from edgerun.importer.load import load
from edgerun.importer.read import read
from edgerun.planner.plan import Policy
from edgerun.splits import KEY
from edgerun_tools.split.anatomy import Anatomy


@dataclass(frozen=True)
class Cut:
    """tensors: what travels, [{"name", "dtype", "shape"}], shape of a batch of 1."""

    head: onnx.ModelProto
    tail: onnx.ModelProto
    tensors: tuple[dict[str, Any], ...]
    head_exits: tuple[str, ...]
    tail_exits: tuple[str, ...]


class Splitter:
    """A model that is to be cut, read once."""

    def __init__(self, model: str) -> None:
        """Raises ModelError."""
        self.name = model
        self.proto = read(model).proto
        self.said = describe(self.proto, model)
        self.anatomy = Anatomy(self.proto.graph, model)
        self._declared = {v.name: v for v in onnx.shape_inference.infer_shapes(self.proto).graph.value_info}
        values = load(model).model.graph
        self._static = {v.name: (v.dtype, tuple(v.shape)) for node in values for v in node.outputs
                        if v.name and v.shape is not None and v.dtype is not None and all(isinstance(d, int) for d in v.shape)}

    def shape(self, tensor: str) -> tuple[str, tuple[int, ...]] | None:
        """(NumPy name of the type, shape of a batch of 1), None where that is not known ahead of time."""
        if tensor not in self._static:
            return None
        dtype, shape = self._static[tensor]
        return dtype.numpy().name, tuple(int(d) for d in shape)

    def cut(self, tensors: Sequence[str]) -> Cut:
        """OptionError where the tail needs more than `tensors`, naming what, and for names that cannot be cut at."""
        tensors = tuple(dict.fromkeys(tensors))
        halves = self.anatomy.halves(tensors)
        if halves.also:
            also = ", ".join(halves.also)
            inputs = {i.name for i in self.said.inputs} & set(halves.also)
            named = " ".join(f"--at {t}" for t in (*tensors, *halves.also))
            advice = "cut behind where it is last read" if inputs else f"cut at all of them: {named}"
            raise OptionError(f"{self.name}: --at {','.join(tensors)}: expected tensors that all of the rest comes from; found that it "
                              f"reads {also}, too; {advice}")
        if unknown := [t for t in tensors if self.shape(t) is None]:
            raise OptionError(f"{self.name}: --at {unknown[0]}: expected a tensor of known shape; found one that depends on data")
        carried = [self._info(t) for t in tensors]
        outputs = {o.name: o for o in self.proto.graph.output}
        head_exits = tuple(e for e in self.said.exits if e in halves.head_outputs)
        tail_exits = tuple(e for e in self.said.exits if e in halves.tail_outputs)
        behind = tuple(t for t in tensors if t not in halves.head_outputs)
        head = self._part(halves.head, [i for i in self.proto.graph.input if i.name not in self.anatomy.weights],
                          [*(outputs[o] for o in halves.head_outputs), *(c for c in carried if c.name in behind)])
        tail = self._part(halves.tail, carried, [outputs[o] for o in halves.tail_outputs])
        if head_exits and len(tensors) == 1 and self.shape(tensors[0])[0] == "float32":  # type: ignore[index]
            self._tell_exits(head, (*head_exits, tensors[0]), len(head_exits), 0)
        if len(tail_exits) > 1:
            self._tell_exits(tail, tail_exits, len(tail_exits) - 1, len(head_exits))
        said = []
        for t in tensors:
            dtype, shape = self.shape(t)  # type: ignore[misc]
            said.append({"name": t, "dtype": dtype, "shape": list(shape)})
        for part, role in ((head, "head"), (tail, "tail")):
            part.metadata_props.add(key=KEY, value=json.dumps({"role": role, "tensors": list(tensors),
                                                               "model_sha256": store.graph_digest(self.proto)}))
        return Cut(head, tail, tuple(said), head_exits, tail_exits)

    def _info(self, tensor: str) -> onnx.ValueInfoProto:
        """As ONNX infers it, symbols included; where it cannot, as the importer does, with the batch left open if it is of the inputs."""
        known = self._declared.get(tensor)
        if known is not None and known.type.tensor_type.HasField("shape"):
            return known
        dtype, shape = self._static[tensor]
        dims: list[int | str] = [int(d) for d in shape]
        if dims and dims[0] == 1 and all(i.shape and isinstance(i.shape[0], str) for i in self.said.inputs):
            dims[0] = str(self.said.inputs[0].shape[0])
        return onnx.helper.make_tensor_value_info(tensor, int(dtype), dims)

    def _part(self, nodes: Iterable[int], inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        graph, whole = self.proto.graph, onnx.ModelProto()
        whole.CopyFrom(self.proto)
        part = whole.graph
        nodes = list(nodes)
        read_here = {name for k in nodes for name in self.anatomy.reads[k]} | {o.name for o in outputs}
        made_here = {o for k in nodes for o in graph.node[k].output}
        for field in ("node", "input", "output", "value_info", "initializer", "sparse_initializer", "quantization_annotation"):
            part.ClearField(field)
        part.node.extend(graph.node[k] for k in nodes)
        part.input.extend(inputs)
        part.output.extend(outputs)
        part.initializer.extend(i for i in graph.initializer if i.name in read_here)
        part.sparse_initializer.extend(i for i in graph.sparse_initializer if i.values.name in read_here)
        part.value_info.extend(v for v in graph.value_info if v.name in made_here and v.name not in {o.name for o in outputs})
        del whole.metadata_props[:]
        whole.metadata_props.extend(p for p in self.proto.metadata_props if p.key not in (EXITS_KEY, exits.KEY, KEY))
        return whole

    # -- exits --------------------------------------------------------------------------------------------------------

    def _tell_exits(self, part: onnx.ModelProto, names: Sequence[str], asked: int, first: int) -> None:
        """Names the exits of a part, and takes over the tables of those where the run may stop: `asked` from `first` on."""
        part.metadata_props.add(key=EXITS_KEY, value=json.dumps(list(names)))
        text = self.said.metadata.get(exits.KEY)
        if text is None:
            return
        try:
            whole = store.loads(text, len(self.said.exits), store.graph_digest(self.proto))
        except PolicyError:
            return  # stale already: the whole model's exits need calibrating, too
        kept = {n: _stretch(p, first, asked) for n, p in whole.policies.items() if first == 0 or n != "dart"}
        # The difficulty is one of the input, which the tail does not have
        end = first + asked
        costs, times = whole.costs, whole.segment_ns
        part_of = replace(whole, model_sha256=store.graph_digest(part), policies=kept, segment_ns=(*times[first:end], times[end]),
                          costs=(*costs[first:end], costs[end]), expected={}, front={})
        part.metadata_props.add(key=exits.KEY, value=store.dumps(part_of))


def _stretch(policy: Policy, first: int, count: int) -> Policy:
    """The tables of `count` exits from `first` on, and of one behind them where nothing is asked."""
    end = first + count
    last: Mapping[str, Any] = {"temperature": (*policy.temperature[first:end], 1.0)} if policy.temperature else {}
    return replace(policy, thresholds=policy.thresholds[first:end], table=policy.table[first:end], coeff=policy.coeff[first:end], **last)

"""The model that is hardened, as the checks see it: who makes and reads a value, constants, shapes, and room for more nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgerun.errors import ModelError
from edgerun_tools.hardening.opset import Dim, inferred, opset_of, raised

PREFIX = "edgerun_harden/"
"""Names of everything that hardening adds, but for the two outputs."""
_FOLDED = frozenset({"Cast", "Constant", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze",
                     "Transpose", "Unsqueeze"})
"""Operators through which a weight stays a constant."""
_QUANTISED = 19

_NUMBERS = frozenset(helper.np_dtype_to_tensor_dtype(np.dtype(c)) for c in "bBhHiIlLfd")


class Graph:
    """A copy of an onnx.ModelProto that grows. Nodes that are added run right after the node they belong to.

    ModelError where the model has an opset below 13 that ONNX's converter cannot raise.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = raised(model)
        self.graph = self.model.graph
        self.opset = opset_of(self.model)
        held = {i.name: i for i in self.graph.initializer}
        inputs = [i for i in self.graph.input if i.name not in held]
        del self.graph.input[:]
        self.graph.input.extend(inputs)
        self.nodes = list(self.graph.node)
        self.outputs = [o.name for o in self.graph.output]
        self.inputs = [i.name for i in inputs]
        self.initializers = {n: i.dims for n, i in held.items()}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        self.producer: dict[str, onnx.NodeProto] = {}
        for node in self.nodes:
            for name in dict.fromkeys(_read_by(node)):
                self.readers.setdefault(name, []).append(node)
            self.producer.update((name, node) for name in node.output if name)
        self._constants: dict[str, np.ndarray | None] = {n: numpy_helper.to_array(i) for n, i in held.items()}
        self._types, self._shapes = inferred(self.model)
        self._place = {id(node): k for k, node in enumerate(self.nodes)}
        self._after: dict[int, list[onnx.NodeProto]] = {}
        self._names = set(self.producer) | set(held) | set(self.inputs)
        self._shared: dict[tuple[str, bytes, tuple[int, ...]], str] = {}
        self._count = 0
        self.at = 0

    # -- what is there --------------------------------------------------------------------------------------------

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a constant: an initializer, or what shape-like and quantisation operators make of some."""
        if name not in self._constants:
            self._constants[name] = None  # what depends on itself is no constant
            node = self.producer.get(name)
            if node is not None and node.op_type in _FOLDED and not node.domain:
                self._constants[name] = self._evaluated(node)
        return self._constants[name]

    def _evaluated(self, node: onnx.NodeProto) -> np.ndarray | None:
        feeds = {n: self.constant(n) for n in node.input if n}
        if any(v is None for v in feeds.values()) or len(node.output) != 1:
            return None
        infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
                 for n, v in feeds.items() if v is not None]
        out = helper.make_empty_tensor_value_info(node.output[0])
        # onnx.reference has the quantisation operators from this version on, which means the same
        opset = max(self.opset, _QUANTISED) if "antize" in node.op_type else self.opset
        single = helper.make_model(helper.make_graph([node], "constant", infos, [out]),
                                   opset_imports=[helper.make_opsetid("", opset)])
        return np.asarray(ReferenceEvaluator(single).run(None, feeds)[0])

    def shape(self, name: str) -> tuple[Dim, ...] | None:
        """Dimensions: a number, the name of a symbol, or None where nothing is known; None: not even the rank."""
        held = self._constants.get(name)
        return held.shape if held is not None else self._shapes.get(name)

    def is_float(self, name: str) -> bool:
        """Whether a value is known to be float32."""
        held = self._constants.get(name)
        return held.dtype == np.float32 if held is not None else self._types.get(name) == onnx.TensorProto.FLOAT

    def rank(self, name: str) -> int | None:
        shape = self.shape(name)
        return None if shape is None else len(shape)

    def numeric_input(self) -> str | None:
        """The first input of the model that is a tensor of numbers with a rank of 1 or more."""
        return next((n for n in self.inputs if self._types.get(n) in _NUMBERS and self.rank(n) != 0), None)

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """The node that alone reads a value which is no output of the model."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    # -- what is added --------------------------------------------------------------------------------------------

    def after(self, node: onnx.NodeProto) -> None:
        """Put what is added from here on behind this node of the model."""
        self.at = self._place[id(node)]

    def at_start(self) -> None:
        """Put what is added from here on before the first node."""
        self.at = -1

    def at_end(self) -> None:
        """Put what is added from here on behind the last node."""
        self.at = len(self.nodes)

    def name(self, hint: str) -> str:
        """A name that nothing has yet."""
        while True:
            self._count += 1
            name = f"{PREFIX}{hint}_{self._count}"
            if name not in self._names:
                self._names.add(name)
                return name

    def add(self, op: str, inputs: Sequence[str], hint: str = "", **attributes: Any) -> str:
        """A new node with one output, whose name is returned."""
        name = self.name(hint or op)
        self._after.setdefault(self.at, []).append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def add_constant(self, value: np.ndarray, hint: str = "constant", *, shared: bool = False) -> str:
        """A new initializer. shared: equal values that were added before serve again (never for golden data)."""
        value = np.ascontiguousarray(value)
        key = (value.dtype.str, value.tobytes(), value.shape) if shared else None
        if key is not None and key in self._shared:
            return self._shared[key]
        name = self.name(hint)
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        if key is not None:
            self._shared[key] = name
        return name

    def reduce(self, op: str, x: str, axes: Sequence[int] | None, keepdims: int = 1) -> str:
        """ReduceSum, ReduceL2 …: axes are an attribute or an input, as the opset has it; None: all of them."""
        if axes is None:
            return self.add(op, [x], keepdims=keepdims)
        if self.opset >= 18 or op == "ReduceSum":
            return self.add(op, [x, self.add_constant(np.array(axes, np.int64), "axes", shared=True)], keepdims=keepdims)
        return self.add(op, [x], axes=list(axes), keepdims=keepdims)

    def squares(self, x: str, axes: Sequence[int] | None) -> str:
        """The sum of squares, dimensions kept. ONNX Runtime's ReduceL2 over some axes is several times slower than this."""
        return self.reduce("ReduceSum", self.add("Mul", [x, x]), axes)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        return self.add("Reshape", [x, self.add_constant(np.array(shape, np.int64), "shape", shared=True)])

    def add_output(self, name: str, op: str, inputs: Sequence[str], shape: Sequence[int], **attributes: Any) -> None:
        """A node at the end whose result is a new output of the model, bool of this shape. ModelError where the name is taken."""
        if name in self._names:
            raise ModelError(f"harden: expected a model without a value named {name}; found one; harden the model that this one "
                             "was made from")
        self.at_end()
        self._after.setdefault(self.at, []).append(helper.make_node(op, list(inputs), [name], PREFIX + name, **attributes))
        self.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.BOOL, shape))

    def finish(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The model with everything that was added, and these entries of metadata besides or instead of its own."""
        ordered = list(self._after.get(-1, []))
        for k, node in enumerate(self.nodes):
            ordered += [node, *self._after.get(k, [])]
        ordered += self._after.get(len(self.nodes), [])
        del self.graph.node[:]
        self.graph.node.extend(ordered)
        kept = {p.key: p.value for p in self.model.metadata_props} | dict(metadata)
        del self.model.metadata_props[:]
        for key, value in kept.items():
            self.model.metadata_props.add(key=key, value=value)
        return self.model


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or the default."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def layer(node: onnx.NodeProto) -> str:
    """What reports call a node."""
    return node.name or node.output[0]


def _read_by(node: onnx.NodeProto) -> list[str]:
    """Names that a node reads, those that its sub-graphs take from outside included."""
    names = [n for n in node.input if n]
    for a in node.attribute:
        for inner in ([a.g] if a.HasField("g") else list(a.graphs)):
            own = {i.name for i in inner.initializer} | {i.name for i in inner.input}
            own |= {o for n in inner.node for o in n.output}
            names += [n for k in inner.node for n in _read_by(k) if n not in own]
            names += [o.name for o in inner.output if o.name not in own]
    return names


"""What a model file says about itself: inputs, outputs, exits, labels, preprocessing, calibration."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from edgerun.errors import ModelFormatError, OptionError, UnsupportedOpError
from edgerun.feeds import TensorInfo
from edgerun.preprocess import METADATA_KEY, Preprocess
from edgerun.splits import KEY as SPLIT_KEY

EXITS_KEY = "edgerun.exits"
LABELS_KEY = "edgerun.labels"
SAME_VALUES = frozenset({"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast"})
"""Operators that pass the values of their first input on."""


@dataclass(frozen=True)
class Description:
    """Read from an onnx.ModelProto by `describe`; `exits` lists output names, first exit to last, `probabilities` the
    outputs that a Softmax makes. `features`: of the head of a split model, the tensor that goes to the server, which
    stands as its last exit."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    metadata: Mapping[str, str]
    exits: tuple[str, ...]
    labels: tuple[str, ...]
    preprocess: Preprocess | None
    probabilities: frozenset[str]
    features: str = ""


def describe(model: onnx.ModelProto, name: str) -> Description:
    """The model's own words, checked. ModelFormatError (with `name`) where an entry of ours is malformed."""
    constants = {i.name for i in model.graph.initializer}
    inputs = _infos(i for i in model.graph.input if i.name not in constants)
    outputs = _infos(model.graph.output)
    metadata = {p.key: p.value for p in model.metadata_props}
    exits = _strings(metadata, EXITS_KEY, name)
    unknown = [e for e in exits if e not in {o.name for o in outputs}]
    if unknown or len(exits) == 1 or len(set(exits)) != len(exits):
        raise ModelFormatError(f"{name}: metadata {EXITS_KEY}: expected at least two different names of outputs "
                               f"({', '.join(o.name for o in outputs)}); found {', '.join(exits)}")
    recipe = Preprocess.of(metadata) if METADATA_KEY in metadata else None
    return Description(inputs, outputs, metadata, exits, _strings(metadata, LABELS_KEY, name), recipe,
                       _probabilities(model.graph), _features(metadata, exits, name))


def class_count(output: TensorInfo) -> int | None:
    """Scores per sample of an output [batch, classes …]; None where the model does not declare it, 0 without a batch."""
    sizes = [d for d in output.shape[1:] if isinstance(d, int)]
    if not output.shape or len(sizes) < len(output.shape) - 1:
        return None
    return math.prod(sizes) if sizes else 0


def restricted(model: onnx.ModelProto, name: str, outputs: Sequence[str]) -> onnx.ModelProto:
    """A copy of the model with these outputs only, and without exits. OptionError for names that are none."""
    known = {o.name: o for o in model.graph.output}
    unknown = [o for o in outputs if o not in known]
    if unknown or not outputs:
        raise OptionError(f"{name}: outputs: expected some of {', '.join(known)}; found {', '.join(unknown) or 'none'}")
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    del kept.graph.output[:], kept.metadata_props[:]
    kept.graph.output.extend(known[o] for o in dict.fromkeys(outputs))
    kept.metadata_props.extend(p for p in model.metadata_props if p.key != EXITS_KEY)
    return kept


def _probabilities(graph: onnx.GraphProto) -> frozenset[str]:
    """Outputs whose values come from a Softmax. (Those of a LogSoftmax count as logits: softmax undoes the logarithm.)"""
    makers = {name: node for node in graph.node for name in node.output}

    def maker(name: str) -> str:
        node = makers.get(name)
        while node is not None and node.op_type in SAME_VALUES:
            node = makers.get(node.input[0])
        return "" if node is None else node.op_type

    return frozenset(o.name for o in graph.output if maker(o.name) == "Softmax")


def _features(metadata: Mapping[str, str], exits: tuple[str, ...], name: str) -> str:
    try:
        said = json.loads(metadata.get(SPLIT_KEY, "{}"))
        tensors = said["tensors"] if said.get("role") == "head" else []
    except (ValueError, RecursionError, KeyError, AttributeError) as e:
        raise ModelFormatError(f"{name}: metadata {SPLIT_KEY}: expected what `edgerun split` writes; found "
                               f"{metadata[SPLIT_KEY][:80]!r}") from e
    return exits[-1] if exits and exits[-1] in tensors else ""


def _infos(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorInfo, ...]:
    return tuple(_info(v) for v in values)


def _info(value: onnx.ValueInfoProto) -> TensorInfo:
    kind = value.type.WhichOneof("value")
    if kind not in ("tensor_type", None):
        raise UnsupportedOpError(f"'{value.name}': expected a tensor; found {kind}, which a session cannot pass on")
    tensor = value.type.tensor_type
    dims = tuple(d.dim_value if d.dim_value > 0 or (d.HasField("dim_value") and not d.dim_value) else (d.dim_param or None)
                 for d in tensor.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type) if tensor.elem_type else np.dtype(object)
    return TensorInfo(value.name, dims, dtype)


def _strings(metadata: Mapping[str, str], key: str, name: str) -> tuple[str, ...]:
    if key not in metadata:
        return ()
    try:
        found = json.loads(metadata[key])
    except (ValueError, RecursionError) as e:
        raise ModelFormatError(f"{name}: metadata {key}: expected a JSON list of strings; found {e}") from e
    if not isinstance(found, list) or not all(isinstance(v, str) for v in found):
        raise ModelFormatError(f"{name}: metadata {key}: expected a JSON list of strings; found {metadata[key][:80]!r}")
    return tuple(found)

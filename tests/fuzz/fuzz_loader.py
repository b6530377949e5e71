"""Atheris on the loader: whatever a model file holds, loading and running it ends in an EdgeRunError or in an answer.

    python tests/fuzz/fuzz_loader.py tests/fuzz/corpus/models -max_total_time=60

Inputs are ONNX files. Half of the mutations are libFuzzer's own on the bytes; the others are of the model: one attribute,
dimension, type, name, operand or node is changed, so that what comes behind the parser is reached.
"""

from __future__ import annotations

import random
import resource
import sys
import warnings

import atheris

with atheris.instrument_imports(include=["edgerun.importer", "edgerun.ops", "edgerun.passes", "edgerun.planner",
                                         "edgerun.executors", "edgerun.describe", "edgerun.session", "edgerun.plans"]):
    import edgerun
    import edgerun.executors.python
    from edgerun.feeds import random_feeds

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto

MEMORY = 64 << 20
SECONDS = 1.0
ODD = (0, 1, -1, 2, 3, 7, 64, 255, 256, 65536, 2**31 - 1, -(2**31), 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan"))


def run_one(data: bytes) -> None:
    """Anything but an EdgeRunError that blames the model is a finding: atheris reports what escapes."""
    try:
        with edgerun.Session(data, threads=1, max_memory=MEMORY, timeout=SECONDS, max_trips=1000, max_nodes=5000) as session:
            if all(i.fixed for i in session.fixed_inputs):
                session.run(random_feeds(session.fixed_inputs))
    except edgerun.EdgeRunError as error:
        if not str(error):
            raise AssertionError(f"an error without a message: {type(error).__name__}") from error
        if "a defect of edgerun" in str(error):
            raise


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """atheris' custom mutator: bytes or structure."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        return atheris.Mutate(data, most)
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RuntimeError):
        return atheris.Mutate(data, most)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        try:
            rng.choice(CHANGES)(proto, rng)
        except (ValueError, TypeError, IndexError):  # a change that this model has no place for
            continue
    changed: bytes = proto.SerializeToString()
    return changed if len(changed) <= most else atheris.Mutate(data, most)


def _graph(proto: ModelProto, rng: random.Random) -> onnx.GraphProto:
    """The graph, or one of those in its attributes."""
    graph = proto.graph
    inner = [a.g for n in graph.node for a in n.attribute if a.HasField("g")]
    return rng.choice(inner) if inner and rng.random() < 0.4 else graph


def _node(proto: ModelProto, rng: random.Random) -> onnx.NodeProto:
    return rng.choice(_graph(proto, rng).node)


def _names(graph: onnx.GraphProto) -> list[str]:
    return [*(i.name for i in graph.input), *(t.name for t in graph.initializer), *(o for n in graph.node for o in n.output), "", "nowhere"]


def _attribute(proto: ModelProto, rng: random.Random) -> None:
    a = rng.choice(_node(proto, rng).attribute)
    if a.type == AttributeProto.INT:
        a.i = rng.choice(ODD)
    elif a.type == AttributeProto.INTS:
        k = rng.randrange(len(a.ints) + 1)
        if k < len(a.ints) and rng.random() < 0.7:
            a.ints[k] = rng.choice(ODD)
        else:
            a.ints.append(rng.choice(ODD))
    elif a.type == AttributeProto.FLOAT:
        a.f = rng.choice(FLOATS)
    elif a.type == AttributeProto.STRING:
        a.s = rng.choice((b"", b"VALID", b"SAME_LOWER", b"linear", b"a->a", b"...->", b"\xff", a.s * 2, a.s[1:]))
    else:
        a.type = rng.choice((0, 1, 2, 3, 4, 5, 6, 7))


def _drop_attribute(proto: ModelProto, rng: random.Random) -> None:
    attributes = _node(proto, rng).attribute
    del attributes[rng.randrange(len(attributes))]


def _operand(proto: ModelProto, rng: random.Random) -> None:
    graph = _graph(proto, rng)
    ends = rng.choice([n.input for n in graph.node] + [n.output for n in graph.node])
    k = rng.randrange(len(ends) + 1)
    if k < len(ends) and rng.random() < 0.8:
        ends[k] = rng.choice(_names(graph))
    else:
        ends.append(rng.choice(_names(graph)))


def _operator(proto: ModelProto, rng: random.Random) -> None:
    n = _node(proto, rng)
    n.op_type = rng.choice(onnx.defs.get_all_schemas()).name


def _repeat(proto: ModelProto, rng: random.Random) -> None:
    graph = _graph(proto, rng)
    graph.node.insert(rng.randrange(len(graph.node) + 1), rng.choice(graph.node))


def _remove(proto: ModelProto, rng: random.Random) -> None:
    graph = _graph(proto, rng)
    del graph.node[rng.randrange(len(graph.node))]


def _dimension(proto: ModelProto, rng: random.Random) -> None:
    graph = _graph(proto, rng)
    if rng.random() < 0.5:
        dims = rng.choice([*graph.input, *graph.output]).type.tensor_type.shape.dim
        d = rng.choice(dims) if rng.random() < 0.8 else dims.add()
        if rng.random() < 0.2:
            d.dim_param = rng.choice(("n", "m", ""))
        else:
            d.dim_value = rng.choice(ODD)
    else:
        t = rng.choice(graph.initializer)
        t.dims[rng.randrange(len(t.dims))] = rng.choice(ODD)


def _type(proto: ModelProto, rng: random.Random) -> None:
    graph = _graph(proto, rng)
    if rng.random() < 0.5:
        rng.choice([*graph.input, *graph.output]).type.tensor_type.elem_type = rng.randrange(30)
    else:
        rng.choice(graph.initializer).data_type = rng.randrange(30)


def _constant(proto: ModelProto, rng: random.Random) -> None:
    t = rng.choice(_graph(proto, rng).initializer)
    raw = bytearray(t.raw_data)
    size = 8 if t.data_type == 7 else 4
    at = rng.randrange(len(raw) // size) * size
    number = rng.choice(ODD) % 2 ** (8 * size)
    raw[at:at + size] = number.to_bytes(size, "little")
    t.raw_data = bytes(raw)


def _opset(proto: ModelProto, rng: random.Random) -> None:
    rng.choice(proto.opset_import).version = rng.choice((1, 7, 9, 11, 12, 13, 14, 18, 19, 21, 23, 24, 99))


CHANGES = (_attribute, _attribute, _drop_attribute, _operand, _operand, _operator, _operator, _repeat, _remove, _dimension, _dimension,
           _type, _constant, _constant, _opset)


def main() -> None:
    """Set up and fuzz; arguments are libFuzzer's."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    atheris.Setup(sys.argv, run_one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Which values cannot be negative: sums of their absolute values are sums of themselves, and nothing cancels in them."""

from __future__ import annotations

from edgerun_tools.hardening.graph import Graph, attribute

_ALWAYS = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "ReduceL1", "ReduceL2", "Softplus"})
_PASSED = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Reshape", "Flatten", "Transpose", "Squeeze",
                     "Unsqueeze", "Identity", "Slice", "Gather", "Dropout", "DepthToSpace", "SpaceToDepth"})
_IF_ALL = frozenset({"Add", "Mul", "Concat", "Max", "Sum"})
_MOST_STEPS = 64


def nonnegative(graph: Graph, name: str, steps: int = _MOST_STEPS) -> bool:
    """Whether every element is ≥ 0 (or NaN) in a fault-free run, whatever the inputs. False: not known."""
    held = graph.constant(name)
    if held is not None:
        return bool((held >= 0).all())
    node = graph.producer.get(name)
    if node is None or node.domain or steps == 0:
        return False
    if node.op_type in _ALWAYS:
        return True
    if node.op_type in _PASSED:
        return name == node.output[0] and nonnegative(graph, node.input[0], steps - 1)
    if node.op_type in _IF_ALL:
        return all(nonnegative(graph, n, steps // 2) for n in node.input)
    if node.op_type == "Clip":
        low = graph.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else None
        return low is not None and bool((low >= 0).all())
    if node.op_type == "Pad":
        return attribute(node, "mode", b"constant") != b"constant" and nonnegative(graph, node.input[0], steps - 1)
    if node.op_type == "DequantizeLinear":
        return _dequantised(graph, list(node.input), steps)
    return False


def _dequantised(graph: Graph, inputs: list[str], steps: int) -> bool:
    """Stored numbers are at least the type's lowest: no zero point above it, no negative; or the source of the quantised is none."""
    scale, zero = graph.constant(inputs[1]), graph.constant(inputs[2]) if len(inputs) > 2 and inputs[2] else None
    if scale is None or (scale < 0).any() or zero is None or zero.dtype.kind not in "iu":
        return False
    low = min(0, int(_lowest(zero.dtype.itemsize, zero.dtype.kind)))
    if (zero.astype(int) == low).all():
        return True
    maker = graph.producer.get(inputs[0])
    return maker is not None and maker.op_type == "QuantizeLinear" and nonnegative(graph, maker.input[0], steps - 1)


def _lowest(size: int, kind: str) -> int:
    return 0 if kind == "u" else -(1 << (8 * size - 1))

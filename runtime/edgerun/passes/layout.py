"""Layout: transposes move towards the outputs, merge, cancel, and turn into views or permuted weights.

Convolutions and pools arrive as transpose → channels-last node → transpose. One walk in topological order lets every
other
operator work in front of the transposes of its operands (`ops.registry.remaps`, elementwise operators by themselves),
so that
transposes meet and cancel. At the end a network converted from a channels-last framework has none left.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from edgerun.ops.graph import (
    array_of,
    channels_first,
    channels_last,
    elements,
    get,
    inverse,
    is_op,
    make,
    permuted,
    producer,
    shape_of,
)
from edgerun.ops.quantized import reshaped, transposed
from edgerun.ops.registry import ELEMENTWISE, REMAPS

from .edit import before, drop, only_use, rebuild, replace, set_attrs, sweep
from .views import is_view, merge_reshape, permute_rows, sink_through_reshape, transposed_matmul

Perm = tuple[int, ...]
Seen = dict[tuple[ir.Value, Perm], ir.Value]


def layout(model: ir.Model) -> int:
    """Returns how many nodes were moved, merged or removed."""
    count = _walk(model.graph, {}) + sweep(model.graph)
    return count + sum(_views(graph) for graph in model.graphs()) + sweep(model.graph)


def _views(graph: ir.Graph) -> int:
    """Transposes that are still there and move no byte become reshapes, and these merge with their neighbours."""
    count = 0
    for node in list(graph):
        if is_op(node, "transpose") and is_view(shape_of(node.inputs[0]), get(node, "perm")):  # type: ignore[arg-type]
            view = make("reshape", node.inputs, {}, [(shape_of(node.outputs[0]), node.outputs[0].dtype)], like=node)
            replace(node.outputs[0], before(node, view))
            drop(node)
            merge_reshape(view)
            count += 1
        elif is_op(node, "reshape"):
            count += merge_reshape(node)
    return count


def _walk(graph: ir.Graph, seen: Seen) -> int:
    count = 0
    for node in list(graph):
        for attr in node.attributes.values():
            if attr.type == ir.AttributeType.GRAPH:
                count += _walk(attr.value, dict(seen))
        if is_op(node, "transpose"):
            count += _transpose(node, seen, hoist=True)
        elif is_op(node, "reshape"):
            count += merge_reshape(node) or _moved(sink_through_reshape(node), seen)
        elif is_op(node, "matmul"):
            changed, made = transposed_matmul(node)
            count += changed + sum(_transpose(new, seen) for new in made) + permute_rows(node)
        elif is_op(node, *ELEMENTWISE, *REMAPS):
            count += _sink(node, seen)
    return count


def _moved(transpose: ir.Node | None, seen: Seen) -> int:
    """A transpose in its new place is merged with what is in front of it there."""
    return 0 if transpose is None else 1 + _transpose(transpose, seen)


def _transpose(node: ir.Node, seen: Seen, hoist: bool = False) -> int:
    """Merge with a transpose in front; replace by a constant, nothing, or an equal transpose seen before.

    hoist: a transpose to channels-last may also move in front of what enlarges its operand.
    """
    x, perm, out = node.inputs[0], tuple(get(node, "perm")), node.outputs[0]
    assert x is not None
    if is_op(inner := producer(x), "transpose"):
        assert inner is not None and inner.inputs[0] is not None
        x, perm = inner.inputs[0], permuted(get(inner, "perm"), perm)
        node.replace_input_with(0, x)
        set_attrs(node, {"perm": perm})
    array = array_of(x)
    if hoist and perm == channels_last(len(perm)) and _grows(x, node):
        result = _hoist(node, seen)
    elif array is not None:
        result = transposed(x, perm)
    elif perm == tuple(range(len(perm))):
        result = x
    else:
        result = seen.setdefault((x, perm), out)
        if result is out:
            return 0
    replace(out, result)
    drop(node)
    return 1


def _grows(x: ir.Value, user: ir.Node) -> bool:
    """Whether x is a padded or enlarged tensor that only `user` reads: cheaper to transpose before, and a Pad then
    meets its Conv."""
    node = producer(x)
    return (
        is_op(node, "pad", "resize_nearest", "resize_linear")
        and node is not None
        and only_use(x, user)
        and (elements(shape_of(x)) >= elements(shape_of(node.inputs[0])))
    )  # type: ignore[arg-type]


def _hoist(node: ir.Node, seen: Seen) -> ir.Value:
    """transpose(front(x)) → front'(transpose(x)); returns the latter."""
    front = producer(node.inputs[0])
    assert front is not None and front.inputs[0] is not None
    x, perm = front.inputs[0], tuple(get(node, "perm"))
    remapped = REMAPS[front.op_type](front, inverse(perm))
    assert remapped is not None
    early = make("transpose", [x], {"perm": perm}, [(permuted(shape_of(x), perm), x.dtype)], like=node)
    before(front, early)
    new = rebuild(front, [early.outputs[0], *front.inputs[1:]], remapped[0], [shape_of(node.outputs[0])])
    result = before(front, new)
    found: Seen = {}  # not `seen`: an equal transpose in there comes after `front`, which reads this one
    _transpose(early, found)
    seen.update(found)
    return result


def _front(value: ir.Value | None) -> tuple[ir.Value, Perm] | None:
    """(x, perm) if the value is transpose(x, perm)."""
    node = producer(value)
    if not is_op(node, "transpose"):
        return None
    assert node is not None and node.inputs[0] is not None
    return node.inputs[0], tuple(get(node, "perm"))


def _sink(node: ir.Node, seen: Seen) -> int:
    """node(transpose(x)) → transpose(node'(x))."""
    broadcast = node.op_type in ELEMENTWISE and node.op_type not in REMAPS
    indices = range(len(node.inputs)) if broadcast or node.op_type == "concat" else range(1)
    rank = len(shape_of(node.outputs[0])) if broadcast else None
    perm = next((f[1] for k in indices if (f := _front(node.inputs[k])) and rank in (None, len(f[1]))), None)
    if perm is None or not _worth_moving(node, perm):
        return 0
    remapped: tuple[dict[str, Any], Perm] | None = ({}, perm) if broadcast else REMAPS[node.op_type](node, perm)
    if remapped is None:
        return 0
    changes, out_perm = remapped
    inputs = _untransposed(node, indices, perm, seen)
    if inputs is None:
        return 0
    back = inverse(out_perm)
    new = rebuild(node, inputs, changes, [permuted(shape_of(v), back) for v in node.outputs])
    before(node, new)
    for old, inner in zip(node.outputs, new.outputs, strict=True):
        if out_perm == tuple(range(len(out_perm))):
            replace(old, inner)
            continue
        after = make("transpose", [inner], {"perm": out_perm}, [(shape_of(old), old.dtype)], like=node)
        replace(old, before(node, after))
        _transpose(after, seen)
    drop(node)
    return 1


def _worth_moving(node: ir.Node, perm: Perm) -> bool:
    """Channel transposes always move, in the hope to meet another; other ones only if that does not multiply them."""
    if perm == channels_first(len(perm)):
        return True
    return all(_front(v) is None or len(v.uses()) == 1 for v in node.inputs if v is not None)


def _untransposed(node: ir.Node, indices: range, perm: Perm, seen: Seen) -> list[ir.Value | None] | None:
    """The node's operands as they are in front of transpose(perm); None where that would add more transposes than it
    saves."""
    back, rank = inverse(perm), len(perm)
    gain = sum(elements(shape_of(f[0])) for k in indices if (f := _front(node.inputs[k])) and f[1] == perm)
    result = list(node.inputs)
    inserted: list[tuple[int, ir.Value]] = []
    for k in indices:
        value = node.inputs[k]
        front = _front(value)
        if value is None:
            continue
        shape = shape_of(value)
        aligned = (1,) * (rank - len(shape)) + shape
        if front is not None and front[1] == perm:
            result[k] = front[0]
        elif elements(shape) == 1 and node.op_type != "concat":
            continue
        elif array_of(value) is not None:
            result[k] = transposed(reshaped(value, aligned), back)
        elif is_view(aligned, back):
            inserted.append((k, value))
        elif len(shape) == rank and (value, back) in seen:
            result[k] = seen[value, back]
        elif perm == channels_first(rank) and rank > 3 and len(shape) == rank and gain >= elements(shape):
            gain -= elements(shape)
            inserted.append((k, value))
        else:
            return None
    for k, value in inserted:
        shape = shape_of(value)
        aligned = (1,) * (rank - len(shape)) + shape
        if is_view(aligned, back):
            reshape = make("reshape", [value], {}, [(permuted(aligned, back), value.dtype)], like=node)
            result[k] = before(node, reshape)
            _merge_in_place(reshape, result, k)
        else:
            new = make("transpose", [value], {"perm": back}, [(permuted(shape, back), value.dtype)], like=node)
            result[k] = seen[value, back] = before(node, new)
    return result


def _merge_in_place(reshape: ir.Node, result: list[ir.Value | None], k: int) -> None:
    """A reshape whose shape does not change, or that follows another, is resolved without a user to be redirected."""
    inner = producer(reshape.inputs[0])
    if is_op(inner, "reshape"):
        assert inner is not None
        reshape.replace_input_with(0, inner.inputs[0])
    x = reshape.inputs[0]
    assert x is not None
    if shape_of(x) == shape_of(reshape.outputs[0]):
        result[k] = x
        drop(reshape)

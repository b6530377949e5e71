"""Reshapes, and transposes that meet reshapes or matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgerun.ops.graph import array_of, get, inverse, is_op, make, permuted, producer, shape_of
from edgerun.ops.quantized import reshaped, transposed

from .edit import before, drop, forwards, rebuild, replace, set_attrs

Axes = tuple[list[int], list[int]]


def is_view(shape: Sequence[int], perm: Sequence[int]) -> bool:
    """Whether the permutation moves only dimensions of size 1, so that no byte moves."""
    moved = [p for p in perm if shape[p] != 1]
    return moved == sorted(moved)


def merge_reshape(node: ir.Node) -> int:
    """reshape(reshape(x)) → reshape(x); of a constant → constant; to the same shape → nothing. Returns 1 if the node
    is gone."""
    x, out = node.inputs[0], node.outputs[0]
    assert x is not None
    inner = producer(x)
    if is_op(inner, "reshape"):
        assert inner is not None and inner.inputs[0] is not None
        x = inner.inputs[0]
        node.replace_input_with(0, x)
    array = array_of(x)
    if array is None and (shape_of(x) != shape_of(out) or forwards(out, x)):
        return 0
    replace(out, x if array is None else reshaped(x, shape_of(out)))
    drop(node)
    return 1


def groups(source: Sequence[int], target: Sequence[int]) -> list[Axes]:
    """Smallest runs of axes of `source` and `target` (same number of elements) that hold the same elements."""
    i = j = 0
    result: list[Axes] = []
    while i < len(source) and j < len(target):
        a, b = [i], [j]
        m, n = source[i], target[j]
        i, j = i + 1, j + 1
        while m != n:
            if m < n:
                m *= source[i]
                a.append(i)
                i += 1
            else:
                n *= target[j]
                b.append(j)
                j += 1
        result.append((a, b))
    rest: Axes = (list(range(i, len(source))), list(range(j, len(target))))
    if result:
        result[-1][0].extend(rest[0])
        result[-1][1].extend(rest[1])
    return result


def _in_order(axes: Sequence[int], perm: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether transposed axes (of transpose(perm)) lie next to each other, in this order, in the source of shape
    `shape`."""
    real = [perm[a] for a in axes if shape[perm[a]] != 1]
    if real != sorted(real) or not real:
        return real == sorted(real)
    return all(d in real or shape[d] == 1 for d in range(real[0], real[-1] + 1))


def sink_through_reshape(node: ir.Node) -> ir.Node | None:
    """reshape(transpose(x)) → transpose(reshape(x)), where the reshape does not tear apart what the transpose
    joined."""
    front = producer(node.inputs[0])
    if not is_op(front, "transpose"):
        return None
    assert front is not None and front.inputs[0] is not None
    x, perm, out = front.inputs[0], tuple(get(front, "perm")), node.outputs[0]
    shape, mid, target = shape_of(x), shape_of(front.outputs[0]), shape_of(out)
    if 0 in target or 0 in shape or not target:
        return None
    parts = groups(mid, target)
    if not all(_in_order(a, perm, shape) for a, _ in parts):
        return None
    if len(front.outputs[0].uses()) > 1 and len(parts) == 1:
        return None
    first = [min((perm[k] for k in a if shape[perm[k]] != 1), default=min(perm[k] for k in a)) for a, _ in parts]
    order = sorted(range(len(parts)), key=lambda k: first[k])
    new_axes = [axis for k in order for axis in parts[k][1]]
    reshape = make("reshape", [x], {}, [(permuted(target, new_axes), x.dtype)], like=node)
    inner = before(node, reshape)
    new = make("transpose", [inner], {"perm": inverse(new_axes)}, [(target, x.dtype)], like=front)
    replace(out, before(node, new))
    drop(node)
    merge_reshape(reshape)
    return new


def transposed_matmul(node: ir.Node) -> tuple[int, list[ir.Node]]:
    """A transpose of the last two axes in front of a matrix product becomes its trans_a / trans_b.

    Returns the number of operands changed, and the new transposes among them.
    """
    count, made = 0, []
    for index, flag in ((0, "trans_a"), (1, "trans_b")):
        front = producer(node.inputs[index])
        if not is_op(front, "transpose"):
            continue
        assert front is not None
        perm = tuple(get(front, "perm"))
        if perm == (*range(len(perm) - 2), len(perm) - 1, len(perm) - 2):
            node.replace_input_with(index, front.inputs[0])
        elif perm[-2] == len(perm) - 1 and len(front.outputs[0].uses()) == 1:
            # Rows stay whole if the innermost axis stays innermost: move the others, and let the product do the last swap.
            shape = shape_of(front.outputs[0])
            rows = make(
                "transpose",
                front.inputs,
                {"perm": (*perm[:-2], perm[-1], perm[-2])},
                [((*shape[:-2], shape[-1], shape[-2]), front.outputs[0].dtype)],
                like=front,
            )
            node.replace_input_with(index, before(front, rows))
            made.append(rows)
        else:
            continue
        set_attrs(node, {flag: 1 - get(node, flag)})
        count += 1
    return count, made


def permute_rows(node: ir.Node) -> int:
    """matmul(reshape(transpose(x)), constant b) → matmul(reshape(x), b with its rows in the order of x)."""
    reshape = producer(node.inputs[0])
    front = producer(reshape.inputs[0]) if is_op(reshape, "reshape") and reshape is not None else None
    b = array_of(node.inputs[1])
    if not is_op(front, "transpose") or b is None or b.ndim != 2 or get(node, "trans_a"):
        return 0
    assert reshape is not None and front is not None and front.inputs[0] is not None
    x, perm = front.inputs[0], tuple(get(front, "perm"))
    shape, mid, target = shape_of(x), shape_of(front.outputs[0]), shape_of(reshape.outputs[0])
    if 0 in shape:
        return 0
    last = groups(mid, target)[-1]
    lead = len(mid) - len(last[0])
    if last[1][0] != len(target) - 1 and any(target[k] != 1 for k in last[1][:-1]):
        return 0
    if sorted(perm[lead:]) != list(range(lead, len(mid))) or not is_view(shape[:lead], perm[:lead]):
        return 0
    given = node.inputs[1]
    assert given is not None
    rows = transposed(given, (1, 0)) if get(node, "trans_b") else given
    order = inverse([p - lead for p in perm[lead:]])
    cube = reshaped(rows, (*(mid[k] for k in last[0]), shape_of(rows)[1]))
    moved = reshaped(transposed(cube, (*order, len(order))), shape_of(rows))
    flat = make("reshape", [x], {}, [(target, x.dtype)], like=reshape)
    new = rebuild(node, [before(node, flat), moved, *node.inputs[2:]], {"trans_b": 0})
    replace(node.outputs[0], before(node, new))
    drop(node)
    merge_reshape(flat)
    return 1

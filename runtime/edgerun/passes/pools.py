"""Max pools of growing windows over one tensor (spatial pyramid pooling): the larger ones start from the smaller
one's result."""

from __future__ import annotations

import onnx_ir as ir

from edgerun.ops.graph import get, is_op

from .edit import before, drop, rebuild, replace


def chain_pools(model: ir.Model) -> int:
    """Returns how many pools were shortened. With stride 1 and "same" padding, max over k = max over k - j + 1 of max
    over j."""
    count = 0
    for graph in model.graphs():
        groups: dict[ir.Value, list[ir.Node]] = {}
        for node in graph:
            if _same(node) and node.inputs[0] is not None:
                groups.setdefault(node.inputs[0], []).append(node)
        for pools in groups.values():
            count += _chain(pools)
    return count


def _same(node: ir.Node) -> bool:
    """Stride 1, square odd window, padding so that the size stays."""
    if not is_op(node, "max_pool") or set(get(node, "strides")) | set(get(node, "dilations")) != {1}:
        return False
    kernel = set(get(node, "kernel"))
    size = min(kernel)
    return len(kernel) == 1 and size % 2 == 1 and size > 1 and set(get(node, "pads")) == {size // 2}


def _chain(pools: list[ir.Node]) -> int:
    """Only in order of growth: a pool can start from an earlier one."""
    count, front = 0, pools[0]
    reached = get(front, "kernel")[0]
    for node in pools[1:]:
        size = get(node, "kernel")[0]
        if size <= reached:
            continue
        rank = len(get(node, "kernel"))
        rest = size - reached + 1
        new = rebuild(node, [front.outputs[0]], {"kernel": (rest,) * rank, "pads": (rest // 2,) * (2 * rank)})
        replace(node.outputs[0], before(node, new))
        drop(node)
        front, reached, count = new, size, count + 1
    return count

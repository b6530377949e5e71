"""Models whose shapes depend on data, and loops: run node by node, with kernels of ours wherever they serve.

Every node is evaluated for the shapes that it gets (see `sites`); If, Loop and Scan are done here, what has no size before it is
computed in `shaped` and `sequences`. Before a result is made
there has to be room for it, iterations are counted, and the clock is looked at before every node, so that no model runs
longer or takes more memory than allowed. Ctrl-C works between nodes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edgerun.errors import InputError, LimitError, PlanError, ShapeError
from edgerun.executors.base import Fault, Finding, RawRun
from edgerun.executors.sequences import SEQUENCES
from edgerun.executors.shaped import SHAPED, Call
from edgerun.executors.sites import Serve, Setting, Site
from edgerun.importer.fold import constant_of
from edgerun.importer.sizing import check_room, held_bytes
from edgerun.limits import Clock, Limits, short
from edgerun.ops.graph import get
from edgerun.planner.plan import Plan

Env = dict[ir.Value, Any]


class Interpreter:
    """Runs the graph of a serialized ModelProto. `fell_back` counts evaluations by onnx.reference, `checked` and `findings`
    belong to the latest run.

    serve: makes an executor for the plan of a node. budget: bytes of intermediate results that may exist at once; None: what
    the limits give a model of this size. native: UnsupportedOpError instead of a fallback."""

    def __init__(self, model: bytes, serve: Serve, *, name: str = "model", checks: str = "maed", budget: int | None = None,
                 limits: Limits | None = None, native: bool = False) -> None:
        self.fell_back = self.checked = 0
        self.findings: list[Finding] = []
        self._limits = limits or Limits()
        self._graph = ir.from_proto(onnx.ModelProto.FromString(model)).graph
        self._given = [v for v in self._graph.inputs if v.const_value is None]
        opsets = dict(self._graph.opset_imports)
        opsets[""] = opsets.pop("ai.onnx", opsets.get("", 0))
        self._setting = Setting(name, opsets, serve, checks, native,
                                self._limits.budget(len(model)) if budget is None else budget, self._limits)
        self._sites: dict[ir.Node, Site] = {}
        self._orders: dict[ir.Graph, list[tuple[ir.Node, list[ir.Value], list[ir.Value]]]] = {}
        self._constants: dict[ir.Value, Any] = {}
        self._clock = Clock(None)
        self._trips = self._live = 0

    def run(self, feeds: Sequence[Any], clock: Clock | None = None) -> list[Any]:
        """The outputs, of any shape and type, sequences as lists. clock: the time that is left, where it runs already."""
        if len(feeds) != len(self._given):
            raise InputError(f"expected {len(self._given)} inputs, found {len(feeds)}; feed every input once")
        self._clock, self.findings = clock or Clock(self._limits.seconds), []
        self._trips, self.checked, self._live = self._limits.trips, 0, sum(map(held_bytes, feeds))
        return self._run(self._graph, dict(zip(self._given, feeds, strict=True)))

    def close(self) -> None:
        """Give the memory back."""
        for site in self._sites.values():
            site.close()
        self._sites.clear()

    # -- graphs -------------------------------------------------------------------------------------------------------

    def _run(self, graph: ir.Graph, env: Env) -> list[Any]:
        """Evaluate the nodes of a graph; `env` holds what is known outside and its inputs, and is changed."""
        for node, local, dead in self._order(graph):
            self._in_time(node)
            for value, result in zip(local, self._evaluate(node, env), strict=True):
                env[value] = result
                self._live += held_bytes(result)
            for value in dead:
                self._live -= held_bytes(env.pop(value))
        return [self._value(v, env) for v in graph.outputs]

    def _order(self, graph: ir.Graph) -> list[tuple[ir.Node, list[ir.Value], list[ir.Value]]]:
        """(node, its named outputs, values of this graph that nobody needs after it) in order."""
        if graph not in self._orders:
            kept, mine = set(graph.outputs), set()
            order: list[tuple[ir.Node, list[ir.Value], list[ir.Value]]] = []
            last: dict[ir.Value, int] = {}
            for k, node in enumerate(graph):
                local = [v for v in node.outputs if v.name != ""]
                mine.update(local)
                order.append((node, local, []))
                last.update(dict.fromkeys((*self._site(node).operands, *local), k))
            for value, k in last.items():
                if value in mine and value not in kept:
                    order[k][2].append(value)
            self._orders[graph] = order
        return self._orders[graph]

    def _site(self, node: ir.Node) -> Site:
        site = self._sites.get(node)
        if site is None:
            site = self._sites[node] = Site(node, self._setting)
        return site

    def _value(self, value: ir.Value | None, env: Env) -> Any:
        if value is None:
            return None
        if value in env:
            return env[value]
        if value.const_value is None:
            raise ShapeError(f"{self._setting.name}: expected '{short(value.name or '')}' to be computed before it is used")
        if value not in self._constants:
            self._constants[value] = value.const_value.numpy()
        return self._constants[value]

    # -- nodes --------------------------------------------------------------------------------------------------------

    def _evaluate(self, node: ir.Node, env: Env) -> Sequence[Any]:
        own = _OWN.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if own is not None:
            try:
                return [r for v, r in zip(node.outputs, own(self, node, env), strict=True) if v.name != ""]
            except (ValueError, IndexError, TypeError, AttributeError) as e:  # ranks, axes and lengths that only the operands show
                raise ShapeError(f"{self._site(node).where}: operands do not fit: {short(str(e))}") from e
        site = self._site(node)
        results, raw = site.run([self._value(v, env) for v in site.operands], self._room, self._clock)
        self.fell_back += raw is None
        if raw is not None:
            self.checked += raw.values_checked
            self.findings += [replace(f, step=0, node=node.name or f.node) for f in raw.findings]
        return results

    @property
    def _room(self) -> float:
        return self._setting.budget - self._live

    def _constant(self, node: ir.Node, env: Env) -> Sequence[Any]:
        return constant_of(node) or self._site(node).run([], self._room, self._clock)[0]

    def _shape(self, node: ir.Node, env: Env) -> Sequence[Any]:
        dims = np.asarray(self._value(node.inputs[0], env)).shape
        return [np.asarray(dims[get(node, "start", 0):get(node, "end")], np.int64)]

    def _size(self, node: ir.Node, env: Env) -> Sequence[Any]:
        return [np.asarray(np.asarray(self._value(node.inputs[0], env)).size, np.int64)]

    def _identity(self, node: ir.Node, env: Env) -> Sequence[Any]:
        return [self._value(node.inputs[0], env)]

    def _shaped(self, node: ir.Node, env: Env) -> Sequence[Any]:
        call = Call(node, self._site(node).where, self._room, self._setting.budget, self._clock)
        operands = [self._value(v, env) for v in node.inputs]
        if node.op_type in SHAPED:
            for value, given in zip(node.inputs, operands, strict=True):
                if value is not None and not isinstance(given, np.ndarray):  # bodies of loops may lie about their types
                    found = "an empty optional" if given is None else "a sequence"
                    raise TypeError(f"expected '{value.name}' to be a tensor, found {found}")
        return _FUNCTIONS[node.op_type](call, *operands)

    def _if(self, node: ir.Node, env: Env) -> Sequence[Any]:
        taken = _flag(self._value(node.inputs[0], env))
        return self._body(get(node, "then_branch" if taken else "else_branch"), [], len(node.outputs), env)

    def _body(self, graph: ir.Graph, given: Sequence[Any], least: int, env: Env) -> list[Any]:
        """Run a subgraph that must return at least so many values; what it made leaves `env` again."""
        if len(given) != len(graph.inputs) or len(graph.outputs) < least:
            raise ValueError(f"expected a body with {len(given)} inputs and at least {least} outputs, found "
                             f"{len(graph.inputs)} and {len(graph.outputs)}")
        env.update(zip(graph.inputs, given, strict=True))
        results = self._run(graph, env)
        for _, local, _ in self._order(graph):
            for value in local:
                if value in env:
                    self._live -= held_bytes(env.pop(value))
        for value in graph.inputs:
            env.pop(value, None)
        return results

    def _in_time(self, node: ir.Node) -> None:
        if self._clock.over:
            raise self._clock.late(self._setting.name, f"at operator {node.op_type}, node '{short(node.name or '')}'")

    def _trip(self, node: ir.Node) -> None:
        self._in_time(node)
        self._trips -= 1
        if self._trips < 0:
            raise LimitError(f"{self._site(node).where}: expected at most {self._limits.trips} iterations in one run, found "
                             "more; raise it with max_trips= (--bound trips=N) if you trust the model")

    def _loop(self, node: ir.Node, env: Env) -> Sequence[Any]:
        """ONNX Loop: body(iteration, condition, carried…) → (condition, carried…, scanned…)."""
        body: ir.Graph = get(node, "body")
        limit, condition, *carried = (self._value(v, env) for v in node.inputs)
        scanned: list[list[Any]] = [[] for _ in range(len(body.outputs) - 1 - len(carried))]
        going = condition is None or _flag(condition)
        most = None if limit is None else int(np.asarray(limit).reshape(-1)[0])
        done, stacked = 0, 0
        while going and (most is None or done < most):
            self._trip(node)
            before = sum(map(held_bytes, carried))
            on, *results = self._body(body, [np.asarray(done, np.int64), np.asarray(going), *carried],
                                      1 + len(carried), env)
            carried = results[:len(carried)]
            self._live += sum(map(held_bytes, carried)) - (before if done else 0)
            stacked += self._collect(scanned, results[len(carried):], stacked, node)
            going, done = _flag(on), done + 1
        self._live -= stacked + (sum(map(held_bytes, carried)) if done else 0)
        ends = body.outputs[1 + len(carried):]
        return [*carried, *(self._stack(rows, v, node) for rows, v in zip(scanned, ends, strict=True))][:len(node.outputs)]

    def _scan(self, node: ir.Node, env: Env) -> Sequence[Any]:
        """ONNX Scan: body(state…, slice of each scanned input…) → (state…, slices of outputs…)."""
        given, many = [self._value(v, env) for v in node.inputs], int(get(node, "num_scan_inputs"))
        if self._setting.opsets.get("", 0) < 9:
            return self._scan_batch(node, env, given[0], given[1:], many)
        return self._scan_one(node, env, given, many, get(node, "scan_input_directions", (0,) * many))

    def _scan_batch(self, node: ir.Node, env: Env, lengths: Any, given: list[Any], many: int) -> Sequence[Any]:
        """Opset 8: every operand has a batch axis in front, of sequences that may be shorter; beyond its end a result is 0."""
        turned, batch, longest = get(node, "directions", (0,) * many), len(given[0]), given[-1].shape[1]
        counts = [longest] * batch if lengths is None else [int(n) for n in np.asarray(lengths).reshape(-1)]
        if any(len(x) != batch for x in given) or len(counts) != batch or not all(0 <= n <= longest for n in counts):
            raise ValueError(f"expected operands of one batch and lengths of at most {longest}, found {[len(x) for x in given]}, {counts}")
        states, results = len(given) - many, []
        for row, count in zip(range(batch), counts, strict=True):
            operands = [np.array(x[row]) if k < states else x[row][:count] for k, x in enumerate(given)]
            results.append(self._scan_one(node, env, operands, many, turned))
        ended = [[np.asarray(r[k]) for r in results] for k in range(len(node.outputs))]
        padded = [[np.pad(y, [(0, longest - len(y)), *[(0, 0)] * (y.ndim - 1)]) if k >= states else y for y in made]
                  for k, made in enumerate(ended)]
        return [np.stack(made) for made in padded]

    def _scan_one(self, node: ir.Node, env: Env, given: list[Any], many: int, turned: Sequence[int]) -> Sequence[Any]:
        body: ir.Graph = get(node, "body")
        state, inputs = given[:len(given) - many], given[len(given) - many:]
        axes = get(node, "scan_input_axes", (0,) * many)
        inputs = [np.moveaxis(x, a, 0)[::-1 if t else 1] for x, a, t in zip(inputs, axes, turned, strict=True)]
        count = len(inputs[0])
        if any(len(x) != count for x in inputs):
            raise ShapeError(f"{self._site(node).where}: expected scanned inputs of one length, found {[len(x) for x in inputs]}")
        outs = len(body.outputs) - len(state)
        rows: list[list[Any]] = [[] for _ in range(outs)]
        stacked = 0
        for k in range(count):
            self._trip(node)
            results = self._body(body, [*state, *(np.array(x[k]) for x in inputs)], len(state), env)
            state = results[:len(state)]
            stacked += self._collect(rows, results[len(state):], stacked, node)
        self._live -= stacked
        axes, turned = get(node, "scan_output_axes", (0,) * outs), get(node, "scan_output_directions", (0,) * outs)
        ends = body.outputs[len(state):]
        made = [self._stack(held[::-1 if t else 1], v, node) for held, v, t in zip(rows, ends, turned, strict=True)]
        return [*state, *(np.moveaxis(m, 0, a) for m, a in zip(made, axes, strict=True))]

    def _collect(self, rows: list[list[Any]], made: Sequence[Any], before: int, node: ir.Node) -> int:
        """Keep the slices of one iteration, after `before` bytes of earlier ones; returns their bytes. In the end all are
        there once more, stacked, so there has to be room for that now."""
        for held, row in zip(rows, made, strict=True):
            held.append(row)
        size = held_bytes(made)
        self._live += size
        check_room(before + size, self._room, self._site(node).where, self._setting.budget)
        return size

    def _stack(self, rows: list[Any], value: ir.Value, node: ir.Node) -> np.ndarray:
        if rows:
            if any(np.shape(r) != np.shape(rows[0]) for r in rows):
                raise ShapeError(f"{self._site(node).where}: expected slices of one shape in '{short(value.name or '')}', found "
                                 f"{sorted({np.shape(r) for r in rows})[:4]}")
            return np.stack(rows)
        dims = () if value.shape is None else tuple(d if isinstance(d, int) else 0 for d in value.shape)
        return np.zeros((0, *dims), value.dtype.numpy() if value.dtype is not None else np.float32)


_OWN: Mapping[str, Any] = {
    "If": Interpreter._if, "Loop": Interpreter._loop, "Scan": Interpreter._scan,
    "Constant": Interpreter._constant, "Shape": Interpreter._shape, "Size": Interpreter._size,
    "Identity": Interpreter._identity, **dict.fromkeys((*SHAPED, *SEQUENCES), Interpreter._shaped),
}
_FUNCTIONS = {**SHAPED, **SEQUENCES}


def _flag(value: Any) -> bool:
    array = np.asarray(value)
    if array.size != 1:
        raise ValueError(f"expected a condition of one element, found shape {list(array.shape)}")
    return bool(array.reshape(-1)[0])


class DynamicExecutor:
    """Runs a plan of one onnx_graph step; see base.Executor. Settings are those of `Interpreter`."""

    def __init__(self, plan: Plan, serve: Serve, **settings: Any) -> None:
        self.plan = plan
        self._interpreter = Interpreter(plan.constants[0].tobytes(), serve, **settings)

    @property
    def fell_back(self) -> int:
        """How often onnx.reference had to evaluate a node."""
        return self._interpreter.fell_back

    def run(self, feeds: Sequence[Any]) -> RawRun:
        """Compute one answer; outputs may be of any shape and type. See base.Executor."""
        begin = time.perf_counter_ns()
        outputs = tuple(self._interpreter.run(feeds))
        elapsed = time.perf_counter_ns() - begin
        return RawRun(outputs, -1, 0, None, (), (), 1, self._interpreter.checked, tuple(self._interpreter.findings), elapsed)

    def profile(self, feeds: Sequence[Any], repeats: int = 10) -> tuple[float, ...]:
        """Mean nanoseconds of a run, as those of the plan's only step."""
        return (sum(self.run(feeds).elapsed_ns for _ in range(repeats)) / max(repeats, 1),)

    def arm_fault(self, step: int, index: int, mask: int) -> None:
        """Refused: the plan has no steps of known shape."""
        raise PlanError(f"fault injection: step {step}, output {index}: expected a plan whose shapes are known ahead of time")

    def arm(self, fault: Fault) -> None:
        """Refused, as `arm_fault` is."""
        self.arm_fault(fault.step, fault.index, fault.mask)

    def heal(self) -> None:
        """Nothing to do."""

    def sites(self) -> tuple[Mapping[str, int], ...]:
        """None: one step, where nothing can be struck."""
        return ({},)

    def capture(self, step: int) -> None:
        """Refused, as `arm_fault` is."""
        self.arm_fault(step, 0, 0)

    def captured(self) -> bytes:
        """Nothing."""
        return b""

    def scrub(self) -> tuple[Finding, ...]:
        """Nothing: the plans of the nodes verify what they hold while they run."""
        return ()

    def restore(self, step: int) -> bool:
        """Refused, as `arm_fault` is."""
        self.arm_fault(step, 0, 0)
        return False

    def set_coefficients(self, coeff: Sequence[Sequence[float]]) -> None:
        """Nothing to do: such a model has no exits."""

    def close(self) -> None:
        """Give the memory back."""
        self._interpreter.close()

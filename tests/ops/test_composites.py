"""Operators written as others: corners that the ONNX node tests leave out, against onnx.reference on every executor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import edgerun
from edgerun.ops.graph import Unsupported
from edgerun.ops.registry import legalise

RNG = np.random.default_rng(29)
f32, i64 = np.float32, np.int64
NAN, INF = np.nan, np.inf
LINE = f32([-INF, -200, -88.5, -20, -3, -1.5, -1, -0.5, -1e-3, -1e-7, 0, 1e-7, 0.25, 0.5, 1, 1.5, 2.5, 20, 88.5, 200, INF, NAN])


def data(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@dataclass
class Case:
    """One node. feeds are given at run time; constants (by position in the node) are in the model."""

    op: str
    feeds: dict[int, np.ndarray]
    attrs: dict[str, Any] = field(default_factory=dict)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    opset: int = 22
    outputs: int = 1
    finite: bool = True

    @property
    def named(self) -> dict[str, np.ndarray]:
        return {f"x{k}": x for k, x in self.feeds.items()}

    def model(self, results: list[np.ndarray] | None = None) -> onnx.ModelProto:
        """results: what the outputs' types are taken from; the reference needs none."""
        given = {**self.feeds, **self.constants}
        names = [f"x{k}" if k in given else "" for k in range(max(given) + 1)]
        kinds = [(helper.np_dtype_to_tensor_dtype(y.dtype), y.shape) for y in results or [np.zeros(())] * self.outputs]
        node = helper.make_node(self.op, names, [f"y{k}" for k in range(self.outputs)], "node", **self.attrs)
        infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in self.named.items()]
        graph = helper.make_graph([node], "composite", infos, [helper.make_tensor_value_info(f"y{k}", *t) for k, t in enumerate(kinds)],
                                  [numpy_helper.from_array(x, f"x{k}") for k, x in self.constants.items()])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)

    def expected(self) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return [np.asarray(y) for y in ReferenceEvaluator(self.model()).run(None, self.named)]

    def check(self, wanted: list[np.ndarray], executor: str) -> None:
        """Kernels alone agree, and find nothing wrong where no NaN goes in."""
        with edgerun.Session(self.model(wanted).SerializeToString(), executor=executor, strict=True, nonfinite="allow") as session:
            result = session.run(self.named)
        if self.finite:
            assert result.checks.findings == ()
        for got, want in zip(result.outputs.values(), wanted, strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def attention(feeds: dict[int, np.ndarray], constants: dict[int, np.ndarray] | None = None, outputs: int = 1,
              opset: int = 24, **attrs: Any) -> Case:
    return Case("Attention", feeds, attrs, constants or {}, opset, outputs)


QKV = {0: data(2, 4, 3, 8), 1: data(2, 2, 5, 8), 2: data(2, 2, 5, 6)}
ROWS = np.array([[True, False, True, False, True], [False] * 5, [True] * 5])
BIAS = np.where(RNG.random((2, 1, 3, 5)) < 0.4, -INF, data(2, 1, 3, 5)).astype(f32)
PAST = {4: data(2, 2, 3, 8), 5: data(2, 2, 3, 6)}
LOG = np.log(RNG.random((2, 3, 4)) + 0.1).astype(f32)
TARGET = np.array([[0, 2, 1, 2], [2, 2, 0, 1]])
EXTREME = f32([[-INF, -INF], [INF, 1], [300, 301], [-300, -301], [INF, -INF], [NAN, 1]])

CASES = {
    "attention_shared_heads": attention(QKV, outputs=4),
    "attention_causal": attention(QKV, is_causal=1),
    "attention_constant_mask": attention(QKV, {3: ROWS}),
    "attention_constant_mask_of_one_query": attention({0: data(1, 2, 1, 8), 1: data(1, 2, 4, 8), 2: data(1, 2, 4, 8)},
                                                      {3: np.array([[True, False, True, True]])}),
    "attention_mask": attention({**QKV, 3: ROWS}, is_causal=1),
    "attention_constant_bias": attention(QKV, {3: BIAS}),
    "attention_bias": attention({**QKV, 3: BIAS}),
    "attention_bias_of_every_head": attention({**QKV, 3: data(2, 4, 3, 5)}, qk_matmul_output_mode=2, outputs=4),
    "attention_bias_and_causal": attention({**QKV, 3: BIAS}, is_causal=1, qk_matmul_output_mode=3, outputs=4),
    "attention_short_mask": attention({**QKV, 3: ROWS[:, :3]}),
    "attention_short_constant_bias": attention(QKV, {3: BIAS[..., :4]}),
    "attention_past": attention({**QKV, **PAST}, is_causal=1, outputs=3),
    "attention_softcap": attention(QKV, softcap=0.7, qk_matmul_output_mode=1, outputs=4),
    "attention_scale": attention(QKV, scale=0.05, is_causal=1),
    "attention_3d": attention({0: data(2, 3, 8), 1: data(2, 5, 4), 2: data(2, 5, 6)}, q_num_heads=4, kv_num_heads=2),
    "attention_valid_keys": attention({**QKV, 6: i64([2, 5])}),
    "attention_valid_keys_causal": attention({**QKV, 6: i64([1, 4])}, is_causal=1),
    "attention_known_valid_keys": attention(QKV, {6: i64([0, 5])}),
    "attention_window": attention({**QKV, 6: i64([3, 5])}, left_window_size=1, right_window_size=0, opset=25),
    "rms_inner_axes": Case("RMSNormalization", {0: data(2, 3, 4)}, {"axis": 1, "epsilon": 0.1}, {1: data(4)}, 23),
    "log_sum_exp_noop": Case("ReduceLogSumExp", {0: data(2, 3)}, {"noop_with_empty_axes": 1}),
    "log_sum_noop": Case("ReduceLogSum", {0: np.abs(data(2, 3))}, {"noop_with_empty_axes": 1}),
    "l1_noop": Case("ReduceL1", {0: data(2, 3)}, {"noop_with_empty_axes": 1}),
    "l2_negative_axes": Case("ReduceL2", {0: data(2, 3, 4)}, {"keepdims": 0}, {1: i64([-1, 0])}),
    "l2_old": Case("ReduceL2", {0: data(2, 3, 4)}, {"keepdims": 0, "axes": [-2]}, opset=11),
    "sum_square_of_integers": Case("ReduceSumSquare", {0: np.arange(6).reshape(2, 3)}, {}, {1: i64([0])}),
    "l1_of_nothing": Case("ReduceL1", {0: data(0, 3)}, {"keepdims": 0}, {1: i64([0])}),
    "l1_of_a_scalar": Case("ReduceL1", {0: np.asarray(f32(-2))}),
    "trilu_half": Case("Trilu", {0: data(3, 5).astype(np.float16)}, {"upper": 0}, {1: np.asarray(i64(1))}),
    "trilu_truth": Case("Trilu", {0: np.ones((2, 4, 3), bool)}, {}, {1: np.asarray(i64(-1))}),
    "trilu_nothing": Case("Trilu", {0: data(0, 3)}),
    "tile_nothing": Case("Tile", {0: data(2, 3)}, {}, {1: i64([0, 2])}),
    "tile_scalar": Case("Tile", {0: np.asarray(f32(2))}, {}, {1: i64([])}),
    "tile_bytes": Case("Tile", {0: np.arange(6, dtype=np.uint8).reshape(2, 1, 3)}, {}, {1: i64([1, 4, 2])}),
    "depth_to_space_crd": Case("DepthToSpace", {0: data(2, 12, 2, 3)}, {"blocksize": 2, "mode": "CRD"}),
    "instance_norm_1d": Case("InstanceNormalization", {0: data(2, 3, 7)}, {}, {1: data(3), 2: data(3)}),
    "instance_norm_3d": Case("InstanceNormalization", {0: data(2, 3, 2, 3, 4), 1: data(3), 2: data(3)}),
    "group_norm_1d": Case("GroupNormalization", {0: data(2, 4, 5)}, {"num_groups": 2}, {1: data(4), 2: data(4)}),
    "mean_variance_axes": Case("MeanVarianceNormalization", {0: data(2, 3, 4)}, {"axes": [-1]}),
    "lrn_even": Case("LRN", {0: data(4, 4, 2, 3)}, {"size": 2, "alpha": 0.5, "beta": 0.6, "bias": 2.0}),
    "lp_zero_row": Case("LpNormalization", {0: f32([[0, 0], [3, -4]])}, {"p": 2, "axis": 1}),
    "lp_pool_padded": Case("LpPool", {0: data(1, 2, 5, 5)}, {"kernel_shape": [3, 2], "pads": [1, 1, 1, 0], "p": 3}),
    "hardmax_ties": Case("Hardmax", {0: f32([[1, 2, 2], [0, 0, 0]])}, {"axis": 1}),
    "hardmax_first_axis": Case("Hardmax", {0: data(3, 4, 2)}, {"axis": -3}),
    "one_hot_wraps": Case("OneHot", {0: i64([[0, -1], [3, -4], [-3, 2]])}, {"axis": 0}, {1: np.asarray(i64(3)), 2: f32([5, 2])}),
    "one_hot_of_integers": Case("OneHot", {0: np.int32([1, 0])}, {"axis": -1}, {1: np.asarray(i64(2)), 2: i64([9, 4])}),
    "eye_offset": Case("EyeLike", {0: data(3, 5)}, {"k": -1, "dtype": onnx.TensorProto.INT64}),
    "rotary_part": Case("RotaryEmbedding", {0: data(1, 3, 16)}, {"num_heads": 2, "rotary_embedding_dim": 4, "interleaved": 1},
                        {1: data(6, 2), 2: data(6, 2), 3: i64([[5, 0, 3]])}, 23),
    "likelihood_ignores_weighted": Case("NegativeLogLikelihoodLoss", {0: LOG, 1: TARGET, 2: np.abs(data(3))}, {"ignore_index": 2}),
    "crop_and_pad": Case("CenterCropPad", {0: data(5, 4)}, {"axes": [-1, 0]}, {1: i64([7, 2])}),
    "affine_corners_3d": Case("AffineGrid", {0: data(1, 3, 4)}, {"align_corners": 1}, {1: i64([1, 2, 3, 2, 4])}),
    "swiglu_alpha": Case("SwiGLU", {0: data(3, 4), 1: data(3, 4)}, {"alpha": 1.7}, opset=28),
    "softplus_line": Case("Softplus", {0: LINE}, finite=False),
    "softsign_line": Case("Softsign", {0: LINE[1:-2]}),
    "selu_line": Case("Selu", {0: LINE[1:-2]}, {"alpha": 2.0, "gamma": 3.0}),
    "celu_line": Case("Celu", {0: LINE[1:-2]}, {"alpha": 0.5}, opset=12),
    "mish_line": Case("Mish", {0: LINE[1:-2]}, finite=False),
    "threshold_line": Case("ThresholdedRelu", {0: LINE[:-1]}, {"alpha": 0.25}, finite=False),
    "shrink_line": Case("Shrink", {0: LINE[:-1]}, {"lambd": 1.0, "bias": 0.25}, finite=False),
    "sign_line": Case("Sign", {0: LINE}, finite=False),
    "sign_bytes": Case("Sign", {0: np.uint8([0, 1, 255])}),
    "round_line": Case("Round", {0: np.concatenate([LINE, f32([-2.5, 3.5, 8388609, -0.49999997, 0.49999997])])}, finite=False),
    "is_inf_below": Case("IsInf", {0: LINE}, {"detect_positive": 0}, finite=False),
    "is_inf_never": Case("IsInf", {0: LINE}, {"detect_positive": 0, "detect_negative": 0}, finite=False),
    "is_nan_half": Case("IsNaN", {0: LINE[-3:].astype(np.float16)}, finite=False),
}
EQUATIONS = {
    "ij,jk": ((3, 4), (4, 5)), "ij,jk->ki": ((3, 4), (4, 5)), "bhqd,bhkd->bhqk": ((2, 3, 4, 5), (2, 3, 6, 5)), "i,i": ((4,), (4,)),
    "i,j->ij": ((3,), (4,)), "ij,ij->ij": ((3, 4), (3, 4)), "ij,i->ij": ((3, 4), (3,)), "...ij,...jk->...ik": ((1, 3, 4), (5, 4, 2)),
    "b...->...b": ((2, 3, 4),), "ij->": ((3, 4),), "iji->j": ((3, 4, 3),), "ab,bc,cd->da": ((2, 3), (3, 4), (4, 5)),
    "ijk,il->kl": ((2, 3, 4), (2, 5)), "Ab,bA": ((2, 3), (3, 2)), "bij,kj->bik": ((2, 3, 4), (5, 4)),
}
for equation, shapes in EQUATIONS.items():
    CASES[f"einsum {equation}"] = Case("Einsum", {k: data(*s) for k, s in enumerate(shapes)}, {"equation": equation})


EXECUTORS = pytest.mark.parametrize("executor", ["auto", "python"])


@EXECUTORS
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_reference(name: str, executor: str) -> None:
    CASES[name].check(CASES[name].expected(), executor)


@EXECUTORS
def test_log_sum_exp_of_extremes(executor: str) -> None:
    """onnx.reference gives NaN for rows of infinities; NumPy's pairwise form does not."""
    case = Case("ReduceLogSumExp", {0: EXTREME}, {"keepdims": 0}, {1: i64([1])}, finite=False)
    with np.errstate(invalid="ignore"):
        wanted = np.logaddexp(EXTREME[:, 0], EXTREME[:, 1])
    case.check([wanted], executor)


@EXECUTORS
def test_cross_entropy_of_sure_scores(executor: str) -> None:
    """onnx.reference takes the logarithm of a probability that underflows."""
    x = f32([[90, -90, 0], [1, 2, 3]])
    logarithms = x - np.logaddexp.reduce(x.astype(np.float64), axis=1, keepdims=True)
    case = Case("SoftmaxCrossEntropyLoss", {0: x, 1: i64([1, 2])}, {"reduction": "sum"}, outputs=2)
    case.check([np.asarray(f32(-logarithms[0, 1] - logarithms[1, 2])), logarithms.astype(f32)], executor)


@EXECUTORS
@pytest.mark.parametrize("target", [3, -1])
def test_a_target_that_is_no_class_is_nan(target: int, executor: str) -> None:
    case = Case("NegativeLogLikelihoodLoss", {0: LOG, 1: np.full((2, 4), target)}, {"reduction": "none", "ignore_index": 7}, finite=False)
    case.check([np.full((2, 4), NAN, f32)], executor)


@EXECUTORS
@pytest.mark.parametrize("op", ["Selu", "Celu", "Softplus", "Softsign", "Mish", "ThresholdedRelu", "Shrink", "Sign", "Round"])
def test_nan_stays(op: str, executor: str) -> None:
    """Also where onnx.reference selects its way past it."""
    x = f32([NAN, 0.5])
    with edgerun.Session(Case(op, {0: x}).model([x]).SerializeToString(), executor=executor, nonfinite="allow") as session:
        got = session.run(x).outputs["y0"]
    assert np.isnan(got).tolist() == [True, False]


@EXECUTORS
@pytest.mark.parametrize("op", ["LpNormalization", "Hardmax", "ReduceL2", "ReduceLogSumExp", "InstanceNormalization", "RMSNormalization"])
def test_nan_spreads_over_its_row(op: str, executor: str) -> None:
    x = f32([[[1, NAN, 2], [1, 3, 2]]])
    constants = {"InstanceNormalization": {1: f32([1, 1]), 2: f32([0, 0])}, "RMSNormalization": {1: f32([1, 1, 1])},
                 "ReduceL2": {1: i64([2])}, "ReduceLogSumExp": {1: i64([2])}}.get(op, {})
    case = Case(op, {0: x}, {} if op[0] in "IR" else {"axis": 2}, constants, 23)
    shaped = x[..., :1] if op.startswith("Reduce") else x
    with edgerun.Session(case.model([shaped]).SerializeToString(), executor=executor, nonfinite="allow", strict=True) as session:
        got = session.run(x).outputs["y0"]
    assert np.isnan(got[0, 0]).all()
    assert np.isfinite(got[0, 1]).all()


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
@pytest.mark.parametrize(("case", "reason"), [
    (attention(QKV, softmax_precision=11), "softmax in float64"),
    (Case("LpPool", {0: data(1, 2, 5, 5)}, {"kernel_shape": [2, 2], "ceil_mode": 1}), "ceil_mode"),
    (Case("Tile", {0: data(*[1] * 5)}, {}, {1: i64([2] * 5)}), "10 dimensions"),
    (Case("Einsum", {0: data(2, 3), 1: data(1, 4)}, {"equation": "ij,ik->jk"}), "two sizes"),
])
def test_a_form_that_is_not_written_so_says_why(case: Case, reason: str) -> None:
    from edgerun.importer import load
    from edgerun.planner import make_plan

    plan = make_plan(load(case.model(case.expected())))
    assert reason in plan.fallbacks[0][3]


def test_a_refused_form_leaves_no_users_behind() -> None:
    """The bias does not fit, which is seen after the first operators were written."""
    case = Case("GroupNormalization", {0: data(2, 4, 5)}, {"num_groups": 2}, {1: data(4), 2: data(3)})
    node = ir.from_proto(case.model()).graph[0]
    with pytest.raises(Unsupported, match=r"bias of shape \(3,\)"):
        legalise(node, 22)
    assert [user for user, _ in node.inputs[0].uses()] == [node]

"""Times the convolution and matmul kernels on the layer shapes of the benchmark models, beside ONNX Runtime.

    PYTHONPATH=runtime:kernels python tools/dev/bench_kernels.py [part of a name] [--isa avx2]

Prints, for each shape: our time with and without checks, GFLOP/s of the direct definition, and ONNX Runtime's time on a
one-node model (its call overhead of a few microseconds included). One thread; CPU time of the thread, so other load on
the machine disturbs little; best of several rounds, ours and theirs alternating.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgerun_kernels import _native

# name: height, width, channels in, channels out, kernel, stride, pads, group, activation (0 none, 1 relu, 2 clip, 8 silu)
SHAPES = {
    "resnet8.stem": (32, 32, 3, 16, (3, 3), 1, (1, 1, 1, 1), 1, 1),
    "resnet8.16": (32, 32, 16, 16, (3, 3), 1, (1, 1, 1, 1), 1, 1),
    "resnet8.32.down": (32, 32, 16, 32, (3, 3), 2, (0, 0, 1, 1), 1, 1),
    "resnet8.64": (8, 8, 64, 64, (3, 3), 1, (1, 1, 1, 1), 1, 1),
    "resnet18.32": (32, 32, 32, 32, (3, 3), 1, (1, 1, 1, 1), 1, 1),
    "resnet18.64": (16, 16, 64, 64, (3, 3), 1, (1, 1, 1, 1), 1, 1),
    "resnet18.128": (8, 8, 128, 128, (3, 3), 1, (1, 1, 1, 1), 1, 1),
    "resnet18.256": (4, 4, 256, 256, (3, 3), 1, (1, 1, 1, 1), 1, 1),
    "resnet18.256.down": (8, 8, 128, 256, (3, 3), 2, (1, 1, 1, 1), 1, 1),
    "alexnet.5x5": (32, 32, 3, 32, (5, 5), 1, (2, 2, 2, 2), 1, 1),
    "alexnet.192": (8, 8, 128, 192, (3, 3), 1, (1, 1, 1, 1), 1, 1),
    "kws.stem": (49, 10, 1, 64, (10, 4), 2, (4, 1, 5, 1), 1, 1),
    "kws.depthwise": (25, 5, 64, 64, (3, 3), 1, (1, 1, 1, 1), 64, 1),
    "kws.pointwise": (25, 5, 64, 64, (1, 1), 1, (0, 0, 0, 0), 1, 1),
    "vww.stem": (96, 96, 3, 8, (3, 3), 2, (0, 0, 1, 1), 1, 1),
    "vww.depthwise8": (48, 48, 8, 8, (3, 3), 1, (1, 1, 1, 1), 8, 1),
    "vww.pointwise128": (6, 6, 128, 128, (1, 1), 1, (0, 0, 0, 0), 1, 1),
    "mobilenet.depthwise128": (14, 14, 128, 128, (3, 3), 1, (1, 1, 1, 1), 128, 2),
    "mobilenet.classifier": (1, 1, 256, 1000, (1, 1), 1, (0, 0, 0, 0), 1, 0),
    "ultraface.stem": (240, 320, 3, 16, (3, 3), 2, (1, 1, 1, 1), 1, 1),
    "ultraface.depthwise16": (120, 160, 16, 16, (3, 3), 1, (1, 1, 1, 1), 16, 1),
    "ultraface.pointwise32": (120, 160, 16, 32, (1, 1), 1, (0, 0, 0, 0), 1, 1),
    "yolox.stem": (208, 208, 12, 16, (3, 3), 1, (1, 1, 1, 1), 1, 8),
    "yolox.pointwise64": (52, 52, 64, 64, (1, 1), 1, (0, 0, 0, 0), 1, 8),
    "yolox.depthwise64": (52, 52, 64, 64, (3, 3), 1, (1, 1, 1, 1), 64, 8),
}
Repeat = Callable[[int], object]


def operands(shape: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x [1,H,W,Ci], w [Co,KH,KW,Ci/group], b [Co]."""
    h, w, ci, co, kernel, _, _, group, _ = shape
    rng = np.random.default_rng(0)
    return (rng.standard_normal((1, h, w, ci)).astype(np.float32),
            rng.standard_normal((co, *kernel, ci // group)).astype(np.float32) * np.float32(0.1), np.zeros(co, np.float32))


def ours(shape: tuple, checks: bool, isa: str) -> tuple[Repeat, int]:
    """The kernel behind a callable that repeats it, and its multiply-accumulates."""
    h, w, ci, co, kernel, stride, pads, group, act = shape
    x, weights, b = operands(shape)
    depthwise = group == ci == co and group > 1
    y = np.zeros((1, (h + pads[0] + pads[2] - kernel[0]) // stride + 1, (w + pads[1] + pads[3] - kernel[1]) // stride + 1, co),
                 np.float32)
    attrs = {"strides": (stride, stride), "pads": pads, "dilations": (1, 1), "activation": (act,), "act_alpha": (0.0,),
             "act_beta": (6.0,)} | ({} if depthwise else {"group": (group,)})
    if depthwise:
        weights = np.ascontiguousarray(np.moveaxis(weights[..., 0], 0, -1))
    name = "conv2d_dw_f32" if depthwise else "conv2d_f32"
    return (lambda n: _native.call(name, [x, weights, b], attrs, [y], constants=[1, 2], checks=checks, isa=isa, repeat=n),
            y.size * math.prod(kernel) * ci // group)


def theirs(shape: tuple) -> Repeat:
    """A one-layer model in ONNX Runtime, one thread, bound inputs."""
    _, _, _, _, _, stride, pads, group, act = shape
    x, weights, b = operands(shape)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y" if act == 0 else "c"], strides=[stride] * 2, pads=pads, group=group)]
    nodes += {0: [], 1: [helper.make_node("Relu", ["c"], ["y"])], 2: [helper.make_node("Clip", ["c", "lo", "hi"], ["y"])],
              8: [helper.make_node("Sigmoid", ["c"], ["s"]), helper.make_node("Mul", ["c", "s"], ["y"])]}[act]
    constants = {"w": np.ascontiguousarray(np.moveaxis(weights, -1, 1)), "b": b, "lo": np.float32(0), "hi": np.float32(6)}
    x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    graph = helper.make_graph(nodes, "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y")
    return lambda n: [session.run_with_iobinding(binding) for _ in range(n)]


def seconds(call: Repeat, n: int) -> float:
    start = time.thread_time()
    call(n)
    return time.thread_time() - start


def best(calls: list[Repeat], n: int, rounds: int = 15) -> list[float]:
    """Seconds of one repetition; what a call costs once (packing, preparation) is taken off."""
    rows = {k: [[seconds(c, k) for c in calls] for _ in range(rounds)] for k in (n + 1, 1)}
    return [(min(r[i] for r in rows[n + 1]) - min(r[i] for r in rows[1])) / n for i in range(len(calls))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="?", default="")
    parser.add_argument("--isa", default="")
    args = parser.parse_args()
    ratios, on, off = [], 0.0, 0.0
    for name, shape in SHAPES.items():
        if args.only not in name:
            continue
        checked, macs = ours(shape, True, args.isa)
        n = max(3, int(1.5e-3 / (macs / 40e9 + 1e-6)))
        a, b, c = best([checked, ours(shape, False, args.isa)[0], theirs(shape)], n)
        ratios.append(c / a)
        on, off = on + a, off + b
        print(f"{name:24} {a * 1e6:9.1f} us  unchecked {b * 1e6:9.1f} us  {2e-9 * macs / a:6.1f} GFLOP/s  "
              f"onnxruntime {c * 1e6:9.1f} us  ratio {c / a:5.2f}", flush=True)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"geometric mean of ratios {mean:.2f}, checks +{100 * (on / off - 1):.1f} %")


if __name__ == "__main__":
    main()

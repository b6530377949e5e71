"""Equal pixels under equal weights round alike every time: the sums of checks come nearest to their bound there."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun import Session
from edgerun.executors import engine

pytestmark = pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")


@pytest.mark.parametrize("channels", [1, 3, 5, 8, 11, 16, 19, 24])
def test_no_false_alarm(channels: int) -> None:
    """Channels that do not fill a vector, 2304 pixels: their sum is many chains, not one."""
    random = np.random.default_rng(channels)
    weights = numpy_helper.from_array(random.standard_normal((16, channels, 1, 1)).astype(np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 48, 48]) for n, c in (("x", channels), ("y", 16)))
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with Session(model.SerializeToString(), checks="full", on_fault="flag", threads=1) as session:
        for _ in range(200):
            values = random.standard_normal((1, channels, 1, 1)).astype(np.float32)
            assert session.run(np.ascontiguousarray(np.broadcast_to(values, (1, channels, 48, 48)))).checks.findings == ()

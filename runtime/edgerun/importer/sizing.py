"""How large the results of one node will be, asked before it is evaluated: bombs are small nodes with large results."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference

from edgerun.errors import LimitError, ShapeError
from edgerun.limits import size

from .tensors import nbytes

SMALL = 256
"""Elements up to which an operand's contents are shown to shape inference: shapes, axes, repeats, scales."""
_FEW = 16
"""Times its operands' bytes that a result of unknown size may have (NonZero: 8 bytes for each axis of each element)."""
SIZES = frozenset({"ConstantOfShape", "Expand", "Tile", "Range", "Pad", "OneHot", "Resize", "Upsample", "Reshape",
                    "CenterCropPad", "Col2Im", "AffineGrid", "DFT", "STFT", "HannWindow", "HammingWindow", "BlackmanWindow",
                    "MelWeightMatrix", "MaxUnpool"})
"""Operators that multiply dimensions by contents of their operands, in the 64-bit integers of shape inference."""
_LARGEST = 1 << 40
_PRODUCTS = 2e9
TEXT = "OSU"
"""NumPy kinds of arrays of strings."""


def typed(model: onnx.ModelProto, arrays: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The one-node model with its inputs' types and shapes written in, `constants` as initializers."""
    del model.graph.input[:]
    for name, array in arrays.items():
        if name in constants:
            model.graph.initializer.append(onnx.numpy_helper.from_array(constants[name], name))
        else:
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            model.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
    return model


def result_bytes(model: onnx.ModelProto, arrays: Mapping[str, Any]) -> float:
    """Bytes that the outputs of this one-node model take for these operands, as far as they can be told beforehand.

    model: from `single.single`, changed here. Operands that are no arrays (sequences) count by their elements. Raises
    ShapeError where the operands do not fit the node."""
    node = model.graph.node[0]
    plain = {k: v for k, v in arrays.items() if isinstance(v, np.ndarray) and v.dtype.kind not in TEXT}
    held = sum(map(held_bytes, arrays.values()))
    if node.op_type in SIZES:
        for name, array in plain.items():
            if array.dtype.kind in "iu" and array.size <= SMALL and array.size and max(abs(int(v)) for v in array.reshape(-1)) > _LARGEST:
                raise ShapeError(f"operator {node.op_type}, node '{node.name}': expected sizes below 2^40 in '{name}', found "
                                 f"{array.reshape(-1).tolist()[:8]}")
    if node.op_type == "ImageDecoder":
        return _image_bytes(next(iter(plain.values()), None))
    if len(plain) < len(arrays):
        return _FEW * held + SMALL
    model = typed(model, plain, {k: v for k, v in plain.items() if v.size <= SMALL})
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise ShapeError(f"operator {node.op_type}, node '{node.name}': {' '.join(str(error).split())[:300]}") from error
    check_work(node, {k: v.shape for k, v in plain.items()})
    total = 0.0
    for output in inferred.graph.output:
        tensor = output.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
        if output.type.HasField("tensor_type") and tensor.HasField("shape") and min(dims, default=0) >= 0:
            total += nbytes(tensor.elem_type, math.prod(dims)) if tensor.elem_type else 8 * math.prod(dims)
        else:
            total += _FEW * held + SMALL
    return total


def check_work(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """LimitError for an Einsum whose indices make more combinations than anyone would wait for: its result may be small."""
    if node.op_type != "Einsum":
        return
    equation = next(a.s.decode() for a in node.attribute if a.name == "equation").replace(" ", "")
    sizes: dict[str, int] = {}
    for term, operand in zip(equation.split("->")[0].split(","), node.input, strict=False):
        shape = shapes[operand]
        letters = [c for c in term if c != "."]
        rest = len(shape) - len(letters)
        at = term.find("...") if "..." in term else len(letters)
        axes = [*letters[:at], *(f"…{rest - k}" for k in range(rest)), *letters[at:]]
        for letter, extent in zip(axes, shape, strict=False):
            sizes[letter] = max(sizes.get(letter, 1), extent)
    products = math.prod(sizes.values())
    if products > _PRODUCTS:
        raise LimitError(f"operator Einsum, node '{node.name}': expected at most {_PRODUCTS:.0e} products without a kernel, found "
                         f"{products:.1e}; split the equation into smaller ones")


def check_room(need: float, room: float, where: str, budget: int) -> None:
    """LimitError when a result of `need` bytes does not fit the `room` that is left of the budget."""
    if need > room:
        raise LimitError(f"{where}: expected results within {size(budget)} of memory, found one of {size(int(min(need, 2**80)))}"
                         f" with {size(int(max(room, 0)))} left; raise it with max_memory= (--max-memory) if you trust the model")


def held_bytes(value: Any) -> int:
    """Bytes of an array, or of all in a sequence; strings by a guess."""
    if isinstance(value, np.ndarray):
        return 64 * value.size if value.dtype.kind in TEXT else value.nbytes
    return sum(map(held_bytes, value)) if isinstance(value, (list, tuple)) else 8


def _image_bytes(data: np.ndarray | None) -> float:
    """Three bytes a pixel as the image's header says; infinite where it cannot be read."""
    try:
        from PIL import Image

        with Image.open(io.BytesIO(b"" if data is None else data.tobytes())) as image:
            return 4.0 * image.width * image.height
    except Exception:  # no Pillow, or no image: whoever decodes it would have to guess as well
        return math.inf

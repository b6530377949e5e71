"""Which piece emits which kernel of a plan. A piece is one file: how constants are packed, what scratch is needed, the call, and what is
refused and why. Adding an operator costs one file here and one in `edgerun_kernels/c`."""

from __future__ import annotations

from edgerun_tools.codegen.pieces import (
    activation,
    average_pool2d,
    batch_norm,
    binary,
    concat,
    conv2d,
    conv2d_dw,
    copy,
    dequantize,
    difficulty,
    exit,
    flash_activation,
    flash_lut,
    flash_matmul,
    flash_qmatmul,
    global_pool,
    lut,
    matmul,
    max_pool2d,
    pad,
    qadd,
    qaverage_pool2d,
    qconv2d,
    qconv2d_dw,
    qmatmul,
    qmul,
    qsoftmax,
    quantize,
    slice,
    softmax,
    transpose,
)
from edgerun_tools.codegen.site import Write
from edgerun_tools.codegen.targets import Target

PIECES: dict[str, Write] = {
    kernel: write
    for piece in (activation, average_pool2d, batch_norm, binary, concat, conv2d, conv2d_dw, copy, dequantize, difficulty, exit,
                  global_pool, lut, matmul, max_pool2d, pad, qadd, qaverage_pool2d, qconv2d, qconv2d_dw, qmatmul, qmul, qsoftmax, quantize,
                  slice, softmax, transpose)
    for kernel, write in piece.PIECES.items()
}
"""Kernel of a plan → what emits it."""

_HARVARD: dict[str, Write] = {
    **{k: PIECES[k] for piece in (copy, dequantize, quantize, softmax) for k in piece.PIECES},
    **{k: write for piece in (flash_activation, flash_lut, flash_matmul, flash_qmatmul) for k, write in piece.PIECES.items()},
}


def pieces_of(target: Target) -> dict[str, Write]:
    """Those for a target: where constants lie in program memory, only what reads them there, or none."""
    return _HARVARD if target.harvard else PIECES

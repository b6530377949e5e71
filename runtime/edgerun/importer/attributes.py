"""Attributes that mean the same wherever they occur, and must be sane before shapes are computed with them.

Shape inference and kernels divide by strides, groups and block sizes, and count with pads; here they are checked by name,
whatever the operator.
"""

from __future__ import annotations

import math
import re

import onnx

from edgerun.errors import ModelFormatError
from edgerun.limits import MAX_RANK, short

_A = onnx.AttributeProto
_POSITIVE = frozenset({"strides", "dilations", "kernel_shape", "group", "blocksize", "hidden_size", "num_scan_inputs",
                       "num_groups", "size", "q_num_heads", "kv_num_heads"})
_BOUNDED = frozenset({"pads", "output_padding", "output_shape", "axis", "axes", "split", "keepdims", "k", "perm", "block_size",
                      *_POSITIVE})
_FINITE = frozenset({"epsilon", "alpha", "beta", "gamma", "min", "max", "momentum", "ratio", "bias", "lambd", "clip",
                     "spatial_scale", "cubic_coeff_a", "extrapolation_value", "scale", "softcap"})
_INFINITE_IS_A_BOUND = frozenset({"min", "max", "clip"})
_AUTO_PAD = (b"NOTSET", b"SAME_UPPER", b"SAME_LOWER", b"VALID")
_LARGEST = 2**31 - 1
_TERM = r"(?:[A-Za-z ]*(?:\.\.\.)?[A-Za-z ]*)"
_EQUATION = re.compile(rf"{_TERM}(?:,{_TERM})*(?:->{_TERM})?")
_MAX_EQUATION = 256


def check_attributes(node: onnx.NodeProto, where: str) -> None:
    """Raises ModelFormatError naming the attribute."""
    if node.domain not in ("", "ai.onnx"):
        return
    seen: set[str] = set()
    for a in node.attribute:
        if a.name in seen:
            raise ModelFormatError(f"{where}: expected every attribute once, found {short(a.name)} twice")
        seen.add(a.name)
        for text in (a.s, *a.strings):
            try:
                text.decode()
            except UnicodeDecodeError as error:
                raise ModelFormatError(f"{where}: {short(a.name)}: expected text in UTF-8, found {text[:20]!r}") from error
        if a.type in (_A.INT, _A.INTS):
            _integers(a, where)
        elif a.type == _A.FLOAT and a.name in _FINITE and not math.isfinite(a.f):
            if not (a.name in _INFINITE_IS_A_BOUND and not math.isnan(a.f)):
                raise ModelFormatError(f"{where}: {a.name}: expected a finite number, found {a.f}")
        elif a.name == "auto_pad" and a.s not in _AUTO_PAD:
            raise ModelFormatError(f"{where}: auto_pad: expected one of {', '.join(p.decode() for p in _AUTO_PAD)}, found "
                                   f"{short(a.s.decode('utf-8', 'replace'))!r}")
    if node.op_type == "Einsum":
        _equation(node, where)
    if node.op_type == "Constant" and len(node.attribute) != 1:
        raise ModelFormatError(f"{where}: expected one value, found {len(node.attribute)}")


def _integers(a: onnx.AttributeProto, where: str) -> None:
    values = [a.i] if a.type == _A.INT else list(a.ints)
    if a.type == _A.INTS and a.name in _BOUNDED and len(values) > 2 * MAX_RANK and a.name != "split":
        raise ModelFormatError(f"{where}: {a.name}: expected at most {2 * MAX_RANK} values, found {len(values)}")
    for v in values:
        if a.name in _POSITIVE and v < 1:
            raise ModelFormatError(f"{where}: {a.name}: expected 1 or more, found {v}")
        if a.name in _BOUNDED and abs(v) > _LARGEST:
            raise ModelFormatError(f"{where}: {a.name}: expected a value within 31 bits, found {v}")
    if a.name == "perm" and sorted(values) != list(range(len(values))):
        raise ModelFormatError(f"{where}: perm: expected each of 0 to {len(values) - 1} once, found {values}")


def _equation(node: onnx.NodeProto, where: str) -> None:
    """What onnx.shape_inference needs to be able to rely on: legal terms, as many as inputs, no term of the result that
    no input has."""
    text = next((a.s.decode("utf-8", "replace") for a in node.attribute if a.name == "equation"), "")
    if len(text) > _MAX_EQUATION or not _EQUATION.fullmatch(text):
        raise ModelFormatError(f"{where}: equation: expected terms of letters, commas and one '->' in at most "
                               f"{_MAX_EQUATION} characters, found {short(text)!r}")
    left, _, right = text.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(node.input):
        raise ModelFormatError(f"{where}: equation {short(text)!r}: expected a term for each of {len(node.input)} inputs, "
                               f"found {len(terms)}")
    letters = set(left) - set(".,")
    if set(right) - set(".") - letters or len(set(right) - {"."}) != len(right.replace(".", "")):
        raise ModelFormatError(f"{where}: equation {short(text)!r}: expected a result of different letters of the inputs, "
                               f"found {short(right)!r}")
    if "..." in right and "..." not in left:
        raise ModelFormatError(f"{where}: equation {short(text)!r}: expected '...' in an input as well")

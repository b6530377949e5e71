"""The two parts of a model run one after the other, held against the whole: is the cut right, and what does the wire cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgerun import Session
from edgerun.errors import InputError
from edgerun.splits import ENCODINGS, pack, unpack
from edgerun_tools.split.cut import Cut

Feeds = Mapping[str, np.ndarray]


def compare(whole: Session, cut: Cut, rows: Sequence[Feeds], encodings: Sequence[str] = ENCODINGS) -> tuple[dict[str, Any], dict[str, Any]]:
    """(verified, wire) of split.json: `rows` run whole and in parts, with exit policy none.

    verified: inputs, worst: largest difference of an output by fp32 relative to the largest value, same_bits: inputs with equal outputs.
    wire, by encoding: bytes of one input's features, worst: the same difference, same_answer: inputs whose largest score, in the tail's
    last output, is the same one. Encodings that refuse the values have "refused" with the reason.
    """
    heads, tails = (Session(part.SerializeToString(), checks="off", threads=whole.threads) for part in (cut.head, cut.tail))
    names = [str(t["name"]) for t in cut.tensors]
    found: dict[str, Any] = {}
    same = 0
    with heads, tails:
        expected = [whole.run(feeds).outputs for feeds in rows]
        local = [heads.run(feeds).outputs for feeds in rows]
        for encoding in encodings:
            try:
                packed = [[pack(out[n], encoding, n) for n in names] for out in local]
            except InputError as refusal:
                found[encoding] = {"refused": str(refusal)}
                continue
            got = [dict(out) | tails.run({n: unpack(p, n) for n, p in zip(names, one, strict=True)}).outputs
                   for out, one in zip(local, packed, strict=True)]
            last = tails.outputs[-1].name
            found[encoding] = {
                "bytes": sum(len(p.payload) for p in packed[0]), "worst": max(map(_difference, expected, got)),
                "same_answer": sum(int(a[last].argmax()) == int(b[last].argmax()) for a, b in zip(expected, got, strict=True))}
            if encoding == "fp32":
                same = sum(all(np.array_equal(v, b[k], equal_nan=True) for k, v in a.items()) for a, b in zip(expected, got, strict=True))
    return {"inputs": len(rows), "worst": found.get("fp32", {}).get("worst"), "same_bits": same}, found


def _difference(expected: Feeds, got: Feeds) -> float:
    worst = 0.0
    for name, a in expected.items():
        if a.dtype.kind != "f":
            worst = max(worst, float(np.abs(a.astype(np.float64) - got[name]).max(initial=0)))
            continue
        top = float(np.abs(a).max(initial=0)) or 1.0
        worst = max(worst, float(np.abs(a.astype(np.float64) - got[name]).max(initial=0)) / top)
    return worst

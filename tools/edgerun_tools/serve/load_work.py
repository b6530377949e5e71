"""What a load test sends, and what must come back: real inputs, their messages in HTTP and gRPC, and the answers of a session here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import edgerun
from edgerun.errors import DataError
from edgerun.preprocess import Preprocess
from edgerun.serve.oip import NAMES
from edgerun.splits.manifest import Manifest
from edgerun.splits.oip_messages import messages
from edgerun_tools import data

MODEL = "load"
"""Name under which the model is served."""


@dataclass(frozen=True)
class Work:
    """One input. http: the whole request as bytes; grpc: a serialized ModelInferRequest; expected: output → little-endian bytes."""

    http: bytes
    grpc: bytes
    expected: Mapping[str, bytes]

    def right_http(self, head: bytes, tail: bytes) -> bool:
        """Whether an answer in JSON with binary tensors has all expected outputs, bit for bit."""
        found = {}
        for o in json.loads(head)["outputs"]:
            size = o["parameters"]["binary_data_size"]
            found[o["name"]], tail = tail[:size], tail[size:]
        return found == self.expected

    def right_grpc(self, body: bytes) -> bool:
        """The same of a serialized ModelInferResponse."""
        answer = messages().ModelInferResponse.FromString(body)
        return {o.name: raw for o, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)} == self.expected


def prepare(model: str, spec: str, count: int, policy: str) -> list[Work]:
    """`count` inputs of the data set `spec` (as for `edgerun eval`) for an ONNX file, or for the tail of a folder of `edgerun split`
    (whose head runs here). Raises DataError, ModelError."""
    images, _, _ = data.load(spec)
    if not len(images):
        raise DataError(f"--data {spec}: expected images; found none")
    folder = Path(model)
    split = Manifest.read(folder) if folder.is_dir() else None
    first = folder / split.head.file if split else folder
    with edgerun.Session(first) as session:
        recipe = session.preprocess or Preprocess.guess(session.inputs[0].shape)
        if recipe is None:
            raise DataError(f"{model}: expected a model of images; found input {session.inputs[0]}")
        name, dtype = session.inputs[0].name, session.inputs[0].dtype
        feeds = [{name: recipe.apply(images[k % len(images)], dtype)} for k in range(count)]
        if split:
            feeds = [dict(session.run(f).outputs) for f in feeds]
    last = folder / split.tail.file if split else folder
    with edgerun.Session(last, exit_policy=policy, threads=1) as session:
        wanted = [i.name for i in session.inputs]
        feeds = [{n: f[n] for n in wanted} for f in feeds]
        return [_work(f, {n: _raw(x) for n, x in session.run(f).outputs.items()}) for f in feeds]


def _raw(x: np.ndarray) -> bytes:
    return x.astype(x.dtype.newbyteorder("<"), copy=False).tobytes()


def _work(feeds: Mapping[str, np.ndarray], expected: Mapping[str, bytes]) -> Work:
    inputs = [{"name": n, "shape": list(x.shape), "datatype": NAMES[x.dtype.newbyteorder("=")],
               "parameters": {"binary_data_size": x.nbytes}} for n, x in feeds.items()]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = b"".join([head, *map(_raw, feeds.values())])
    lines = (f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
             f"Inference-Header-Content-Length: {len(head)}\r\nContent-Length: {len(body)}\r\n\r\n")
    request = messages().ModelInferRequest(model_name=MODEL)
    for (n, x), entry in zip(feeds.items(), inputs, strict=True):
        request.inputs.add(name=n, datatype=str(entry["datatype"]), shape=list(x.shape))
        request.raw_input_contents.append(_raw(x))
    return Work(lines.encode() + body, request.SerializeToString(), dict(expected))


__all__ = ["MODEL", "Work", "prepare"]

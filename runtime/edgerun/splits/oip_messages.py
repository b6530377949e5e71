"""The gRPC messages of the Open Inference Protocol v2, built from a table when they are first asked for.

The classes live in a descriptor pool of their own, because `tritonclient`, and code generated from the specification's .proto file,
register the same names in protobuf's default pool. Source: github.com/kserve/open-inference-protocol,
specification/protocol/open_inference_grpc.proto; double_param and uint64_param are Triton's (grpc_service.proto). Needs protobuf."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from edgerun.errors import OptionError

SERVICE = "inference.GRPCInferenceService"
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
"""Each takes a <method>Request and returns a <method>Response."""

_TENSOR = "name string 1, datatype string 2, shape int64* 3, parameters map 4, contents InferTensorContents 5"
_TABLE = {
    "ServerLiveRequest": "", "ServerLiveResponse": "live bool 1",
    "ServerReadyRequest": "", "ServerReadyResponse": "ready bool 1",
    "ModelReadyRequest": "name string 1, version string 2", "ModelReadyResponse": "ready bool 1",
    "ServerMetadataRequest": "", "ServerMetadataResponse": "name string 1, version string 2, extensions string* 3",
    "ModelMetadataRequest": "name string 1, version string 2",
    "ModelMetadataResponse": "name string 1, versions string* 2, platform string 3, inputs .TensorMetadata* 4, outputs .TensorMetadata* 5",
    "ModelMetadataResponse.TensorMetadata": "name string 1, datatype string 2, shape int64* 3",
    "InferParameter": "bool_param bool 1 parameter_choice, int64_param int64 2 parameter_choice, string_param string 3 parameter_choice, "
                      "double_param double 4 parameter_choice, uint64_param uint64 5 parameter_choice",
    "InferTensorContents": "bool_contents bool* 1, int_contents int32* 2, int64_contents int64* 3, uint_contents uint32* 4, "
                           "uint64_contents uint64* 5, fp32_contents float* 6, fp64_contents double* 7, bytes_contents bytes* 8",
    "ModelInferRequest": "model_name string 1, model_version string 2, id string 3, parameters map 4, inputs .InferInputTensor* 5, "
                         "outputs .InferRequestedOutputTensor* 6, raw_input_contents bytes* 7",
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": "name string 1, parameters map 2",
    "ModelInferResponse": "model_name string 1, model_version string 2, id string 3, parameters map 4, outputs .InferOutputTensor* 5, "
                          "raw_output_contents bytes* 6",
    "ModelInferResponse.InferOutputTensor": _TENSOR,
}
"""Message → "field type number [oneof]"; * repeated; map: string to InferParameter; a leading dot: a message within this one."""


@functools.cache
def messages() -> SimpleNamespace:
    """Message classes by name: `messages().ModelInferRequest`. OptionError where protobuf is not installed."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as e:
        raise OptionError("gRPC: expected the package protobuf; found none: pip install 'edgerun[serve]'") from e
    file = descriptor_pb2.FileDescriptorProto(name="edgerun/oip.proto", package="inference", syntax="proto3")
    for name, fields in _TABLE.items():
        outer, _, inner = name.partition(".")
        scope = next((m for m in file.message_type if m.name == outer), None) if inner else None
        message = scope.nested_type.add() if scope is not None else file.message_type.add()
        message.name = inner or outer
        for field in filter(None, fields.split(", ")):
            _add(message, name, outer, field.split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    tops = (n for n in _TABLE if "." not in n)
    return SimpleNamespace(**{n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{n}")) for n in tops})


def _add(message: Any, path: str, outer: str, words: list[str]) -> None:
    name, kind, number, *oneof = words
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if kind.endswith("*") or kind == "map" else field.LABEL_OPTIONAL
    kind = kind.rstrip("*")
    if kind == "map":
        entry = message.nested_type.add(name="".join(w.capitalize() for w in name.split("_")) + "Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
        entry.field.add(name="value", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE, type_name=".inference.InferParameter")
        field.type, field.type_name = field.TYPE_MESSAGE, f".inference.{path}.{entry.name}"
    elif kind[0] == "." or kind[0].isupper():
        field.type = field.TYPE_MESSAGE
        field.type_name = f".inference.{outer}{kind}" if kind[0] == "." else f".inference.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
    if oneof:
        if not message.oneof_decl:
            message.oneof_decl.add(name=oneof[0])
        field.oneof_index = 0

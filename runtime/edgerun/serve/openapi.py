"""OpenAPI 3.1 description of the HTTP interface, served at /v2/openapi.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgerun.about import __version__
from edgerun.serve import status
from edgerun.serve.oip import DATATYPES

_TEXT = {"type": "string"}
_PARAMETERS: dict[str, Any] = {"type": "object", "maxProperties": 64,
                               "additionalProperties": {"type": ["string", "number", "boolean", "array"]}}


def document(names: Sequence[str]) -> dict[str, Any]:
    """names: of the models that are served."""
    error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}

    def answers(schema: str, *refusals: str) -> dict[str, Any]:
        codes: dict[int, list[str]] = {}
        for reason in refusals:
            codes.setdefault(status.of(reason).http, []).append(reason)
        ok = {"description": "the answer", "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}
        return {"200": ok, **{str(code): {"description": "; ".join(f"{r}: {status.of(r).meaning}" for r in reasons), **error}
                              for code, reasons in codes.items()}}

    def get(summary: str, schema: str, *refusals: str, parameters: Sequence[Any] = ()) -> dict[str, Any]:
        return {"get": {"summary": summary, "parameters": list(parameters), "responses": answers(schema, *refusals)}}

    name = {"name": "name", "in": "path", "required": True, "schema": {**_TEXT, "enum": list(names)}}
    version = {"name": "version", "in": "path", "required": True, "schema": {**_TEXT, "pattern": "^[A-Za-z0-9._-]{1,64}$"}}
    trust = ("forbidden", "envelope_missing", "envelope_syntax")
    infer_refusals = tuple(r for r, s in status.REASONS.items() if s.outcome != "error" and r not in ("not_found", "method", "tls"))
    envelope = {"name": "edgerun-envelope", "in": "header", "required": False, "schema": _TEXT,
                "description": "who sends this, with a signature over the body (docs/serving.md)"}
    paths: dict[str, Any] = {
        "/v2": get("the server", "Server", *trust),
        "/v2/health/live": get("whether the event loop beats", "Live"),
        "/v2/health/ready": get("whether all models are loaded and passed their self-test", "Ready", "not_ready"),
    }
    for stem, parameters in (("/v2/models/{name}", [name]), ("/v2/models/{name}/versions/{version}", [name, version])):
        paths[stem] = get("a model", "Model", "model_unknown", *trust, parameters=parameters)
        paths[f"{stem}/ready"] = get("whether a model is ready", "ModelReady", "model_unknown", "not_ready", *trust, parameters=parameters)
        body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Request"}}}}
        paths[f"{stem}/infer"] = {"post": {"summary": "run a model", "parameters": [*parameters, envelope], "requestBody": body,
                                           "responses": answers("Response", *infer_refusals)}}
    return {"openapi": "3.1.0", "info": {"title": "edgerun serve", "version": __version__, "description":
            "Open Inference Protocol v2; binary tensors as in Triton's extension binary_tensor_data"},
            "paths": paths, "components": {"schemas": _schemas()}}


def _object(required: Sequence[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _schemas() -> dict[str, Any]:
    datatype = {"enum": [*DATATYPES, "BYTES"]}
    shape = {"type": "array", "items": {"type": "integer"}, "maxItems": 16}
    data = {"type": "array", "items": {"type": ["number", "boolean", "array", "null"]}}
    tensor = _object(["name", "datatype", "shape"], name=_TEXT, datatype=datatype, shape=shape, parameters=_PARAMETERS, data=data)
    described = {"type": "array", "items": _object(["name", "datatype", "shape"], name=_TEXT, datatype=datatype, shape=shape)}
    wish = {**_object(["name"], name=_TEXT, parameters=_PARAMETERS), "additionalProperties": False}
    request = _object(["inputs"], id={**_TEXT, "maxLength": 256}, parameters=_PARAMETERS,
                      inputs={"type": "array", "maxItems": 256, "items": {**tensor, "additionalProperties": False}},
                      outputs={"type": "array", "maxItems": 256, "items": wish})
    return {
        "Error": _object(["error", "reason"], error=_TEXT, reason={"enum": list(status.REASONS)}),
        "Server": _object(["name", "version", "extensions"], name=_TEXT, version=_TEXT, extensions={"type": "array", "items": _TEXT}),
        "Live": _object(["live"], live={"type": "boolean"}),
        "Ready": _object(["ready"], ready={"type": "boolean"}),
        "ModelReady": _object(["name", "ready"], name=_TEXT, ready={"type": "boolean"}),
        "Model": _object(["name", "platform", "inputs", "outputs"], name=_TEXT, versions={"type": "array", "items": _TEXT}, platform=_TEXT,
                         inputs=described, outputs=described, parameters={"type": "object"}),
        "Request": {**request, "additionalProperties": False},
        "Response": _object(["model_name", "outputs"], model_name=_TEXT, model_version=_TEXT, id=_TEXT, parameters=_PARAMETERS,
                            outputs={"type": "array", "items": tensor}),
    }

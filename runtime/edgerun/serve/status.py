"""Why a message is refused, and how that is said in HTTP and in gRPC. The only table of its kind; its keys are labels of metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    """http: status code; grpc: name of a grpc.StatusCode; outcome: of the event; meaning: for the documents."""

    http: int
    grpc: str
    meaning: str
    outcome: str = "rejected"


REASONS: dict[str, Status] = {
    # transport
    "bad_http": Status(400, "INVALID_ARGUMENT", "not HTTP, or framing that could be read in two ways"),
    "not_found": Status(404, "NOT_FOUND", "no such route"),
    "method": Status(405, "UNIMPLEMENTED", "not a method of this route"),
    "too_large": Status(413, "RESOURCE_EXHAUSTED", "the body is larger than any input of the model can be"),
    "cut_off": Status(413, "RESOURCE_EXHAUSTED", "gRPC had no message to give: far too large, or its sender went away meanwhile"),
    "media": Status(415, "INVALID_ARGUMENT", "a content type or encoding that is not served"),
    "host": Status(421, "INVALID_ARGUMENT", "a Host that does not name this machine: perhaps a page from elsewhere in a browser here"),
    "headers_too_large": Status(431, "RESOURCE_EXHAUSTED", "too many header fields, or too long"),
    "slow": Status(408, "DEADLINE_EXCEEDED", "the message did not arrive in time"),
    "tls": Status(401, "UNAUTHENTICATED", "no TLS handshake with a valid certificate; nothing can be answered"),
    "gone": Status(400, "CANCELLED", "the sender went away before the answer"),
    # admission
    "rate": Status(429, "RESOURCE_EXHAUSTED", "the device sends more than its rate"),
    "overload": Status(503, "UNAVAILABLE", "the queue is full"),
    "draining": Status(503, "UNAVAILABLE", "the server is shutting down"),
    "not_ready": Status(503, "UNAVAILABLE", "the model is not loaded, or failed its self-test"),
    "deadline": Status(503, "DEADLINE_EXCEEDED", "the request's own timeout was over before a worker was free"),
    # trust
    "certificate": Status(401, "UNAUTHENTICATED", "the certificate is not one of this device"),
    "forbidden": Status(403, "PERMISSION_DENIED", "this peer may not use this route"),
    "envelope_missing": Status(401, "UNAUTHENTICATED", "no edgerun-envelope"),
    "envelope_syntax": Status(400, "INVALID_ARGUMENT", "an edgerun-envelope that is not one"),
    "key_unknown": Status(401, "UNAUTHENTICATED", "no such key of this device"),
    "key_revoked": Status(401, "UNAUTHENTICATED", "a revoked key"),
    "key_time": Status(401, "UNAUTHENTICATED", "a key that is not valid now"),
    "signature": Status(401, "UNAUTHENTICATED", "the signature does not fit"),
    "digest": Status(401, "UNAUTHENTICATED", "the body is not the one that was signed"),
    "clock": Status(401, "UNAUTHENTICATED", "sent too long ago, or in the future"),
    "replay": Status(409, "ALREADY_EXISTS", "a sequence number that was used before"),
    "replay_old": Status(409, "OUT_OF_RANGE", "a sequence number behind the window"),
    "epoch": Status(409, "FAILED_PRECONDITION", "an epoch before the device's latest"),
    "model_hash": Status(409, "FAILED_PRECONDITION", "signed for another model file"),
    "store": Status(503, "UNAVAILABLE", "the replay store cannot be reached"),
    # meaning
    "syntax": Status(400, "INVALID_ARGUMENT", "not JSON, or not a message of the protocol"),
    "model_unknown": Status(404, "NOT_FOUND", "no such model or version"),
    "input": Status(400, "INVALID_ARGUMENT", "inputs missing, unknown or repeated"),
    "output": Status(400, "INVALID_ARGUMENT", "outputs unknown, repeated or too many"),
    "datatype": Status(400, "INVALID_ARGUMENT", "another datatype than the model's"),
    "shape": Status(400, "INVALID_ARGUMENT", "a shape that the model does not take"),
    "size": Status(400, "INVALID_ARGUMENT", "bytes or elements that do not fit the shape"),
    "nonfinite": Status(400, "INVALID_ARGUMENT", "NaN or infinity"),
    "encoding": Status(400, "INVALID_ARGUMENT", "an encoding of features that is not one"),
    "parameter": Status(400, "INVALID_ARGUMENT", "a parameter with a value that is not legal"),
    # judgement
    "attack": Status(422, "FAILED_PRECONDITION", "the detector takes the features for manipulated", "attack"),
    "fault": Status(500, "DATA_LOSS", "a fault was found in the run and not cured; the answer is withheld", "fault"),
    "internal": Status(500, "INTERNAL", "a defect of the server", "error"),
}


def of(reason: str) -> Status:
    """The entry of a reason; "internal" for one that is not in the table."""
    return REASONS.get(reason, REASONS["internal"])

"""Every error edgerun raises on purpose.

EdgeRunError
├── ModelError                the model file
│   ├── ModelNotFoundError    no such file                      (also FileNotFoundError)
│   ├── ModelFormatError      not ONNX, damaged, or illegal
│   ├── UnsupportedOpError    an operator (or a form of it) nobody here can run
│   ├── ShapeError            shapes that do not fit, or are not known
│   └── LimitError            asks for more memory, nodes, nesting or iterations than allowed
├── PlanError                 a plan that cannot be made or loaded
├── InputError                what the caller fed               (also ValueError)
├── DataError                 a data set or an image            (also ValueError)
├── OptionError               a setting that is not legal       (also ValueError)
├── PolicyError               an exit policy that does not fit  (also ValueError)
├── FaultError                a detected fault, when the policy says abort
├── SignatureError            a signature that is missing, wrong, or of a key that is not trusted
├── Refused                   a message that a server does not serve
├── OffloadError              a server that gave no answer
├── StoreError                keys or used numbers that cannot be looked up
└── DeadlineExceeded          no answer within the time budget

Messages say: operator and node name (or file, or argument), what was expected, what was found, and what to do next.
"""

from __future__ import annotations


class EdgeRunError(Exception):
    """Base of all errors raised on purpose. `exit_code` is what the command line returns for it."""

    exit_code = 1


class ModelError(EdgeRunError):
    """The model file is the problem."""

    exit_code = 3


class ModelNotFoundError(ModelError, FileNotFoundError):
    """No file at the given path."""


class ModelFormatError(ModelError):
    """Not an ONNX model, damaged, or against the ONNX rules."""


class UnsupportedOpError(ModelError):
    """An operator, or a form of one, that neither a kernel nor the fallback can run."""


class ShapeError(ModelError):
    """Shapes in the model do not fit each other, or one cannot be determined."""


class LimitError(ModelError):
    """The model asks for more than a limit allows (edgerun.limits); the message names the option that raises it."""


class PlanError(EdgeRunError):
    """A plan that cannot be made, read or executed."""

    exit_code = 3


class InputError(EdgeRunError, ValueError):
    """A feed that does not match the model's inputs: name, shape, dtype or non-finite values."""

    exit_code = 4


class DataError(EdgeRunError, ValueError):
    """A data set or image that cannot be read."""

    exit_code = 4


class OptionError(EdgeRunError, ValueError):
    """A setting with a value that is not legal."""

    exit_code = 2


class PolicyError(EdgeRunError, ValueError):
    """An exit policy that the model has no exits or no calibration for."""

    exit_code = 2


class FaultError(EdgeRunError):
    """A fault was detected and the caller asked to abort on faults. `findings` holds what was found."""

    exit_code = 5

    def __init__(self, message: str, findings: tuple = ()) -> None:
        super().__init__(message)
        self.findings = findings


class SignatureError(EdgeRunError):
    """A model or message that is not signed, was changed, or is signed with a key that is not (or no longer) trusted."""

    exit_code = 7


class Refused(EdgeRunError):
    """A message that a server does not serve. reason: a key of `edgerun.serve.status.REASONS` (status code, label of a metric);
    detail: what the sender may know, so no path, address or internal name; retry_after: seconds, where trying again makes sense."""

    def __init__(self, reason: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.retry_after = reason, detail, retry_after


class OffloadError(EdgeRunError):
    """A server gave no answer. reason: unreachable, timeout, tls, bad_answer, circuit_open,
    no_server, features (values that the encoding cannot hold), or refused:<why>."""

    exit_code = 8

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"server: expected an answer; found: {reason}{f' ({detail})' if detail else ''}")
        self.reason, self.detail = reason, detail


class StoreError(EdgeRunError):
    """The store of keys or of used sequence numbers cannot be reached, or failed: nobody is let in until it works again."""


class DeadlineExceeded(EdgeRunError):
    """No exit could be reached within the time budget."""

    exit_code = 124


class EdgeRunWarning(UserWarning):
    """Something works, but not as well as it could: an operator that only the slow reference fallback runs."""


class FaultWarning(EdgeRunWarning):
    """A check failed in a call whose return type has no place for findings (`InferenceSession.run`)."""

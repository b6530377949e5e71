"""edgerun: ONNX models on small machines, checked while they run, and only as far as the input needs.

    import edgerun

    with edgerun.Session("model.onnx", exit_policy="dart") as session:
        result = session.run(x)
        print(result.top, result.exit, result.checks)

Code written for ONNX Runtime changes one import: `import edgerun as onnxruntime`.
"""

from edgerun.about import __version__, build_info
from edgerun.errors import (
    DataError,
    DeadlineExceeded,
    EdgeRunError,
    FaultError,
    FaultWarning,
    InputError,
    ModelError,
    OptionError,
    PlanError,
    PolicyError,
)
from edgerun.executors.base import Finding
from edgerun.ort_compat import InferenceSession, RunOptions, SessionOptions, get_available_providers
from edgerun.preprocess import Preprocess, read_image
from edgerun.result import Result
from edgerun.session import Session

__all__ = [
    "DataError",
    "DeadlineExceeded",
    "EdgeRunError",
    "FaultError",
    "FaultWarning",
    "Finding",
    "InferenceSession",
    "InputError",
    "ModelError",
    "OptionError",
    "PlanError",
    "PolicyError",
    "Preprocess",
    "Result",
    "RunOptions",
    "Session",
    "SessionOptions",
    "__version__",
    "build_info",
    "get_available_providers",
    "read_image",
]

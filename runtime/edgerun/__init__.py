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
    EdgeRunWarning,
    FaultError,
    FaultWarning,
    InputError,
    ModelError,
    ModelFormatError,
    ModelNotFoundError,
    OptionError,
    PlanError,
    PolicyError,
    ShapeError,
    UnsupportedOpError,
)
from edgerun.executors.base import Fault, Finding
from edgerun.ort_compat import (
    ExecutionMode,
    GraphOptimizationLevel,
    InferenceSession,
    NodeArg,
    RunOptions,
    SessionOptions,
    get_all_providers,
    get_available_providers,
    get_device,
    set_default_logger_severity,
)
from edgerun.preprocess import Preprocess, read_image
from edgerun.result import Result
from edgerun.session import Session

__all__ = [
    "DataError",
    "DeadlineExceeded",
    "EdgeRunError",
    "EdgeRunWarning",
    "ExecutionMode",
    "Fault",
    "FaultError",
    "FaultWarning",
    "Finding",
    "GraphOptimizationLevel",
    "InferenceSession",
    "InputError",
    "ModelError",
    "ModelFormatError",
    "ModelNotFoundError",
    "NodeArg",
    "OptionError",
    "PlanError",
    "PolicyError",
    "Preprocess",
    "Result",
    "RunOptions",
    "Session",
    "SessionOptions",
    "ShapeError",
    "UnsupportedOpError",
    "__version__",
    "build_info",
    "get_all_providers",
    "get_available_providers",
    "get_device",
    "read_image",
    "set_default_logger_severity",
]

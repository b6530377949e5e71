"""Models as a service: the Open Inference Protocol v2 over HTTP and gRPC. Needs the extra `serve`.

    async with edgerun.serve.Server({"digits": "digits.onnx"}, insecure=True): ...
"""

from edgerun.serve.events import Event, Observers
from edgerun.serve.gate import Gate, OpenGate, Principal
from edgerun.serve.http import App, Reply
from edgerun.serve.keygate import KeyGate, open_gate
from edgerun.serve.log import JsonLog
from edgerun.serve.server import Server
from edgerun.serve.settings import ModelOptions, ServeLimits, TlsFiles

__all__ = ["App", "Event", "Gate", "JsonLog", "KeyGate", "ModelOptions", "Observers", "OpenGate", "Principal", "Reply", "ServeLimits",
           "Server", "TlsFiles", "open_gate"]

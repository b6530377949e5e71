"""The device side of a split model: run the head, leave early where the input allows it, ask the server for the rest.

    from edgerun.device import Device

    with Device("parts/", "https://edge.lan:8000", name="cam-1", key=key, state="/var/lib/cam-1", exit_policy="dart") as device:
        answer = device.infer(x)
"""

from edgerun.broker import Broker
from edgerun.device.breaker import Backoff, Breaker
from edgerun.device.device import Answer, Device
from edgerun.device.remote import Remote
from edgerun.device.spool import Spool
from edgerun.device.state import State
from edgerun.device.telemetry import Telemetry
from edgerun.device.transport import Tls
from edgerun.splits.keys import DeviceKey

__all__ = ["Answer", "Backoff", "Breaker", "Broker", "Device", "DeviceKey", "Remote", "Spool", "State", "Telemetry", "Tls"]

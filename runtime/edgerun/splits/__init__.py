"""A model in two parts: what travels between them, who sent it, and the page that says which parts belong together."""

from edgerun.splits.envelope import Envelope, Signer
from edgerun.splits.keys import DeviceKey
from edgerun.splits.manifest import KEY, Manifest, Part
from edgerun.splits.replay import ReplayStore, Verdict, Window
from edgerun.splits.ring import KeyRing
from edgerun.splits.wire import ENCODINGS, Packed, pack, unpack

__all__ = ["ENCODINGS", "KEY", "DeviceKey", "Envelope", "KeyRing", "Manifest", "Packed", "Part", "ReplayStore", "Signer", "Verdict",
           "Window", "pack", "unpack"]

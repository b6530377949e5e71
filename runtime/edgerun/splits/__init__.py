"""A model in two parts: what travels between them, and the page that says which parts belong together."""

from edgerun.splits.manifest import KEY, Manifest, Part
from edgerun.splits.wire import ENCODINGS, Packed, pack, unpack

__all__ = ["ENCODINGS", "KEY", "Manifest", "Packed", "Part", "pack", "unpack"]

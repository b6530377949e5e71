"""split.json: which head and tail belong together, what travels between them, and what was measured. Schema "edgerun.split/1"."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgerun.errors import ModelFormatError, ModelNotFoundError

NAME = "split.json"
SCHEMA = "edgerun.split/1"
KEY = "edgerun.split"
"""Metadata entry of a head and of a tail: {"role": "head" | "tail", "tensors": [...], "model_sha256": ...}."""


@dataclass(frozen=True)
class Part:
    """A file of the folder. exits: names, first to last; of a head those on the device."""

    file: str
    sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    exits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """tensors: what travels, {"name", "dtype", "shape"} (shape of one sample's batch of 1). wire: bytes and loss by encoding. verified:
    inputs tried and the worst difference between the parts and the whole. latency: the table of --auto."""

    model: str
    model_sha256: str
    head: Part
    tail: Part
    tensors: tuple[Mapping[str, Any], ...]
    wire: Mapping[str, Any] = field(default_factory=dict)
    verified: Mapping[str, Any] = field(default_factory=dict)
    latency: Mapping[str, Any] = field(default_factory=dict)

    def dumps(self) -> str:
        """The text of split.json."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def read(cls, folder: str | Path, parts: Sequence[str] = ("head", "tail")) -> Manifest:
        """Of a folder, its files held against their digests; parts: those that have to be there. ModelNotFoundError, ModelFormatError."""
        path = Path(folder) / NAME
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as e:
            raise ModelNotFoundError(f"{path}: expected the page that `edgerun split` writes; found none") from e
        except (OSError, ValueError, RecursionError) as e:
            raise ModelFormatError(f"{path}: expected JSON; found: {e}") from e
        if not isinstance(raw, dict) or raw.pop("schema", None) != SCHEMA:
            raise ModelFormatError(f"{path}: expected schema {SCHEMA!r}; run `edgerun split` again")
        try:
            for k in ("head", "tail"):
                entries: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in raw[k].items()}
                raw[k] = Part(**entries)
            found = cls(**raw | {"tensors": tuple(raw["tensors"])})
        except (KeyError, TypeError, AttributeError) as e:
            raise ModelFormatError(f"{path}: expected the fields of {SCHEMA}; found a bad or missing one: {e}") from e
        for part in (getattr(found, role) for role in parts):
            file = path.parent / str(part.file)
            if Path(str(part.file)).name != part.file or not file.is_file():
                raise ModelFormatError(f"{path}: expected a file of this folder; found {part.file!r}")
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            if digest != part.sha256:
                raise ModelFormatError(f"{file}: expected sha256 {str(part.sha256)[:12]}…; found {digest[:12]}…: the file was "
                                       "changed since it was split")
        return found

"""Entries of ONNX metadata_props that commands write into a model file."""

from __future__ import annotations

import os
from pathlib import Path

import onnx

from edgerun.errors import OptionError
from edgerun.importer.read import read


def without(model: str, *keys: str) -> bytes:
    """The model's bytes without these entries: old ones must not hinder new ones."""
    proto = read(model).proto
    _drop(proto, *keys)
    return bytes(proto.SerializeToString())


def embed(model: str, out: str, key: str, text: str) -> None:
    """Writes the model with the entry to `out` (which may be the model): all of the file or nothing. OptionError."""
    proto = onnx.load(model, load_external_data=os.path.abspath(out) != os.path.abspath(model))
    _drop(proto, key)
    proto.metadata_props.add(key=key, value=text)
    temporary = Path(out).with_name(Path(out).name + ".part")
    try:
        onnx.save(proto, temporary)
        temporary.replace(out)
    except OSError as e:
        raise OptionError(f"{out}: expected a file that can be written; found: {e}") from e


def _drop(proto: onnx.ModelProto, *keys: str) -> None:
    kept = [p for p in proto.metadata_props if p.key not in keys]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)

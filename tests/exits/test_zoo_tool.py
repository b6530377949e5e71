"""The zoo's manifest after a calibration."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgerun.errors import DataError
from edgerun_tools.zoo import refresh

MANIFEST = '# head\n\n[[model]]\nname = "a"\nbytes = 1\nsha256 = "00"\nx = 1\n\n[[model]]\nname = "b"\nbytes = 2\nsha256 = "11"\n'


def test_only_the_entry_of_the_model_changes(tmp_path: Path) -> None:
    manifest, model = tmp_path / "manifest.toml", tmp_path / "model.onnx"
    manifest.write_text(MANIFEST)
    model.write_bytes(b"12345")
    refresh(manifest, "a", model)
    digest = hashlib.sha256(b"12345").hexdigest()
    assert manifest.read_text() == MANIFEST.replace("bytes = 1", "bytes = 5").replace('"00"', f'"{digest}"')


def test_unknown_model_is_said(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(MANIFEST)
    with pytest.raises(DataError, match="named c"):
        refresh(manifest, "c", manifest)

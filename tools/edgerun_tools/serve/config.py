"""--config FILE.toml: the command's options by their long names, and what has no option: models with detectors, limits.

    models = { digits = "digits.onnx", parts = "parts/" }
    detectors = { parts = "detector.onnx" }
    host = "0.0.0.0"
    checks = "standard"
    tls-cert = "server.pem"
    tls-key = "server.key"
    client-ca = "ca.pem"

    [limits]
    rate = 50
    body_s = 5.0

    [model.digits]                  # of this model only
    exit-policy = "none"
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgerun.errors import OptionError
from edgerun.serve.settings import ModelOptions, ServeLimits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


TABLES = ("models", "detectors", "limits", "model")
PATHS = ("tls_cert", "tls_key", "client_ca", "keys", "replay", "verify_key", "mqtt_store", "mqtt_ca", "mqtt_cert", "mqtt_key")
"""Options that are files, unless they are addresses (redis://)."""


def read(path: str, options: Sequence[str]) -> dict[str, Any]:
    """The entries by name, "-" as "_"; relative paths are those of the file's folder. OptionError for what is not known.
    options: legal names beside models, detectors and limits."""
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise OptionError(f"--config {path}: expected a TOML file; found: {e}") from e
    found = {k.replace("-", "_"): v for k, v in raw.items()}
    unknown = sorted(set(found) - set(options) - set(TABLES))
    if unknown:
        raise OptionError(f"--config {path}: expected {', '.join([*TABLES, *options])}; found {', '.join(unknown)}")
    for name in ("models", "detectors"):
        entries = found.get(name, {})
        if not isinstance(entries, dict) or not all(isinstance(v, str) for v in entries.values()):
            raise OptionError(f"--config {path}: {name}: expected a table of names and paths; found {entries!r}")
        found[name] = {k: str(Path(path).parent / v) for k, v in entries.items()}
    return found | {k: _beside(path, found[k]) for k in PATHS if k in found}


def _beside(path: str, value: Any) -> Any:
    """A path, or a list of them, from the folder of the file `path`; what is none is left for `typed` to tell."""
    if isinstance(value, list):
        return [_beside(path, v) for v in value]
    return str(Path(path).parent / value) if isinstance(value, str) and value and "://" not in value else value


NUMBERS: dict[str, type] = {"workers": int, "rate": float, "drain": float, "max_age": float}
"""Options that are not set are text, but for these."""
LISTS = ("verify_key", "allowed_host")
"""Options that may be given several times: a text, or a list of them."""


def typed(name: str, value: Any, default: Any) -> Any:
    """An option of the file, which has to be of its default's type. OptionError."""
    if name in LISTS:
        several = value if isinstance(value, list) else [value]
        if not all(isinstance(v, str) for v in several):
            raise OptionError(f"--config: {name}: expected a text, or a list of texts; found {value!r}")
        return several
    kind = NUMBERS.get(name, str) if default is None else type(default)
    value = float(value) if kind is float and type(value) is int else value
    if type(value) is not kind:
        raise OptionError(f"--config: {name}: expected a value like {default!r}, {kind.__name__}; found {value!r}")
    return value


def of_models(entries: Any, common: ModelOptions) -> dict[str, ModelOptions]:
    """The tables [model.NAME]: options of one model, the rest as in `common`. OptionError."""
    legal = sorted(set(ModelOptions.__dataclass_fields__) - {"workers", "session"})
    found = {}
    for name, given in entries.items() if isinstance(entries, dict) else [("", entries)]:
        table = {k.replace("-", "_"): v for k, v in given.items()} if isinstance(given, dict) else {"": given}
        if not name or set(table) - set(legal):
            raise OptionError(f"model {name}: expected a table of {', '.join(legal)}; found {given!r}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        found[name] = replace(common, **values)
    return found


def limits(entries: Mapping[str, Any], overrides: Mapping[str, Any]) -> ServeLimits:
    """From the table [limits] and the command line, which wins. OptionError."""
    known = ServeLimits.__dataclass_fields__
    if not isinstance(entries, dict) or set(entries) - set(known):
        raise OptionError(f"limits: expected a table of {', '.join(known)}; found {entries!r}")
    return ServeLimits(**{**entries, **{k: v for k, v in overrides.items() if v is not None}})


def models(specs: Sequence[str]) -> dict[str, str]:
    """["digits=a.onnx", "parts/"] → {"digits": "a.onnx", "parts": "parts/"}; a version stands behind the name: digits:2=b.onnx."""
    found: dict[str, str] = {}
    for spec in specs:
        name, equals, path = spec.partition("=")
        if not equals or "/" in name:
            path = spec
            folder = Path(spec).resolve()
            name = folder.name if folder.is_dir() else folder.stem
        if name in found:
            raise OptionError(f"models: expected names to differ; found {name!r} twice; give one another name: NAME={path}")
        found[name] = path
    return found

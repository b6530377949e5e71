"""The models of a server by name and version. What is in it when the server starts is all there is: nothing is loaded over the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from edgerun.errors import OptionError, Refused
from edgerun.serve.served import Served

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Repository:
    """OptionError for two models of the same name and version, or a name that cannot stand in a path."""

    def __init__(self, models: Iterable[Served]) -> None:
        self._versions: dict[str, dict[str, Served]] = {}
        for served in models:
            for what, text in (("name", served.name), ("version", served.version)):
                if not NAME.fullmatch(text):
                    raise OptionError(f"model {served.path}: {what}: expected letters, digits, '.', '_' or '-', at most 64; found {text!r}"
                                      "; give another with NAME=PATH")
            versions = self._versions.setdefault(served.name, {})
            if served.version in versions:
                raise OptionError(f"models: expected names to differ; found {served.name!r} version {served.version} twice; give one "
                                  "another name with NAME=PATH")
            versions[served.version] = served
        if not self._versions:
            raise OptionError("models: expected at least one; found none")

    def __iter__(self) -> Iterator[Served]:
        return (served for versions in self._versions.values() for served in versions.values())

    def versions(self, name: str) -> list[str]:
        return sorted(self._versions.get(name, {}), key=_order)

    def find(self, name: str, version: str = "") -> Served:
        """The latest version where none is named. Refused("model_unknown")."""
        versions = self._versions.get(name, {})
        found = versions.get(version or max(versions, key=_order, default=""))
        if found is None:
            raise Refused("model_unknown", "no such model or version")
        return found

    @property
    def ready(self) -> bool:
        return all(served.healthy for served in self)

    def close(self) -> None:
        for served in self:
            served.close()


def _order(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdecimal() and len(version) < 10 else (-1, version)

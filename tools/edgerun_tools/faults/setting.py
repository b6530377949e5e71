"""What is asked of a campaign, and the words that ask for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgerun.errors import OptionError
from edgerun.options import CHECKS, PRESETS, kinds_of
from edgerun_tools.faults.bundle import OFF
from edgerun_tools.faults.plan import LEAST


@dataclass(frozen=True)
class Setting:
    """What is asked for; `command` gives the words. non_masked: go on until so many faults of every site had an effect without checks (the
    bound form); worst: targeted weight flips to add; least: faults of every place, at least; on_fault: reaction, None: what each preset
    has by default; scrub_bytes: of memory that the check "weights" verifies in a run (by default that depends on time)."""


    model: str
    data: str
    presets: Mapping[str, str]
    sites: str = "all"
    models: str = "all"
    margin: float = 0.01
    confidence: float = 0.95
    seed: int = 1
    inputs: int = 100
    later: int = 8
    on_fault: str | None = None
    threads: int = 1
    least: int = LEAST
    non_masked: int = 0
    worst: int = 0
    scrub_bytes: int = 1 << 15

    @property
    def settings(self) -> dict[str, Any]:
        """Options of the sessions, all but the checks."""
        reaction = {} if self.on_fault is None else {"on_fault": self.on_fault}
        return {"threads": self.threads, "executor": "engine", "scrub_bytes": self.scrub_bytes} | reaction

    @property
    def command(self) -> str:
        """The command that reproduces the campaign, on any number of cores and machines."""
        options = {"data": self.data, "checks": ",".join(self.presets), "sites": self.sites, "models": self.models,
                   "margin": f"{self.margin:g}", "confidence": f"{self.confidence:g}", "seed": self.seed, "inputs": self.inputs,
                   "later": self.later, "threads": self.threads, "least": self.least, "non-masked": self.non_masked,
                   "worst": self.worst, "scrub-bytes": self.scrub_bytes}
        if self.on_fault is not None:
            options["on-fault"] = self.on_fault
        words = [w for k, v in options.items() for w in (f"--{k}", str(v))]
        return shlex.join(["edgerun", "campaign", self.model, *words, "--out", "DIR"])


def presets(text: str) -> dict[str, str]:
    """"off,maed,full-abft,maed+flow" → {name: checks}: presets, kinds joined by +, presets without kinds by -; `off` always first."""
    found = {OFF: "off"}
    for name in (n.strip() for n in text.split(",")):
        base = next((p for p in PRESETS if name.startswith(f"{p}-") and name not in CHECKS), "")
        found[name] = _without(name, base, name[len(base) + 1:]) if base else name.replace("+", ",")
        kinds_of(found[name])
    return found


def _without(name: str, base: str, kinds: str) -> str:
    """The kinds of a preset but for some, which are separated by - ("maed-paper" is one kind)."""
    left = list(PRESETS[base])
    while kinds:
        kind = next((k for k in left if kinds == k or kinds.startswith(f"{k}-")), None)
        if kind is None:
            raise OptionError(f"--checks {name}: expected kinds of {base} ({', '.join(PRESETS[base]) or 'none'}) after -, each once; "
                              f"found {kinds}")
        left.remove(kind)
        kinds = kinds[len(kind) + 1:]
    return ",".join(left) or "off"

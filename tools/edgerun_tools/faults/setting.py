"""What is asked of a campaign, and the words that ask for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from edgerun.errors import OptionError
from edgerun.options import PRESETS, kinds_of
from edgerun_tools.faults.bundle import OFF
from edgerun_tools.faults.plan import LEAST


@dataclass(frozen=True)
class Setting:
    """What is asked for; `command` gives the words. non_masked: go on until so many faults of every site had an effect without checks (the
    bound form); worst: targeted weight flips to add; least: faults of every place, at least."""

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
    on_fault: str = "retry"
    threads: int = 1
    least: int = LEAST
    non_masked: int = 0
    worst: int = 0

    @property
    def command(self) -> str:
        """The command that reproduces the campaign, on any number of cores and machines."""
        options = {"data": self.data, "checks": ",".join(self.presets), "sites": self.sites, "models": self.models,
                   "margin": f"{self.margin:g}", "confidence": f"{self.confidence:g}", "seed": self.seed, "inputs": self.inputs,
                   "later": self.later, "on-fault": self.on_fault, "threads": self.threads, "least": self.least,
                   "non-masked": self.non_masked, "worst": self.worst}
        words = [w for k, v in options.items() for w in (f"--{k}", str(v))]
        return shlex.join(["edgerun", "campaign", self.model, *words, "--out", "DIR"])


def presets(text: str) -> dict[str, str]:
    """"off,maed,full-abft,maed+flow" → {name: checks}: presets, kinds joined by +, presets without kinds by -; `off` always first."""
    found = {OFF: "off"}
    for name in (n.strip() for n in text.split(",")):
        base, *without = name.split("-")
        kinds = PRESETS[base] if base in PRESETS else kinds_of(base.replace("+", ","))
        unknown = [w for w in without if w not in kinds]
        if unknown:
            raise OptionError(f"--checks {name}: expected kinds of {base} ({', '.join(kinds) or 'none'}) after -; found "
                              f"{', '.join(unknown)}")
        found[name] = name if name in PRESETS else ",".join(k for k in kinds if k not in without) or "off"
    return found

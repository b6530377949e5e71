"""What the presets of a campaign cost: latency in interleaved rounds, beside `off`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from edgerun_tools.faults.bundle import OFF, Bundle
from edgerun_tools.faults.target import open_session
from edgerun_tools.info import cpu_model
from edgerun_tools.timing import interleave, ratio


def measure(bundle: Bundle, seconds: float) -> dict[str, Any]:
    """Median time and overhead of every preset on the first input. Not part of the results: times differ from run to run."""
    sessions = {name: open_session(bundle.model, checks, bundle.settings) for name, checks in bundle.presets.items()}
    feeds: Mapping[str, Any] = bundle.inputs[0]
    timings = interleave({name: partial(s.run, feeds) for name, s in sessions.items()}, duration_s=seconds)
    presets = {}
    for name, timing in timings.items():
        over = ratio(timing, timings[OFF])
        presets[name] = {"p50_ms": timing.summary()["p50"], "overhead": over["median"] - 1, "p25": over["p25"] - 1, "p75": over["p75"] - 1}
    for session in sessions.values():
        session.close()
    return {"presets": presets, "rounds": len(timings[OFF].rounds), "threads": bundle.settings["threads"], "cpu": cpu_model()}

"""The times of all places a model can be cut at, as stacked bars."""

from __future__ import annotations

from collections.abc import Sequence

from edgerun_tools import plots
from edgerun_tools.split.latency import Link, Row

LONGEST = 48
"""Characters of a tensor's name."""


def places(path: str, title: str, rows: Sequence[Row], chosen: str, link: Link) -> None:
    """Bars for device, wire and server of an input that travels; a mark at the mean over all inputs. OptionError."""
    pyplot = plots.require()
    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.28 * len(rows)), layout="constrained")
    at = range(len(rows))
    left = [0.0] * len(rows)
    for label, colour, values in (("device", "tab:blue", [r.device_ms for r in rows]), ("wire", "tab:orange", [r.wire_ms for r in rows]),
                                  ("server", "tab:green", [r.server_ms for r in rows])):
        axes.barh(at, values, left=left, color=colour, label=label)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.plot([r.latency_ms for r in rows], at, "k|", markersize=10, label="mean, exits counted")
    names = [("… " + r.tensor[-LONGEST:] if len(r.tensor) > LONGEST else r.tensor) + f"  {r.bytes / 1024:.1f} KiB" for r in rows]
    axes.set_yticks(at, names, fontsize=7)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.tensor == chosen else "normal")
    axes.invert_yaxis()
    axes.set(title=f"{title}: {link.bandwidth / 1e6:g} Mbit/s, round trip {1e3 * link.rtt:g} ms, {link.encoding}", xlabel="ms an answer")
    axes.grid(axis="x", linewidth=0.3)
    axes.legend(fontsize=8)
    plots.save(figure, path)

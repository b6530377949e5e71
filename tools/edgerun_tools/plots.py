"""Figures with matplotlib, an optional extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgerun.errors import OptionError

STYLES = {"dart": ("tab:red", "o"), "confidence": ("tab:blue", "s"), "entropy": ("tab:green", "^"),
          "patience": ("tab:orange", "D"), "none": ("black", "*")}


def require() -> Any:
    """matplotlib.pyplot with the file backend; OptionError naming the extra where it is not installed."""
    try:
        import matplotlib
    except ImportError as e:
        raise OptionError("--plot: expected matplotlib, found it is not installed; pip install 'edgerun[plot]', or leave "
                          "--plot away") from e
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, path: str) -> None:
    """Write a figure and close it; the file type follows from the path's suffix. OptionError where that cannot be."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as e:
        raise OptionError(f"--plot {path}: expected a file that can be written (.png, .svg or .pdf); found: {e}") from e
    finally:
        require().close(figure)


def fronts(path: str, title: str, series: Mapping[str, Sequence[tuple[float, float]]],
           chosen: Mapping[str, tuple[float, float]], last: float, xlabel: str) -> None:
    """Accuracy over cost. series: per policy (cost, accuracy in %) points; chosen: its operating point; last: accuracy of
    the last exit in %, drawn as a line. The file type follows from the path's suffix."""
    pyplot = require()
    figure, axes = pyplot.subplots(figsize=(6.4, 4.4), layout="constrained")
    axes.axhline(last, color="gray", linewidth=0.8, linestyle=":", label="last exit")
    for name, points in series.items():
        color, marker = STYLES.get(name.partition(",")[0], ("tab:purple", "x"))
        ordered = sorted(points)
        axes.plot([p[0] for p in ordered], [p[1] for p in ordered], color=color, marker=marker, markersize=3, linewidth=1,
                  linestyle="--" if "," in name else "-", label=name)
        if name in chosen:
            axes.plot(*chosen[name], color=color, marker=marker, markersize=10, fillstyle="none")
    if series:
        floor = min(p[1] for points in series.values() for p in points)
        axes.set_ylim(max(floor, last - 8), None)
    axes.set(title=title, xlabel=xlabel, ylabel="accuracy, %")
    axes.grid(linewidth=0.3)
    axes.legend()
    save(figure, path)

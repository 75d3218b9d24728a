"""A chart of a simulation: each deployment's part of the traffic, and the money, over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from router_config.simulation.figures import BUCKETS, Figures

__all__ = ["FORMATS", "plot"]

FORMATS = (".png", ".svg")


def plot(sides: Sequence[tuple[str, Figures]], path: Path) -> None:
    """Draw *sides* (a title and its figures) next to each other into *path*, PNG or SVG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5 * len(sides), 7), layout="constrained")
    (FigureCanvasSVG if path.suffix == ".svg" else FigureCanvasAgg)(figure)
    names = list(dict.fromkeys(id_ for _, one in sides for id_ in one.deployments))
    rows = figure.subplots(2, len(sides), squeeze=False, sharex="col", height_ratios=[3, 2])
    most = max((sum(one.spent_over_time) * one.factor / 1e9 for _, one in sides), default=0.0)
    for column, (title, one) in enumerate(sides):
        times = _times(one)
        _shares(rows[0][column], times, one, names, title)
        _money(rows[1][column], times, one, most)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _times(figures: Figures) -> list[datetime]:
    step = (figures.end - figures.start) / BUCKETS
    return [datetime.fromtimestamp(figures.start + i * step, UTC) for i in range(BUCKETS)]


def _shares(
    axes: Any, times: list[datetime], figures: Figures, names: Sequence[str], title: str
) -> None:
    series = [figures.of(id_).over_time for id_ in names]
    totals = [sum(column) or 1 for column in zip(*series, strict=True)]
    shares = [[100 * n / total for n, total in zip(one, totals, strict=True)] for one in series]
    axes.stackplot(times, shares, labels=names, step="post", colors=_colours(len(names)))
    axes.set(title=title, ylabel="part of the inputs, %", ylim=(0, 100))
    axes.margins(x=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small", frameon=False)


def _money(axes: Any, times: list[datetime], figures: Figures, most: float) -> None:
    spent = [n * figures.factor / 1e9 for n in accumulate(figures.spent_over_time)]
    axes.plot(times, spent, color="#333333", drawstyle="steps-post")
    axes.set(ylabel="spent, USD", ylim=(0, most * 1.05 or 1), xlabel="UTC")
    axes.grid(visible=True, alpha=0.3)
    axes.tick_params(axis="x", rotation=30)


def _colours(n: int) -> list[Any]:
    from matplotlib import colormaps

    palette = colormaps["tab20"]
    return [palette(i % 20) for i in range(n)]

"""Charts as inline SVG: no script, no font, no file, the same bytes for the same data.

Colours are custom properties of the page, so one drawing serves light and dark. Two widths of each chart are made, as
text in a scaled drawing would be too small on a telephone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reports.statistics import spread
from reports.words import milliseconds, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES_MAX = 6
BINS = 36
FLOOR_NS = 1_000  # what took less is not drawn: it was over at once, and would stretch a logarithmic axis over decades
LINEAR_MAX = 10  # from this ratio of the ends on, the axis is logarithmic
# matplotlib knows no custom properties: it draws in these, which occur nowhere else, and they are replaced after.
_COLOURS = {"#010203": "var(--ink)", "#040506": "var(--muted)", "#070809": "var(--line)", "#0c0d0e": "var(--paper)"}
_INK, _MUTED, _LINE, _PAPER = _COLOURS
_SERIES = tuple(f"#0a0b{n:02x}" for n in range(SERIES_MAX))
_COLOURS |= {colour: f"var(--series-{n + 1})" for n, colour in enumerate(_SERIES)}
_SIZES = {"wide": (9.6, 3.1), "narrow": (4.4, 3.4)}


def recovery_times(samples: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Histogram of recovery times (virtual ns) from FLOOR_NS on, stacked by scenario; {} where there are none.

    Keys are "wide" and "narrow", values SVG. Beyond SERIES_MAX scenarios the rest are drawn as one.
    """
    drawn = {name: [ns for ns in samples[name] if ns >= FLOOR_NS] for name in sorted(samples)}
    known = {name: sample for name, sample in drawn.items() if sample}
    if not known:
        return {}
    names = list(known)
    if len(names) > SERIES_MAX:
        rest = names[SERIES_MAX - 1 :]
        known = {name: known[name] for name in names[: SERIES_MAX - 1]} | {
            "others": [ns for n in rest for ns in known[n]]
        }
    everything = [ns for sample in samples.values() for ns in sample]
    return {size: _histogram(known, everything, size) for size in _SIZES}


def _histogram(samples: Mapping[str, Sequence[int]], everything: Sequence[int], size: str) -> str:
    """`everything` holds what is not drawn as well: the marks stand for all of it, as the figures in the page do."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    # For this drawing alone, from matplotlib's own defaults: a user's settings neither change it nor are changed.
    settings: Any = {
        "svg.hashsalt": f"wasm-engine {size}",
        "svg.fonttype": "none",
        "font.size": 9.5,
        "text.parse_math": False,
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        figure = Figure(figsize=_SIZES[size], layout="constrained")
        axes = figure.add_subplot()
        drawn = [ns for sample in samples.values() for ns in sample]
        low, high = min(drawn) * 0.9 / 1e6, max(drawn) * 1.1 / 1e6
        wide = high / low > LINEAR_MAX
        edges = np.geomspace(low, high, BINS + 1) if wide else np.linspace(low, high, BINS + 1)
        series = [np.array(sample) / 1e6 for sample in samples.values()]
        labels = [" " * name.startswith("_") + plain(name, 24) for name in samples]  # "_x" would be left out
        axes.hist(series, bins=list(edges), stacked=True, color=list(_SERIES[: len(series)]), label=labels, rwidth=0.9)
        if wide:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel(f"recovery time, virtual ms{' (logarithmic)' if wide else ''}", color=_MUTED)
        axes.set_ylabel("recoveries", color=_MUTED)
        _dress(axes)
        _marks(axes, everything)
        if len(samples) > 1:
            columns = SERIES_MAX if size == "wide" else 3
            figure.legend(loc="outside upper left", ncols=columns, frameon=False, labelcolor=_INK, handlelength=1)
        return _svg(figure, size)


def _dress(axes: Axes) -> None:
    axes.tick_params(colors=_MUTED, which="both", length=3)
    axes.grid(axis="y", color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_LINE)


def _marks(axes: Axes, sample: Sequence[int]) -> None:
    """p50, p99 and worst as lines; their labels stand at three heights, as they often lie close together."""
    figures = spread(sample)
    axes.margins(y=0.42)
    for height, name, ns in ((0.96, "p50", figures.p50), (0.85, "p99", figures.p99), (0.74, "worst", figures.worst)):
        if ns is None or ns < FLOOR_NS:
            continue
        beyond_middle = axes.transLimits.transform(axes.transScale.transform((ns / 1e6, 1)))[0] > 0.5
        axes.axvline(ns / 1e6, color=_INK, linewidth=0.9, linestyle=(0, (3, 3)))
        axes.annotate(
            f"{name} {milliseconds(ns)} ms",
            (ns / 1e6, height),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if beyond_middle else 5, 0),
            textcoords="offset points",
            ha="right" if beyond_middle else "left",
            va="center",
            color=_INK,
            bbox={"facecolor": _PAPER, "edgecolor": "none", "pad": 1.5},
        )


def _svg(figure: Figure, prefix: str) -> str:
    sink = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(sink, format="svg", transparent=True, metadata=nothing)
    text = sink.getvalue()
    text = text[text.index("<svg") :]
    for colour, name in _COLOURS.items():
        text = text.replace(colour, name)
    text = re.sub(r'(?<= id=")|(?<=url\(#)|(?<=href="#)', f"{prefix}-", text)  # ids are unique in the whole page
    head, body = text.split(">", 1)
    return re.sub(r'\s(?:width|height)="[^"]*"', "", head) + ">" + body  # the page gives it its size

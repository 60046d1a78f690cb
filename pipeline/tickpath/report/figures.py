"""Plotly figures as plain dictionaries: percentile curves, bars, timelines, curves over a size.

Colours are named after the style sheet's variables (``var(--series-0)``); the page's script puts in
the value of the reader's colour scheme.  Strings from the input are escaped once more here, because
plotly reads markup in names and labels.
"""

import html
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from tickpath.report import units

POINTS_PER_DECADE = 100
"""Points of a percentile curve on one decade of its axis; more could not be seen."""
SERIES = 9
"""Series colours of the style sheet; further series begin again with dashed lines."""
LEVELS = ("var(--level-0)", "var(--level-1)", "var(--level-2)")
_LEAST_NS = 1.0

Figure = dict[str, Any]


def _safe(name: Any) -> str:
    return html.escape(units.words(name))


def _style(place: int) -> dict[str, Any]:
    dash = "solid" if place < SERIES else "dash"
    return {"color": f"var(--series-{place % SERIES})", "dash": dash, "width": 1.6}


def _layout(height: int, **more: Any) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 12, "b": 52},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "var(--ink)", "size": 13, "family": "system-ui, sans-serif"},
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": "var(--muted)",
            "activecolor": "var(--accent)",
        },
        "hoverlabel": {"bgcolor": "var(--panel)", "bordercolor": "var(--line)", "align": "left"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        **more,
    }


def _axis(title: str | None = None, **more: Any) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "gridcolor": "var(--line)",
        "linecolor": "var(--line)",
        "zerolinecolor": "var(--line)",
        "tickcolor": "var(--line)",
        "automargin": True,
        **more,
    }
    if title:
        axis["title"] = {"text": title, "standoff": 10}
    return axis


def _log_axis(values: Sequence[float], text: Any, title: str, **more: Any) -> dict[str, Any]:
    """A logarithmic axis over the values; ticks at decades, and at 2 and 5 where there is room."""
    shown = [max(value, _LEAST_NS) for value in values] or [_LEAST_NS, 10.0]
    low, high = math.log10(min(shown)) - 0.08, math.log10(max(shown)) + 0.12
    steps = (1, 2, 5) if high - low < 3 else (1,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
    return _axis(
        title,
        type="log",
        range=[low, high],
        tickvals=ticks,
        ticktext=[text(tick) for tick in ticks],
        **more,
    )


# ---------------------------------------------------------------- percentile curves


def percentile_points(
    value_ns: Sequence[float], count: Sequence[float]
) -> tuple[list[float], list[float]]:
    """The curve of a histogram: (``1 / (1 - p)`` where a value begins to hold, that value).

    It ends at the number of values, the last place that a percentile can tell apart.  Where more
    points fall on a place than can be drawn, the largest stands for them: nothing is hidden.
    """
    total = sum(count)
    points: dict[int, tuple[float, float]] = {}
    below = accumulate(count, initial=0)
    for value, here, before in zip(value_ns, count, below, strict=False):
        if here:
            inverse = total / (total - before)
            place = round(math.log10(inverse) * POINTS_PER_DECADE)
            first = points.get(place, (inverse, value))[0]
            points[place] = (first, max(float(value), _LEAST_NS))
    if points:
        last = max(points)
        points[last + 1] = (max(float(total), points[last][0]), points[last][1])
    inverses = [inverse for inverse, _ in points.values()]
    return inverses, [value for _, value in points.values()]


def percentile_curves(histograms: Mapping[str, Mapping[str, Sequence] | None], bold: str) -> Figure:
    """Latency against percentile, both logarithmic, one step line per histogram.

    A histogram of None has no curve but keeps its colour, so that runs look alike.
    """
    traces, reach = [], 10.0
    values: list[float] = []
    for place, (name, histogram) in enumerate(histograms.items()):
        if histogram is None:
            continue
        x, y = percentile_points(histogram["value_ns"], histogram["count"])
        reach, values = max(reach, x[-1]), [*values, min(y), max(y)]
        text = [[units.percentile(at), units.nanoseconds(ns)] for at, ns in zip(x, y, strict=True)]
        line = {**_style(place), "shape": "hv"}
        if name == bold:
            line["width"] = 3.2
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": _safe(name),
                "x": [float(f"{at:.6g}") for at in x],
                "y": y,
                "customdata": text,
                "hovertemplate": "%{customdata[0]} took at most %{customdata[1]}",
                "line": line,
            }
        )
    decades = range(math.ceil(math.log10(reach)) + 1)
    inverses = [1.0, 2.0, *(10.0**decade for decade in decades if decade)]
    x_axis = _axis(
        "percentile (logarithmic towards 100 %)",
        type="log",
        range=[0, math.log10(reach) * 1.01],
        tickvals=inverses,
        ticktext=[units.percentile(inverse) for inverse in inverses],
    )
    y_axis = _log_axis(values, units.nanoseconds, "latency")
    return {"data": traces, "layout": _layout(470, xaxis=x_axis, yaxis=y_axis)}


# ---------------------------------------------------------------- bars


def stage_bars(stages: Mapping[str, Mapping[str, Any]]) -> Figure:
    """p50, p99 and p99.9 of every stage side by side, on a logarithmic axis."""
    traces, values = [], []
    for colour, (key, label) in zip(
        LEVELS, (("p50", "p50"), ("p99", "p99"), ("p99_9", "p99.9")), strict=True
    ):
        heights = [units.number(stage.get(key)) for stage in stages.values()]
        values += [height for height in heights if height is not None]
        traces.append(
            {
                "type": "bar",
                "name": label,
                "x": [_safe(name) for name in stages],
                "y": [None if height is None else max(height, _LEAST_NS) for height in heights],
                "customdata": [units.nanoseconds(height) for height in heights],
                "hovertemplate": "%{x}: " + label + " %{customdata}<extra></extra>",
                "marker": {"color": colour},
            }
        )
    y_axis = _log_axis([_LEAST_NS, *values], units.nanoseconds, "latency")
    layout = _layout(360, xaxis=_axis(type="category"), yaxis=y_axis, bargap=0.25, bargroupgap=0.05)
    return {"data": traces, "layout": layout}


def bench_bars(results: Sequence[Mapping[str, Any]]) -> Figure:
    """ns per message of every contestant in the order given, with its single runs as ticks."""
    timed = [each for each in results if units.number(each.get("ns_per_message")) is not None]
    medians = [float(each["ns_per_message"]) for each in timed]
    names = [
        f"{_safe(each.get('name'))}  <b>{units.nanoseconds(median)}</b>"
        for each, median in zip(timed, medians, strict=True)
    ]
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "median",
        "y": names,
        "x": medians,
        "hovertemplate": "%{y} a message<extra></extra>",
        "marker": {"color": "var(--level-1)"},
    }
    runs = [
        (name, run)
        for name, each in zip(names, timed, strict=True)
        for run in map(units.number, units.column(each.get("runs")))
        if run is not None
    ]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "single runs",
        "y": [name for name, _ in runs],
        "x": [run for _, run in runs],
        "hovertemplate": "%{x:.1f} ns in one run<extra></extra>",
        "marker": {
            "color": "var(--ink)",
            "size": 9,
            "symbol": "line-ns-open",
            "line": {"width": 2},
        },
    }
    layout = _layout(
        110 + 36 * max(len(timed), 1),
        xaxis=_axis("ns a message (shorter is faster)", rangemode="tozero"),
        yaxis=_axis(type="category", autorange="reversed"),
    )
    return {"data": [bars, dots], "layout": layout}


# ---------------------------------------------------------------- single runs


def run_dots(groups: Mapping[str, Mapping[str, Sequence[tuple[str, float, bool]]]]) -> Figure:
    """Every run as a dot: by group and row its (words, ns, whether it was right).

    Rows are in the order given, one below the other; a group is a colour, and what was not right
    is a cross.
    """
    traces: list[dict[str, Any]] = []
    values: list[float] = []
    rows: list[str] = []
    for place, (group, members) in enumerate(groups.items()):
        rows += [_safe(name) for name in members]
        for is_right, symbol in ((True, "circle-open"), (False, "x")):
            dots = [
                (_safe(name), ns, f"{_safe(words)}: {units.nanoseconds(ns)}")
                for name, runs in members.items()
                for words, ns, was_right in runs
                if was_right == is_right
            ]
            if not dots:
                continue
            values += [ns for _, ns, _ in dots]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": _safe(group) if is_right else f"{_safe(group)}, with a finding",
                    "y": [name for name, _, _ in dots],
                    "x": [max(ns, _LEAST_NS) for _, ns, _ in dots],
                    "customdata": [words for _, _, words in dots],
                    "hovertemplate": "%{y}, %{customdata}<extra></extra>",
                    "marker": {
                        "color": _style(place)["color"] if is_right else "var(--warn)",
                        "size": 8,
                        "symbol": symbol,
                        "line": {"width": 1.5},
                    },
                }
            )
    layout = _layout(
        130 + 30 * max(len(rows), 1),
        xaxis=_log_axis(values, units.nanoseconds, "each run (logarithmic)"),
        yaxis=_axis(type="category", categoryarray=rows[::-1], range=[-0.6, len(rows) - 0.4]),
    )
    return {"data": traces, "layout": layout}


# ---------------------------------------------------------------- lines


def timeline(series: Mapping[str, Sequence]) -> Figure:
    """Messages and orders per second above the latency of each interval, over one time axis.

    ``t_s`` is the end of each interval, in seconds since the run began; values hold for the
    interval, so the lines are steps.  Without any latency the third row is left out.
    """
    ends = [float(each) for each in series["t_s"]]
    lengths = [end - start for start, end in zip([0.0, *ends], ends, strict=False)]
    traces = []
    for axis, key, colour in (("y", "messages", "series-0"), ("y2", "orders", "series-1")):
        rates = [
            None if units.number(count) is None or length <= 0 else count / length
            for count, length in zip(units.column(series.get(key)), lengths, strict=False)
        ]
        line = _over_time(ends, rates, f"{key}/s", axis, f"var(--{colour})", _per_second)
        traces.append({**line, "fill": "tozeroy", "fillcolor": f"var(--{colour}-soft)"})
    values: list[float] = []
    for colour, name in zip(LEVELS, ("p50", "p99", "max"), strict=True):
        column = [
            units.number(each) for each in units.column(series.get(f"tick_to_order_ns_{name}"))
        ]
        heights = [None if each is None else max(each, _LEAST_NS) for each in column]
        values += [each for each in heights if each is not None]
        label = f"tick to order {name}"
        traces.append(_over_time(ends, heights, label, "y3", colour, units.nanoseconds))
        traces[-1] |= {"mode": "lines+markers", "marker": {"size": 4}}
    rows = ([0.70, 1], [0.46, 0.64], [0, 0.40]) if values else ([0.6, 1], [0, 0.48], [0, 0])
    layout = _layout(
        560 if values else 380,
        xaxis=_axis(
            "seconds since the run began", anchor="y3" if values else "y2", rangemode="tozero"
        ),
        yaxis=_axis("messages/s", domain=rows[0], rangemode="tozero", nticks=5),
        yaxis2=_axis("orders/s", domain=rows[1], rangemode="tozero", nticks=4),
    )
    if values:
        layout["yaxis3"] = _log_axis(values, units.nanoseconds, "tick to order", domain=rows[2])
    return {"data": traces if values else traces[:2], "layout": layout}


def _per_second(value: Any) -> str:
    return units.magnitude(value) + "/s"


def _over_time(ends, values, name: str, axis: str, colour: str, text) -> dict[str, Any]:
    """A step line: each value holds from the end of the interval before to its own."""
    texts = [f"until {end:.3f} s: {text(value)}" for end, value in zip(ends, values, strict=False)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [0.0, *ends],
        "y": [*values[:1], *values],
        "yaxis": axis,
        "customdata": [*texts[:1], *texts],
        "hovertemplate": "%{customdata}",
        "line": {"color": colour, "width": 1.8, "shape": "vh"},
    }


def size_curves(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """ns per message against a size (live orders, symbols), one line per contestant."""
    traces, sizes = [], []
    for place, curve in enumerate(curves):
        sizes += [float(each) for each in curve["x"]]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": _safe(curve.get("name")),
                "x": list(curve["x"]),
                "y": list(curve["ns_per_message"]),
                "customdata": [units.magnitude(each) for each in curve["x"]],
                "hovertemplate": "%{customdata}: %{y:.1f} ns a message",
                "line": _style(place),
            }
        )
    label = _safe(curves[0].get("x_label") or "size")
    wide = sizes and min(sizes) > 0 and max(sizes) / min(sizes) > 20
    x_axis = _log_axis(sizes, units.magnitude, label) if wide else _axis(label)
    y_axis = _axis("ns a message", rangemode="tozero")
    return {"data": traces, "layout": _layout(360, xaxis=x_axis, yaxis=y_axis, showlegend=True)}

"""Panels that the reports share: headline cards, latency tables, percentile curves, environment."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tickpath.report import figures, units
from tickpath.report.markup import Html, Page, bar, joined, table, tag

_LATENCY_COLUMNS = (
    ("count", "count"),
    ("min", "min"),
    ("p50", "p50"),
    ("p90", "p90"),
    ("p99", "p99"),
    ("p99_9", "p99.9"),
    ("p99_99", "p99.99"),
    ("max", "max"),
    ("mean", "mean"),
)


def findings_banner(sentences: Sequence[str], all_well: str | None) -> Html:
    """The findings where nobody can miss them; without any, what was looked for and not found."""
    if sentences:
        title = "1 finding" if len(sentences) == 1 else f"{len(sentences)} findings"
        listed = tag("ul", joined(tag("li", each) for each in sentences))
        return tag("aside", tag("strong", title), listed, class_="findings", role="alert")
    if all_well:
        return tag("aside", tag("strong", "No findings."), " " + all_well, class_="well")
    return Html("")


def card(label: str, value: str, *notes: str, accent: bool = False) -> Html:
    """A headline number."""
    return tag(
        "div",
        tag("div", label, class_="label"),
        tag("div", value, class_="value"),
        joined(tag("div", note, class_="note") for note in notes if note),
        class_="card accent" if accent else "card",
    )


def cards(parts: Iterable[Html]) -> Html:
    """Headline numbers in a row."""
    return tag("div", *parts, class_="cards")


def latency_table(rows: Mapping[str, Any], show=units.nanoseconds) -> Html:
    """Percentiles by name; rows without values have dashes."""

    def cells(name: str, row: Mapping[str, Any]) -> list[str]:
        shown = [show(row.get(key)) for key, _ in _LATENCY_COLUMNS[1:]]
        return [units.words(name), units.whole(row.get("count")), *shown]

    heads = ["", *(title for _, title in _LATENCY_COLUMNS)]
    return table(heads, (cells(name, row or {}) for name, row in rows.items()))


def usable_histograms(histograms: Any) -> dict[str, Mapping[str, Sequence]]:
    """The histograms that hold values; others have no curve."""
    found = {}
    for name, histogram in histograms.items() if isinstance(histograms, Mapping) else ():
        if histogram and sum(units.column(histogram.get("count"))):
            found[str(name)] = histogram
    return found


def percentile_panel(page: Page, histograms: Any, bold: str, explanation: str) -> None:
    """The percentile curves, or why there are none."""
    title = "Latency by percentile"
    usable = usable_histograms(histograms)
    if not usable:
        page.left_out(title, "no histogram in the result holds a value.")
        return
    figure = figures.percentile_curves({name: usable.get(name) for name in histograms}, bold)
    page.panel(title, explanation, page.plot(figure, "Latency against percentile"))


def share_table(heads: Sequence[str], rows: Sequence[tuple[Any, float]]) -> Html:
    """Names with counts, shares of the total and bars; the largest first."""
    ranked = sorted(rows, key=lambda row: -row[1])
    total = sum(count for _, count in ranked)
    largest = ranked[0][1] if ranked else 0
    return table(
        [*heads, "share", ""],
        [
            (name, units.whole(count), units.share(count, total), bar(count, largest))
            for name, count in ranked
        ],
    )


def _shown(name: str, value: Any) -> str:
    """A value of the environment; the unit is the last word of its name."""
    if value is None:
        return "not shown by this machine"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if name.endswith("_bytes"):
        return units.size(value)
    if name.endswith("_ns") and not name.endswith("per_ns"):
        return units.nanoseconds(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _label(name: str) -> str:
    if not name.endswith("per_ns"):
        name = name.removesuffix("_bytes").removesuffix("_ns")
    return units.words(name.replace("_mhz", " (MHz)"))


def environment_panel(page: Page, environment: Any) -> None:
    """Where it was measured, group by group."""
    title = "Environment"
    if not isinstance(environment, Mapping) or not environment:
        page.left_out(title, "the result does not say where it was measured.")
        return
    groups = []
    plain = {name: each for name, each in environment.items() if not isinstance(each, Mapping)}
    for group, entries in {"run": plain, **environment}.items():
        if not isinstance(entries, Mapping):
            continue
        pairs = [
            tag("tr", tag("th", _label(name)), tag("td", _shown(name, value)))
            for name, value in entries.items()
            if not (group == "run" and value is None)
        ]
        if pairs:
            body = tag("table", tag("tbody", *pairs), class_="pairs")
            groups.append(tag("div", tag("h3", units.words(group)), body))
    page.panel(
        title,
        "What it was measured on. Two results compare only as far as these agree: a governor other"
        " than performance, a shared or virtual machine, or a slow clock explains many a tail.",
        tag("div", *groups, class_="groups"),
    )

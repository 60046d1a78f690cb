"""The report of a benchmark: contestants side by side, curves over sizes, latency percentiles."""

from collections.abc import Mapping
from typing import Any

from tickpath.report import figures, units
from tickpath.report.markup import Html, Page, table, tag
from tickpath.report.panels import (
    card,
    cards,
    environment_panel,
    findings_banner,
    percentile_panel,
)

SCHEMA = "tickpath.bench/1"


def bench_page(result: Mapping[str, Any]) -> Page:
    """The report of a ``tickpath.bench/1`` result."""
    results = [each for each in result.get("results") or () if isinstance(each, Mapping)]
    date = (result.get("environment") or {}).get("date")
    page = Page(title="tickpath bench", subtitle=str(date) if date else "no date in the result")
    wrong = [
        f"{each.get('name')}: the answer was wrong, so its time means nothing."
        for each in results
        if each.get("verified") is False
    ]
    checked = bool(results) and all(each.get("verified") for each in results)
    well = "Every contestant's answer was checked and right." if checked else None
    page.add(findings_banner(wrong, well))
    page.add(_headline(results))
    _results_panel(page, results)
    _curve_panels(
        page, [each for each in result.get("curves") or () if units.column(each.get("x"))]
    )
    latency = result.get("latency") or {}
    percentile_panel(
        page,
        latency,
        next(iter(latency), ""),
        "How long the given share of messages took at most. Each step to the right leaves out nine"
        " tenths of the rest, so the right edge is the slowest single one.",
    )
    environment_panel(page, result.get("environment"))
    return page


def _headline(results: list[Mapping[str, Any]]) -> Html:
    timed = [each for each in results if units.number(each.get("ns_per_message")) is not None]
    if not timed:
        return Html("")
    return cards(
        card(
            str(each.get("name")),
            units.nanoseconds(each["ns_per_message"]),
            "a message",
            f"{units.magnitude(each.get('messages_per_second'))} messages/s",
            accent=place == 0,
        )
        for place, each in enumerate(timed[:5])
    )


def _verdict(verified: Any) -> str:
    return {True: "right", False: "wrong"}.get(verified, "not checked")


def _results_panel(page: Page, results: list[Mapping[str, Any]]) -> None:
    title = "Time a message takes"
    if not results:
        page.left_out(title, "the result lists no contestant.")
        return

    def row(each: Mapping[str, Any]) -> list[Any]:
        runs = [run for run in map(units.number, units.column(each.get("runs"))) if run is not None]
        spread = f"{units.nanoseconds(min(runs))} to {units.nanoseconds(max(runs))}" if runs else ""
        return [
            str(each.get("name")),
            tag("span", _verdict(each.get("verified")), class_=f"verdict-{each.get('verified')}"),
            str(each.get("note") or ""),
            units.nanoseconds(each.get("ns_per_message")),
            units.magnitude(each.get("messages_per_second")),
            units.whole(len(runs)),
            spread,
        ]

    heads = ["", "answer", "note", "ns/message", "messages/s", "runs", "spread of runs"]
    page.panel(
        title,
        "All on the same machine and occasion. Bars are medians, ticks the single runs:"
        " where the ticks of two bars overlap, the difference may be noise.",
        page.plot(figures.bench_bars(results), "ns a message by contestant"),
        table(heads, map(row, results), text_columns=3),
    )


def _curve_panels(page: Page, curves: list[Mapping[str, Any]]) -> None:
    """One panel per quantity on the x axis."""
    for label in dict.fromkeys(str(each.get("x_label") or "size") for each in curves):
        chosen = [each for each in curves if str(each.get("x_label") or "size") == label]
        words = units.words(label)
        page.panel(
            f"Over {words}",
            f"How the time a message takes changes with {words}; a flat line scales.",
            page.plot(figures.size_curves(chosen), f"ns a message over {words}"),
        )

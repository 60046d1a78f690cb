"""The result as a page: what was done, what must hold, how long it took, what was found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tickpath.chaos.rehearsal import SCHEMA
from tickpath.report import figures, units
from tickpath.report.markup import Html, Page, ReportError, joined, table, tag
from tickpath.report.panels import (
    card,
    cards,
    environment_panel,
    findings_banner,
    usable_histograms,
)

_MEASURED = {
    "takeover": "From the fault to the first order of the next epoch, by the exchange's clock.",
    "pause": "Between the last order of the old epoch and the first of the new one.",
    "silence": "The longest time without an order behind the fault, or behind its repair.",
}
ALWAYS = (
    "The exchange receives the order stream that the gateway took, byte for byte, once and in"
    " order: no order comes twice, none that was taken gets lost, and nothing is deduplicated.",
    "The gateway takes epochs rising only; each is one node's, and nobody else leads in it.",
    "A new active begins behind every record that its predecessor's standbys had acknowledged.",
    "At rest every node has the same state digest at the same record, and positions are the"
    " exchange's.",
    "The group is whole again, a standby in sync and ready, within a bound.",
)


def write_page(path: str | Path, result: Mapping[str, Any]) -> Path:
    """Write the report of a ``tickpath.chaos/1`` result.  Raises `ReportError`."""
    if result.get("schema") != SCHEMA:
        raise ReportError(f"not a {SCHEMA} result: its schema is {result.get('schema')!r}")
    return chaos_page(result).write(path)


def chaos_page(result: Mapping[str, Any]) -> Page:
    """The page, not written yet."""
    scenarios = [each for each in result["scenarios"] if each["count"]]
    date = (result.get("environment") or {}).get("date")
    runs = sum(each["count"] for each in scenarios)
    where = "hosts in network namespaces" if result["network"] == "namespaces" else "one host"
    page = Page(
        title="tickpath chaos",
        subtitle=f"{runs} runs, seed {result['seed']}, {where}, {result['rings']} rings, "
        f"lease in {result['store']}, timeout {result['timeout_ms']} ms, "
        f"{date or 'no date in the result'}",
    )
    wrong = _findings(scenarios)
    if result.get("interrupted"):
        wrong.insert(0, "Interrupted: what was run by then is here, the rest is missing.")
    remarks = [
        f"{run['scenario']}, run {run['run']}: {remark}."
        for each in scenarios
        for run in each["runs"]
        for remark in run["remarks"]
    ]
    page.add(findings_banner(wrong, f"All that must hold did, in {runs} runs." if runs else None))
    page.add(_headline(scenarios))
    _result_panel(page, scenarios)
    for measures, words in _MEASURED.items():
        _curves(page, measures, words, scenarios)
    if remarks:
        page.panel(
            "Remarks",
            "No failures: where a node gets no core, it loses a role that nobody took away.",
            tag("ul", joined(tag("li", each) for each in remarks)),
        )
    _demands(page, scenarios)
    environment_panel(page, result.get("environment"))
    return page


def _findings(scenarios: list[Mapping[str, Any]]) -> list[str]:
    return [
        f"{run['scenario']}, run {run['run']} (seed {run['seed']}): {finding}"
        for each in scenarios
        for run in each["runs"]
        for finding in run["findings"]
    ]


def _headline(scenarios: list[Mapping[str, Any]]) -> Html:
    orders = sum(each["orders"] for each in scenarios)
    parts = [
        card("orders judged", units.whole(orders), "none was deduplicated", accent=True),
        card("orders twice", units.whole(sum(each["orders_twice"] for each in scenarios))),
        card(
            "acknowledged inputs lost",
            units.whole(sum(each["records_lost"] for each in scenarios)),
        ),
    ]
    for each in scenarios:
        if each["measures"] != "silence" and each["latency_ns"]["p50"] is not None:
            latency = each["latency_ns"]
            at_most = f"at most {units.nanoseconds(latency['max'])}, {latency['count']} runs"
            parts.append(card(each["name"], units.nanoseconds(latency["p50"]), "p50", at_most))
    return cards(parts[:8])


def _result_panel(page: Page, scenarios: list[Mapping[str, Any]]) -> None:
    heads = ["scenario", "what was done", "measured", "all held", "runs", "min", "p50", "p90",
             "max", "whole again", "orders", "twice", "lost"]  # fmt: skip

    def row(each: Mapping[str, Any]) -> list[Any]:
        is_right = not each["failed"]
        words = "yes" if is_right else f"not in {each['failed']}"
        latency = each["latency_ns"]
        return [
            each["name"],
            each["does"],
            each["measures"],
            tag("span", words, class_=f"verdict-{is_right}"),
            units.whole(each["count"]),
            *(units.nanoseconds(latency[key]) for key in ("min", "p50", "p90", "max")),
            units.nanoseconds(each["whole_ns_max"]),
            units.whole(each["orders"]),
            units.whole(each["orders_twice"]),
            units.whole(each["records_lost"]),
        ]

    page.panel(
        "Scenarios",
        "Real processes; the exchange judges and never deduplicates. Times are by its clock; they"
        " contain the silence that a node waits for, the rest of the lease, the promotion, and the"
        " wait for the strategy's next order.",
        table(heads, map(row, scenarios), text_columns=4),
    )


def _curves(page: Page, measures: str, words: str, scenarios: list[Mapping[str, Any]]) -> None:
    chosen = {each["name"]: each["histogram"] for each in scenarios if each["measures"] == measures}
    usable = {
        name: histogram
        for name, histogram in usable_histograms(chosen).items()
        if sum(histogram["count"]) > 1
    }
    title = f"{measures.capitalize()} by percentile"
    if chosen and not usable:
        page.left_out(title, "no scenario was run more than once.")
    if not usable:
        return
    first = next(iter(usable))
    figure = figures.percentile_curves({name: usable.get(name) for name in chosen}, first)
    page.panel(
        title,
        words,
        page.plot(figure, f"{measures} against percentile"),
    )


def _demands(page: Page, scenarios: list[Mapping[str, Any]]) -> None:
    own = [
        tag("li", tag("b", each["name"]), ": ", "; ".join(each["holds"]), ".")
        for each in scenarios
        if each["holds"]
    ]
    page.panel(
        "What must hold",
        "In every run, whatever was done; and, of single scenarios, what follows.",
        tag("ul", joined(tag("li", each) for each in ALWAYS), *own),
    )

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
)

_MEASURED = {
    "takeover": "From the fault to the first order of the next epoch, by the exchange's clock.",
    "pause": "From the old active's last input to the moment from which the new one's orders could"
    " leave, as the new one says.",
    "recovery": "From the moment in which the server that was taken away listens again to the first"
    " order. How long it was away is told apart: that is its process's start and the rehearsal's.",
    "silence": "The longest time without an order behind the fault.",
}
_CARDS = ("kill-active", "cut-active", "switchover", "restart-gateway", "kill-on-bad-network")
"""Of which the first numbers are, where they were run."""
MOST_CARDS = 7
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
    wrong = [_short(each) for each in _findings(scenarios)]
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
    _run_dots(page, scenarios)
    _last_words(page, scenarios)
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


def _short(finding: str) -> str:
    """A finding without the last words of processes, which follow behind a semicolon."""
    return finding.partition("; ")[0]


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
    measured = [each for each in scenarios if each["latency_ns"]["p50"] is not None]
    first = [each for name in _CARDS for each in measured if each["name"] == name]
    rest = [each for each in measured if each not in first and each["measures"] != "silence"]
    for each in (first + rest)[:MOST_CARDS]:
        latency = each["latency_ns"]
        at_most = f"at most {units.nanoseconds(latency['max'])}, {latency['count']} runs"
        value = units.nanoseconds(latency["p50"])
        parts.append(card(f"{each['name']}: {each['measures']}", value, "p50", at_most))
    return cards(parts)


def _measured(each: Mapping[str, Any]) -> str:
    """What was measured; of a pause also what the exchange saw of it."""
    between = each["between_orders_ns"]
    if each["measures"] != "pause" or between["p50"] is None:
        return str(each["measures"])
    return f"pause; order to order p50 {units.nanoseconds(between['p50'])}"


def _result_panel(page: Page, scenarios: list[Mapping[str, Any]]) -> None:
    heads = ["scenario", "what was done", "measured", "all held", "runs", "min", "p50", "p90",
             "max", "was away", "whole again", "orders", "twice", "lost"]  # fmt: skip

    def row(each: Mapping[str, Any]) -> list[Any]:
        is_right = not each["failed"]
        words = "yes" if is_right else f"not in {each['failed']} of {each['count']}"
        latency = each["latency_ns"]
        return [
            each["name"],
            each["does"],
            _measured(each),
            tag("span", words, class_=f"verdict-{is_right}"),
            units.whole(each["count"]),
            *(units.nanoseconds(latency[key]) for key in ("min", "p50", "p90", "max")),
            units.nanoseconds(each["absent_ns_max"]),
            units.nanoseconds(each["whole_ns_max"] or None),
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


def _run_dots(page: Page, scenarios: list[Mapping[str, Any]]) -> None:
    """Every run: of thirty, a percentile says less than the thirty."""
    groups: dict[str, dict[str, list[tuple[str, float, bool]]]] = {}
    for measures in _MEASURED:
        for each in scenarios:
            dots = [
                (f"run {run['run']}", run["measured_ns"], not run["findings"])
                for run in each["runs"]
                if run["measured_ns"] is not None
            ]
            if each["measures"] == measures and dots:
                groups.setdefault(measures, {})[each["name"]] = dots
    if not groups:
        page.left_out("Every run", "nothing was measured.")
        return
    said = " ".join(f"{each.capitalize()}: {_MEASURED[each]}" for each in groups)
    page.panel("Every run", said, page.plot(figures.run_dots(groups), "time of each run"))


def _last_words(page: Page, scenarios: list[Mapping[str, Any]]) -> None:
    """What the banner leaves out."""
    cut = [text for text in _findings(scenarios) if _short(text) != text]
    if cut:
        page.panel(
            "Findings in full",
            "With what the processes that had ended said last.",
            tag("ul", joined(tag("li", text) for text in cut)),
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

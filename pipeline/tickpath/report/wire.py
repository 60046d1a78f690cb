"""The report of a wire-to-wire measurement: backends over each other, one panel a rate.

A backend is there as often as there are ways in which its orders left: `_name` tells them apart.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tickpath.report import figures, units
from tickpath.report.markup import Html, Page, table
from tickpath.report.panels import (
    card,
    cards,
    environment_panel,
    findings_banner,
    latency_table,
    usable_histograms,
)

SCHEMA = "tickpath.wire/1"
PERCENTILES = ("p50", "p90", "p99", "p99_9", "p99_99", "max")
_WHAT = {
    "latency": (
        "From the exchange sending the packet that triggers an order to the exchange having that "
        "order. Each step to the right leaves out nine tenths of the rest."
    ),
    "response": (
        "The same from the moment at which the packet was due by the plan: queues that the "
        "receiver causes, and an exchange that was late, are in it."
    ),
}


def _name(row: Mapping[str, Any]) -> str:
    """``afxdp, tcp``."""
    return f"{row.get('backend')}, {row.get('egress', 'udp')}"


def wire_page(result: Mapping[str, Any]) -> Page:
    """The report of a ``tickpath.wire/1`` result."""
    each = [one for one in result.get("backends") or () if isinstance(one, Mapping)]
    rows = [row for one in each for row in one.get("rows") or ()]
    date = (result.get("environment") or {}).get("date")
    title = "tickpath bench, wire to wire"
    page = Page(title=title, subtitle=str(date) if date else "no date in the result")
    findings = [str(finding) for finding in result.get("findings") or ()]
    if result.get("interrupted"):
        findings.append("Interrupted: what was measured by then is here, the rest is missing.")
    findings += _losses(rows)
    well = "No packet was lost; every order arrived once, byte for byte, and all books were right."
    page.add(findings_banner(findings, well if rows else None))
    page.add(_headline(rows))
    _result_panel(page, rows, [reason for one in each for reason in _remarks(one)])
    for scenario in dict.fromkeys(str(row.get("scenario")) for row in rows):
        chosen = [row for row in rows if row.get("scenario") == scenario]
        _curves(page, scenario, chosen)
    _loss_panel(page, each)
    _stage_panels(page, rows)
    _jitter_panel(page, result.get("jitter") or {})
    environment_panel(page, result.get("environment"))
    return page


def _losses(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What was lost, a sentence for each backend and egress."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.get("lost"):
            where = f"{units.whole(row['lost'])} of {units.whole(row.get('packets'))}"
            found.setdefault(_name(row), []).append(f"{where} at {row.get('scenario')}")
    return [
        f"{name}: packets were lost: {'; '.join(where)}. Answers were compared with those of a "
        "replay without them."
        for name, where in found.items()
    ]


def _remarks(one: Mapping[str, Any]) -> list[str]:
    """What is to be said of a backend beside its rows."""
    missing = (f"not measured: {each}" for each in one.get("missing") or ())
    return [*map(str, one.get("remarks") or ()), *missing]


def _firsts(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The first row of each backend and egress, by `_name`."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        found.setdefault(_name(row), row)
    return found


def _headline(rows: Iterable[Mapping[str, Any]]) -> Html:
    return cards(
        card(
            name,
            units.nanoseconds((row.get("latency_ns") or {}).get("p50")),
            f"p50 wire to wire at {row.get('scenario')}",
            f"p99 {units.nanoseconds((row.get('latency_ns') or {}).get('p99'))}",
            accent=place == 0,
        )
        for place, (name, row) in enumerate(_firsts(rows).items())
    )


def _result_panel(page: Page, rows: list[Mapping[str, Any]], remarks: Iterable[str]) -> None:
    title = "Wire to wire"
    if not rows:
        page.left_out(title, "no run was finished.")
        return

    def line(row: Mapping[str, Any]) -> list[Any]:
        took = row.get("latency_ns") or {}
        return [
            f"{_name(row)}, {row.get('scenario')}",
            {True: "right", False: "wrong"}.get(row.get("verified"), "not checked"),  # type: ignore[arg-type]
            units.magnitude(row.get("rate")),
            units.whole(row.get("lost")),
            units.whole((row.get("orders") or {}).get("matched")),
            *(units.nanoseconds(took.get(name)) for name in PERCENTILES),
            units.nanoseconds((row.get("response_ns") or {}).get("p99")),
            units.nanoseconds((row.get("cpu") or {}).get("busy_ns_per_packet")),
        ]

    heads = ["", "answer", "packets/s", "lost", "orders", "p50", "p90", "p99", "p99.9", "p99.99"]
    heads += ["max", "response p99", "stages/packet"]
    page.panel(
        title,
        " ".join(
            [
                "Latency by the exchange's clock; orders as datagrams through the transport (udp), "
                "and by the order session's connection (tcp), which Python writes to.",
                *(f"{remark[:1].upper()}{remark[1:]}." for remark in remarks),
            ]
        ),
        table(heads, map(line, rows), text_columns=2),
    )


def _curves(page: Page, scenario: str, rows: list[Mapping[str, Any]]) -> None:
    """The backends' percentile curves over each other."""
    for kind, what in _WHAT.items():
        histograms = {_name(row): (row.get("histograms") or {}).get(kind) for row in rows}
        usable = usable_histograms(histograms)
        title = f"{kind.capitalize()} at {scenario}"
        if not usable:
            page.left_out(title, "no order was matched.")
            continue
        figure = figures.percentile_curves(
            {name: usable.get(name) for name in histograms}, next(iter(usable))
        )
        page.panel(title, what, page.plot(figure, f"{title} against percentile"))


def _loss_panel(page: Page, each: list[Mapping[str, Any]]) -> None:
    found = [one for one in each if one.get("search")]
    if not found:
        page.left_out("Where loss begins", "it was not searched for.")
        return
    heads = ["", "no loss up to", "limited by", "receiving alone"]
    page.panel(
        "Where loss begins",
        "Packets a second at equal distances, all books built; and what polling and releasing a"
        " packet that waits costs without an engine.",
        table(
            heads,
            [
                [
                    str(one.get("backend")),
                    units.magnitude(one["search"].get("no_loss_rate")),
                    str(one["search"].get("limited_by", "")),
                    units.nanoseconds(one.get("receive_ns_per_packet")),
                ]
                for one in found
            ],
            text_columns=1,
        ),
    )


def _stage_panels(page: Page, rows: list[Mapping[str, Any]]) -> None:
    for name, row in _firsts(rows).items():
        stages = {
            key: value
            for key, value in (row.get("stages_ns") or {}).items()
            if (value or {}).get("count")
        }
        if not stages:
            continue
        shown = {"tick to order": row.get("tick_to_order_ns"), **stages}
        page.panel(
            f"Stages, {name}, at {row.get('scenario')}",
            "Inside the engine, by its own stamps: not part of the exchange's view.",
            latency_table(shown),
        )


def _jitter_panel(page: Page, jitter: Mapping[str, Any]) -> None:
    gaps = {name: (found or {}).get("gap_ns") for name, found in jitter.items()}
    if not any(gaps.values()):
        page.left_out("The machine's own jitter", "it was not measured.")
        return
    page.panel(
        "The machine's own jitter",
        "Gaps in a thread that only reads the clock, before and after: the floor under every tail.",
        latency_table(gaps),
    )

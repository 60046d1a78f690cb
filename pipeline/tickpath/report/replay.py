"""The report of a replay: what came in, what went out, how long it took, and what was noticed."""

from collections.abc import Mapping
from typing import Any

from tickpath.report import figures, units
from tickpath.report.findings import findings, flattened
from tickpath.report.markup import Html, Page, definitions, joined, table, tag
from tickpath.report.panels import (
    card,
    cards,
    environment_panel,
    findings_banner,
    latency_table,
    percentile_panel,
    share_table,
)

SCHEMA = "tickpath.replay/1"
MAX_SYMBOLS = 50
TIMELINE_KEYS = ("t_s", "messages")

_DEFINITIONS = {
    "Tick to order": "From the packet being lent by the transport to the last byte of the order"
    " standing in the send buffer, for every message that led to an order. This is service time:"
    " the clock starts when the engine takes the packet, not when it arrived.",
    "Response time": "From the moment the message was due (its time in the capture, at the chosen"
    " pace) to the last byte of the order. It contains the waiting behind earlier messages that"
    " service time leaves out, so coordinated omission is not hidden. Only a paced replay has it.",
    "Stage": "One step of the pipeline, stamped with the processor's cycle counter on entry and"
    " exit; each stamp costs what the environment states under clock. Medians of stages need not"
    " add up to the median of the whole; means do, up to the stamps.",
    "Percentile": "p99 = 2 µs: 99 of 100 took at most 2 µs. Histograms keep three significant"
    " digits, so a percentile is at most 0.1 % high.",
    "Not measured here": "Wire to wire, which needs a clock outside of this machine.",
}


def replay_page(result: Mapping[str, Any]) -> Page:
    """The report of a ``tickpath.replay/1`` result, panel by panel in reading order."""
    page = Page(title="tickpath replay", subtitle=_subtitle(result))
    counters = flattened(result.get("counters"))
    well = "Nothing was truncated, no gap was seen, and the strategy did not raise."
    page.add(findings_banner(findings(result), well if counters else None))
    page.add(_headline(result))
    series = result.get("series") or {}
    latency = result.get("latency_ns") or {}
    percentile_panel(
        page,
        series.get("histograms"),
        "tick_to_order",
        "How long the given share of messages took at most; the thick line is the whole way from"
        " packet to order, the others its stages. Each step to the right leaves out nine tenths of"
        " the rest, so the right edge is the slowest single message. Flat is good, a late rise is"
        " the tail.",
    )
    _latency_panels(page, latency, result.get("latency_cycles"))
    _timeline_panel(page, series.get("timeline"))
    _mix_panel(page, result.get("messages_by_type"))
    _rejects_panel(page, result.get("orders") or {})
    _symbols_panel(page, series.get("symbols"))
    _counters_panel(page, counters)
    environment_panel(page, result.get("environment"))
    page.panel("What the words mean", "How the figures above are defined.", definitions(_DEFINITIONS))
    return page


def source_name(source: Any) -> str:
    """A source as a reader knows it: its path as given, or the name in its description."""
    if isinstance(source, Mapping):
        for key in ("path", "name", "source"):
            if source.get(key):
                return str(source[key])
    return str(source)


def _subtitle(result: Mapping[str, Any]) -> str:
    sources = result.get("sources") or ()
    named = ", ".join(source_name(each) for each in ([sources] if isinstance(sources, str) else sources))
    parts = [named or "no source named", f"backend {result.get('backend') or 'not named'}"]
    for key, words in (("feed", "feed {}"), ("strategy", "strategy {}"), ("pace", "pace {}")):
        if result.get(key):
            parts.append(words.format(result[key]))
    date = (result.get("environment") or {}).get("date")
    return " · ".join([*parts, str(date)] if date else parts)


def _headline(result: Mapping[str, Any]) -> Html:
    whole = (result.get("latency_ns") or {}).get("tick_to_order") or {}
    response = (result.get("latency_ns") or {}).get("response") or {}
    throughput, orders = result.get("throughput") or {}, result.get("orders") or {}
    seconds = units.number(throughput.get("seconds"))
    paced = response.get("count")
    tail = f"max {units.nanoseconds(whole.get('max'))}"
    return cards(
        (
            card(
                "tick to order, median",
                units.nanoseconds(whole.get("p50")),
                f"{units.whole(whole.get('count'))} measured" if whole.get("count") else "no orders",
                f"response median {units.nanoseconds(response.get('p50'))}" if paced else "",
                accent=True,
            ),
            card(
                "tick to order, p99",
                units.nanoseconds(whole.get("p99")),
                tail,
                f"response p99 {units.nanoseconds(response.get('p99'))}" if paced else "",
                accent=True,
            ),
            card(
                "messages per second",
                units.magnitude(throughput.get("messages_per_second")),
                f"{units.nanoseconds(throughput.get('ns_per_message'))} a message",
                "" if seconds is None else f"{seconds:,.3g} s in all",
            ),
            card(
                "messages",
                units.magnitude(result.get("messages")),
                f"{units.whole(result.get('packets'))} packets",
                f"{units.whole(result.get('symbols'))} symbols",
            ),
            card(
                "orders sent",
                units.whole(orders.get("sent")),
                f"{units.whole(orders.get('rejected'))} rejected by the risk gate",
                f"{units.whole(result.get('orders_live'))} orders live in the books at the end",
            ),
        )
    )


def _latency_panels(page: Page, latency: Mapping[str, Any], cycles: Any) -> None:
    stages = {
        name: stage
        for name, stage in (latency.get("stages") or {}).items()
        if stage and stage.get("count")
    }
    title = "Stages"
    if stages:
        page.panel(
            title,
            "Where the time goes: half of the messages pass a stage within the light bar, 99 % within"
            " the middle one, 99.9 % within the dark one. The axis is logarithmic: a bar one grid"
            " line higher is a multiple, not a bit more.",
            page.plot(figures.stage_bars(stages), "p50, p99 and p99.9 by stage"),
        )
    else:
        page.left_out(title, "no stage of the result holds a measurement.")
    rows = {"tick_to_order": latency.get("tick_to_order")}
    rows |= {name: latency[name] for name in latency if name not in ("tick_to_order", "stages")}
    page.panel(
        "Latency table",
        "The same figures as numbers: the whole way first, then stage by stage in pipeline order.",
        latency_table({**rows, **(latency.get("stages") or {})}),
    )
    if isinstance(cycles, Mapping) and cycles:
        rows = {"tick_to_order": cycles.get("tick_to_order"), **(cycles.get("stages") or {})}
        page.panel(
            "Latency in cycles",
            "Clock cycles of the hardware, which do not depend on the machine that simulates it.",
            latency_table(rows, units.whole),
        )


def _timeline_panel(page: Page, timeline: Any) -> None:
    title = "Over time"
    if not isinstance(timeline, Mapping) or not len(timeline.get("t_s") or ()):
        page.left_out(title, "the result has no timeline (series.timeline).")
        return
    page.panel(
        title,
        "Throughput, orders and latency of each interval of the run, on one time axis. Latency that"
        " rises with the message rate is load; latency that rises alone is the machine.",
        page.plot(figures.timeline(timeline), "Messages, orders and latency over time"),
    )


def message_name(key: Any) -> Html:
    """A message type as the specification names it, with its code."""
    from tickpath.wire.itch50 import ITCH50

    name = str(key)
    message = ITCH50.by_type.get(name) or ITCH50.by_name.get(name)
    if message is None or not message.type:
        return tag("code", name)
    return joined((tag("code", message.type), " ", units.words(message.name)))


def _mix_panel(page: Page, messages_by_type: Any) -> None:
    title = "Message mix"
    rows = [
        (message_name(name), count)
        for name, count in (messages_by_type or {}).items()
        if units.number(count)
    ]
    if not rows:
        page.left_out(title, "no message was decoded.", half=True)
        return
    page.panel(
        title,
        "What the feed consisted of, by message type under the specification's names.",
        share_table(["message", "count"], rows),
        half=True,
    )


def _rejects_panel(page: Page, orders: Mapping[str, Any]) -> None:
    title = "Rejected order intents"
    codes = orders.get("rejects_by_code") or {}
    rows = [(tag("code", code), count) for code, count in codes.items() if units.number(count)]
    if not rows:
        page.left_out(title, "the risk gate rejected nothing.", half=True)
        return
    page.panel(
        title,
        "Order intents of the strategy that the risk gate did not let out, by its closed set of codes;"
        " the first check that fails decides.",
        share_table(["code", "count"], rows),
        half=True,
    )


def _symbols_panel(page: Page, symbols: Any) -> None:
    title = "Busiest symbols"
    rows = [row for row in (symbols or ()) if isinstance(row, Mapping)][:MAX_SYMBOLS]
    if not rows:
        page.left_out(title, "the result lists no symbols (series.symbols).", half=True)
        return
    heads = list(dict.fromkeys(key for row in rows for key in row))
    heads.sort(key=lambda head: head != "symbol")
    page.panel(
        title,
        "The symbols with the most messages, the orders sent in them, and the position at the end in"
        " shares.",
        table(
            [units.words(head) for head in heads],
            [[_cell(row.get(head)) for head in heads] for row in rows],
        ),
        half=True,
    )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return units.whole(value)


def _counters_panel(page: Page, counters: Mapping[str, Any]) -> None:
    title = "Counters"
    if not counters:
        page.left_out(title, "the result has no counters.", half=True)
        return

    def rows(zero: bool) -> list[tuple[Html, str]]:
        return [
            (tag("code", name), units.whole(value))
            for name, value in counters.items()
            if (not units.number(value)) == zero
        ]

    content = [table(["counter", "count"], rows(False))] if rows(False) else []
    if rows(True):
        summary = tag("summary", f"{len(rows(True))} counters at zero")
        content.append(tag("details", summary, table(["counter", "count"], rows(True))))
    page.panel(
        title,
        "Every kind of traffic and every anomaly is counted; nothing is skipped in silence.",
        *content,
        half=True,
    )

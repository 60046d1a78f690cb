"""The report of a replay: what came in, what went out, how long it took, and what was noticed."""

from collections.abc import Mapping
from typing import Any

from tickpath.report import figures, units
from tickpath.report.findings import findings, flattened
from tickpath.report.markup import Html, Page, definitions
from tickpath.report.panels import (
    card,
    cards,
    environment_panel,
    findings_banner,
    latency_table,
    percentile_panel,
)
from tickpath.report.tables import (
    counters_panel,
    lines_panel,
    mix_panel,
    rejects_panel,
    symbols_panel,
)

SCHEMA = "tickpath.replay/1"

_SAMPLED = (
    "Stages that every message passes are measured on one message in {}; risk, encode and tick to"
    " order on every order."
)
_DEFINITIONS = {
    "Tick to order": "From the packet being lent by the transport to the last byte of the order"
    " standing in the send buffer, for every message that led to an order. This is service time:"
    " the clock starts when the engine takes the packet, not when it arrived.",
    "Response time": "From the moment the message was due (its time in the capture, at the chosen"
    " pace) to the last byte of the order. It contains the waiting behind earlier messages that"
    " service time leaves out, so coordinated omission is not hidden. Only a paced replay has it.",
    "Stage": "One step of the pipeline, stamped with the processor's cycle counter on entry and"
    " exit; each stamp costs what the environment states under clock. Medians of stages need not"
    " add up to the median of the whole. Zero is less than the counter's step, and drawn as 1 ns.",
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
    thick = (
        "the thick line is the whole way from packet to order, the others its stages"
        if (latency.get("tick_to_order") or {}).get("count")
        else "no order was sent, so there are the stages only"
    )
    percentile_panel(
        page,
        series.get("histograms"),
        "tick_to_order",
        f"How long the given share of messages took at most; {thick}. Each grid line to the right"
        " leaves out nine tenths of the rest, so the right edge is the slowest single message."
        " Flat is good, a late rise is the tail.",
    )
    sample = (result.get("environment") or {}).get("stage_sample")
    _latency_panels(page, latency, result.get("latency_cycles"), sample)
    _timeline_panel(page, series.get("timeline"))
    mix_panel(page, result.get("messages_by_type"))
    rejects_panel(page, result.get("orders") or {})
    symbols_panel(page, series.get("symbols"))
    counters_panel(page, counters)
    lines_panel(page, result.get("lines"), result.get("gaps"))
    environment_panel(page, result.get("environment"))
    page.panel(
        "What the words mean", "How the figures above are defined.", definitions(_DEFINITIONS)
    )
    return page


def source_name(source: Any) -> str:
    """A source as a reader knows it: its path as given, or the name in its description."""
    if isinstance(source, Mapping):
        for key in ("path", "name", "source"):
            if source.get(key):
                return str(source[key])
    return str(source)


def pace(value: Any) -> str:
    """``asap``, or the factor of the capture's own pace."""
    factor = units.number(value)
    if factor is None:
        return str(value)
    return "as captured" if factor == 1 else f"{factor:g} x the capture's"


def _subtitle(result: Mapping[str, Any]) -> str:
    sources = result.get("sources") or ()
    named = ", ".join(
        source_name(each) for each in ([sources] if isinstance(sources, str) else sources)
    )
    parts = [named or "no source named", f"backend {result.get('backend') or 'not named'}"]
    parts += [f"{key} {result[key]}" for key in ("feed", "strategy") if result.get(key)]
    digests = ("book_digest", "state_digest")
    parts += [f"{key.replace('_', ' ')} {result[key]}" for key in digests if result.get(key)]
    if result.get("pace"):
        parts.append(f"pace {pace(result['pace'])}")
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
                f"{units.whole(whole.get('count'))} measured"
                if whole.get("count")
                else "no orders",
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
                "set by the pace, not by the engine" if paced else "",
            ),
            card(
                "messages",
                units.magnitude(result.get("messages")),
                f"{units.whole(result.get('packets'))} packets",
                f"{units.whole(result.get('symbols'))} symbols",
                f"{units.whole(result.get('orders_live'))} live orders at the end",
            ),
            card(
                "orders sent",
                units.whole(orders.get("sent")),
                f"{units.whole(orders.get('rejected'))} rejected by risk",
            ),
        )
    )


def _latency_panels(page: Page, latency: Mapping[str, Any], cycles: Any, sample: Any) -> None:
    stages = {
        name: stage
        for name, stage in (latency.get("stages") or {}).items()
        if stage and stage.get("count")
    }
    title = "Stages"
    if stages:
        page.panel(
            title,
            "Where the time goes: half of the messages pass a stage within the first bar, 99 %"
            " within the second, 99.9 % within the third. The axis is logarithmic: a line higher is"
            " a multiple, not a bit more.",
            page.plot(figures.stage_bars(stages), "p50, p99 and p99.9 by stage"),
        )
    else:
        page.left_out(title, "no stage of the result holds a measurement.")
    rows = {"tick_to_order": latency.get("tick_to_order")}
    rows |= {name: latency[name] for name in latency if name not in ("tick_to_order", "stages")}
    page.panel(
        "Latency table",
        "The same figures as numbers: the whole way first, then stage by stage in pipeline order."
        + (f" {_SAMPLED.format(sample)}" if (units.number(sample) or 0) > 1 else ""),
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
    if not isinstance(timeline, Mapping) or not units.column(timeline.get("t_s")):
        page.left_out(title, "the result has no timeline (series.timeline).")
        return
    page.panel(
        title,
        "Throughput, orders and latency of each interval of the run, on one time axis. Latency that"
        " rises with the message rate is load; latency that rises alone is the machine.",
        page.plot(figures.timeline(timeline), "Messages, orders and latency over time"),
    )

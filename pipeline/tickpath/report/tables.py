"""Panels of a replay that are tables: message mix, rejects, symbols, counters, lines."""

from collections.abc import Mapping
from typing import Any

from tickpath.report import units
from tickpath.report.markup import Html, Page, joined, table, tag
from tickpath.report.panels import share_table

MAX_SYMBOLS = 50
MAX_GAPS = 50
"""Gap ranges that are listed; the count of the others is stated."""


def message_name(key: Any) -> Html:
    """A message type as the specification names it, with its code."""
    from tickpath.wire.itch50 import ITCH50

    name = str(key)
    message = ITCH50.by_type.get(name) or ITCH50.by_name.get(name)
    if message is None or not message.type:
        return tag("code", name)
    return joined((tag("code", message.type), " ", units.words(message.name)))


def mix_panel(page: Page, messages_by_type: Any) -> None:
    """Counts and shares by message type."""
    title = "Message mix"
    rows = [
        (message_name(name), count)
        for name, count in (messages_by_type or {}).items()
        if units.number(count)
    ]
    if not rows:
        reason = "no message was decoded." if messages_by_type == {} else "the result has none."
        page.left_out(title, reason, half=True)
        return
    page.panel(
        title,
        "What the feed consisted of, by message type under the specification's names.",
        share_table(["message", "count"], rows),
        half=True,
    )


def rejects_panel(page: Page, orders: Mapping[str, Any]) -> None:
    """Rejected intents by code of the risk gate."""
    title = "Rejected order intents"
    codes = orders.get("rejects_by_code") or {}
    rows = [(tag("code", code), count) for code, count in codes.items() if units.number(count)]
    if not rows:
        nothing = orders.get("rejected") == 0
        reason = "the risk gate rejected nothing." if nothing else "the result counts none."
        page.left_out(title, reason, half=True)
        return
    page.panel(
        title,
        "Order intents of the strategy that the risk gate did not let out, by its closed set of"
        " codes; the first check that fails decides.",
        share_table(["code", "count"], rows),
        half=True,
    )


def symbols_panel(page: Page, symbols: Any) -> None:
    """The busiest symbols."""
    title = "Busiest symbols"
    rows = [row for row in (symbols or ()) if isinstance(row, Mapping)][:MAX_SYMBOLS]
    if not rows:
        page.left_out(title, "the result lists no symbols (series.symbols).", half=True)
        return
    page.panel(
        title,
        "The busiest symbols of the input, the orders sent in them, and the position at the end, in"
        " shares.",
        _rows(rows),
        half=True,
    )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4f}" if units.number(value) is not None else units.NOTHING
    return units.whole(value)


def _rows(rows: Any) -> Html:
    """A table of records: one column per key, the text ones first."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    heads.sort(key=lambda head: not isinstance(rows[0].get(head), str))
    texts = sum(isinstance(rows[0].get(head), str) for head in heads)
    cells = [[_cell(row.get(head)) for head in heads] for row in rows]
    return table([units.words(head) for head in heads], cells, text_columns=max(texts, 1))


def lines_panel(page: Page, lines: Any, gaps: Any) -> None:
    """Sessions and what they missed; daily files have none, and then there is no panel."""
    lines, gaps = list(lines or ()), list(gaps or ())
    if not lines and not gaps:
        return
    content = [_rows(lines)] if lines else []
    if gaps:
        shown = "" if len(gaps) <= MAX_GAPS else f"; the first {MAX_GAPS}"
        summary = tag("summary", f"Missing ranges of sequence numbers: {len(gaps):,}{shown}")
        content.append(tag("details", summary, _rows(gaps[:MAX_GAPS])))
    page.panel(
        "Lines",
        "Every session and group that was followed: the first sequence number seen, the next one"
        " expected, and how many messages never came.",
        *content,
    )


def counters_panel(page: Page, counters: Mapping[str, Any]) -> None:
    """Counters that are not zero, and behind a click those that are."""
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
        summary = tag("summary", f"Counters at zero: {len(rows(True))}")
        content.append(tag("details", summary, table(["counter", "count"], rows(True))))
    page.panel(
        title,
        "Every kind of traffic and every anomaly is counted; nothing is skipped in silence.",
        *content,
        half=True,
    )

"""What the project set itself, beside what was measured.  A missed target is no failed run."""

from collections.abc import Mapping
from typing import Any

BOOK_NS, PIPELINE_NS, LIVE_NS = 45.0, 80.0, 60.0
TIMES_C, TIMES_ITCH_BOOK, TIMES_ITCH = 1.1, 6.0, 1.6
PITCH_BOOK = "PITCH book"
"""Name of the row that is the book's over PITCH."""
P50_NS, P99_NS = 400, 2_000
MEMORY_BYTES = 1_500_000_000
HELP_S, REPLAY_S = 0.3, 1.5
RISK_NS, BOE_NS, FIX_NS, LINES_NS = 15.0, 60.0, 150.0, 10.0


def _row(result: Mapping[str, Any], beginning: str) -> float | None:
    """ns a message of the first row whose name begins so."""
    for row in result["results"]:
        if row["name"].startswith(beginning):
            return row["ns_per_message"]
    return None


def targets(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``name``, ``unit``, ``value``, ``at_most`` or ``at_least``, and ``met``, of each target.

    What was not measured in this run is left out.
    """
    book, c, peer = (_row(result, name) for name in ("book", "C,", "itch-book"))
    pitch = _row(result, PITCH_BOOK)
    times_itch = book and pitch and round(pitch / book, 3)
    tick_to_order = result["latency_ns"]["tick_to_order"]
    live = [each for each in result["curves"] if each["x_label"] == "live orders"]
    most_live = live[0]["ns_per_message"][-1] if live else None
    at_most = [
        ("book", "ns a message", book, BOOK_NS),
        ("book, times the compact C book", "", book and c and round(book / c, 3), TIMES_C),
        ("PITCH book, times that of ITCH", "", times_itch, TIMES_ITCH),
        ("pipeline", "ns a message", _row(result, "pipeline"), PIPELINE_NS),
        ("tick to order p50", "ns", tick_to_order["p50"], P50_NS),
        ("tick to order p99", "ns", tick_to_order["p99"], P99_NS),
        (
            "book at most live orders",
            "ns a message",
            most_live,
            LIVE_NS,
        ),
        ("risk check", "ns an order", _row(result, "risk check"), RISK_NS),
        ("encode BOE", "ns an order", _row(result, "encode BOE"), BOE_NS),
        ("encode FIX", "ns an order", _row(result, "encode FIX"), FIX_NS),
        ("line, A and B", "ns a packet", _row(result, "line, A and B"), LINES_NS),
        ("peak memory", "bytes", result["memory"]["peak_bytes"], MEMORY_BYTES),
        ("tickpath --help", "s", result["start"]["help_seconds"], HELP_S),
        ("second replay, start to exit", "s", result["start"]["replay_seconds"], REPLAY_S),
    ]
    ahead = book and peer and round(peer / book, 2)
    at_least = [("book, times faster than itch-book", "", ahead, TIMES_ITCH_BOOK)]
    return [
        *(
            {"name": name, "unit": unit, "value": value, "at_most": most, "met": value <= most}
            for name, unit, value, most in at_most
            if value
        ),
        *(
            {"name": name, "unit": unit, "value": value, "at_least": least, "met": value >= least}
            for name, unit, value, least in at_least
            if value
        ),
    ]

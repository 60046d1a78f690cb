"""What a reader must know before trusting a run: findings, from a result's counters and marks.

A finding is one sentence.  Known counters have sentences of their own; a counter that is new here
is caught by a word in its name, so that an anomaly added later is not silently left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tickpath.report import units

_KNOWN = {
    "strategy_raised": "The strategy raised {n} time(s): it was latched off, and its order intents"
    " of that message were dropped.",
    "gap_messages": "{n} message(s) were missing from the feed (sequence gaps); books they may"
    " have changed are flagged stale.",
    "frame_truncated": "{n} frame(s) ended before their headers did.",
    "mold_truncated": "{n} packet(s) ended inside a message.",
    "packets_cut": "{n} packet(s) were captured shorter than they were on the wire.",
    "order_store_full": "{n} order(s) found no room in the order store: books are incomplete.",
    "level_store_full": "{n} order(s) found no room for their price level: books are incomplete.",
    "level_full": "{n} order(s) found their price level full: books are incomplete.",
    "lines_full": "{n} packet(s) belonged to more sessions than can be followed.",
    "intents_dropped": "{n} order intent(s) were dropped.",
    "unknown_order_ref": "{n} message(s) referred to orders that are not in the book.",
    "duplicate_order_ref": "{n} order(s) were added under a reference that was already in use.",
    "over_execution": "{n} execution(s) exceeded what was left of the order.",
    "over_cancel": "{n} cancellation(s) exceeded what was left of the order.",
    "unknown_type": "{n} message(s) of an unknown type were skipped.",
    "wrong_length": "{n} message(s) had a wrong length and were skipped.",
}
_SAID_ALREADY = {"gaps"}
"""Counted by another counter's sentence too."""
_WORDS = ("truncated", "violation", "raised", "invalid", "diverged", "not_listed", "overflow_ns")


def flattened(counters: Any, prefix: str = "") -> dict[str, Any]:
    """Counters by name; those in groups as ``group.name``."""
    found: dict[str, Any] = {}
    for name, value in counters.items() if isinstance(counters, Mapping) else ():
        if isinstance(value, Mapping):
            found.update(flattened(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


def findings(result: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that a reader must know before trusting the run."""
    return list(_findings(result))


def _findings(result: Mapping[str, Any]) -> Iterator[str]:
    if result.get("interrupted"):
        yield "The run was interrupted: everything here covers the part that was done until then."
    stated = result.get("findings") or ()
    yield from (str(each) for each in ([stated] if isinstance(stated, str) else stated))
    counters = flattened(result.get("counters"))
    names = {name.rpartition(".")[2] for name, value in counters.items() if units.number(value)}
    for name, value in counters.items():
        plain = name.rpartition(".")[2]
        if not units.number(value) or (plain in _SAID_ALREADY and "gap_messages" in names):
            continue
        if plain in _KNOWN:
            yield _KNOWN[plain].format(n=units.whole(value))
        elif plain in _SAID_ALREADY or any(word in plain for word in _WORDS):
            yield f"Counter {name}: {units.whole(value)}."
    violations = result.get("violations")
    if units.number(violations):
        yield f"The checked accessors refused {units.whole(violations)} memory access(es)."

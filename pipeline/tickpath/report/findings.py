"""What a reader must know before trusting a run: findings, from a result's counters and marks.

A finding is one sentence.  Known counters have sentences of their own; a counter that is new here
is caught by a word in its name, so that an anomaly added later is not silently left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tickpath.report import units

_KNOWN = {
    "strategy_raised": "The strategy raised: it was latched off, and its order intents of that"
    " message were dropped.",
    "gap_messages": "Messages missing from the feed (sequence gaps): {n}. Books that they may have"
    " changed are flagged stale.",
    "gaps_not_listed": "Gaps that were counted but found no room in the list of ranges: {n}.",
    "frame_truncated": "Frames that ended before their headers did: {n}.",
    "mold_truncated": "Packets that ended inside a message: {n}.",
    "packets_cut": "Packets captured shorter than they were on the wire: {n}.",
    "order_store_full": "Orders that found no room in the order store: {n}. Books are incomplete.",
    "level_store_full": "Orders that found no room for their price level: {n}. Books are"
    " incomplete.",
    "level_full": "Orders that found their price level full: {n}. Books are incomplete.",
    "lines_full": "Packets of more sessions than can be followed: {n}.",
    "intents_dropped": "Order intents dropped: {n}.",
    "unknown_order_ref": "Messages that refer to orders which are not in the book: {n}.",
    "duplicate_order_ref": "Orders added under a reference that was already in use: {n}.",
    "over_execution": "Executions of more than was left of the order: {n}.",
    "over_cancel": "Cancellations of more than was left of the order: {n}.",
    "unknown_type": "Messages of an unknown type, skipped: {n}.",
    "wrong_length": "Messages of a wrong length, skipped: {n}.",
}
_STATED = {"strategy_raised": "raised", "capture_bytes_truncated": "truncated"}
"""Counters that say what a stated finding with this word says better."""
_WORDS = ("truncated", "violation", "raised", "invalid", "diverged", "malformed", "unread")


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
    stated = [stated] if isinstance(stated, str) else [str(each) for each in stated]
    yield from stated
    for name, value in flattened(result.get("counters")).items():
        if not units.number(value):
            continue
        plain = name.rpartition(".")[2]
        if plain in _STATED and any(_STATED[plain] in each for each in stated):
            continue
        if plain in _KNOWN:
            yield _KNOWN[plain].format(n=units.whole(value))
        elif any(word in plain for word in _WORDS):
            yield f"Counter {name}: {units.whole(value)}."
    violations = result.get("violations")
    if units.number(violations):
        yield f"The checked accessors refused {units.whole(violations)} memory access(es)."

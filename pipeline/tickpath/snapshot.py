"""The portable snapshot: all that outcomes depend on after input N, as a logical stream.

    saved = engine.snapshot()        # bytes, any build of the package reads them
    other.restore(saved)             # goes on as if it had never been another engine

What is saved is logical: orders in queue order, statistics, positions, limits, own orders, the
strategy's cells, lines and gaps, counters, windows.  Where a record lies, free lists and latencies
are not.  The order bytes that nobody has taken yet and the start of a message that is not complete
yet (`Engine.feed`) are part of it: whoever sends orders takes them first, or sends them twice.

A snapshot is taken between packets: not in a callback in the middle of one, not where a message
limit stopped inside one.  It restores into an engine of other capacities where everything fits;
what decides outcomes otherwise (`facts`) must be equal.  Limits are part of it, those of symbols
that have not been seen yet too, because commands change them.  The strategy, order session, feed
groups, price bands and the start-of-day file stay those of the restoring engine.
Restoring builds a new block, puts every order back through `book.add`, compares both digests with
those saved, and only then replaces the old block; when it fails nothing has changed.
"""

import json
from typing import Any

import numpy as np

from tickpath import __version__, depth
from tickpath.config import Config
from tickpath.counters import Counter
from tickpath.engine import Engine
from tickpath.layout import (
    BBO,
    BOOK,
    CELL,
    EXECUTION,
    GAP,
    GATE,
    LIMIT,
    LINE,
    OWN,
    OWN_EVENT,
    POSITION,
    RECENT,
    REVERT,
    SYMBOL_LIMIT,
    TRADE,
    Watch,
)
from tickpath.risk import Reject
from tickpath.snapshot_stream import SnapshotError, pack
from tickpath.state import Block
from tickpath.window import NO_WINDOW

__all__ = ["RUN_OPTIONS", "SnapshotError", "take"]

SCALARS = (
    *("input_number", "messages", "engine_time", "timer_next", "alarm", "user_ref_num"),
    *("newest_ref", "next_match", "revert_next", "own_event_first", "own_event_end"),
    *("sparse_age", "bare_ns", "hours_said"),
    *("record_number", "epoch", "order_position", "answered", "holds"),
    *("strategy_latched", "gapped", "market_hours", "packets", "lines", "gaps"),
)
"""Numbers of the `ENGINE` record that outcomes depend on."""
STALE_UNTOLD = "stale_untold"
"""1: a gap was declared and the strategy has not been told yet (`Watch.STALE`)."""
RUN_OPTIONS = (
    *("multiplier", "shift", "message_limit", "orders_wanted", "bbo_wanted", "audit_wanted"),
    *("strategy", "publishes", "scrub_table", "scrub_slices", "scrub_every"),
)
"""Those that say how this engine is run: restoring keeps them."""

BY_INDEX = {
    "book": (BOOK, "book"),
    "limit": (LIMIT, "book"),
    "position": (POSITION, "place"),
    "bbo_last": (BBO, "book"),
    "cell": (CELL, "cell"),
    "execution": (EXECUTION, "place"),
    "recent": (RECENT, "place"),
    "revert": (REVERT, "place"),
    "own_event": (OWN_EVENT, "place"),
}
"""Regions of which the records that are not zero are saved with their index, called so."""
BY_KEY = {"trade": (TRADE, "match_number", "book"), "own": (OWN, "user_ref_num", "user_ref_num")}
"""Tables that a key's low bits lead into: saved by rising key, where the second field is not 0."""
LISTED = {
    "line": (LINE, "lines"),
    "gap": (GAP, "gaps"),
    "gate": (GATE, None),
    "symbol_limit": (SYMBOL_LIMIT, None),
}
"""Regions of which the first records are saved: as many as the scalar says, all without one."""
LEFT_OUT = {"reserved", "reserved2", "reserved3", "sma_at", "next_named"}
"""Fields that nothing depends on; where an average's ring begins is one of them."""
NAMED = {"counter": Counter, "reject": Reject}

_BYTE = np.dtype([("byte", "u1")])
_NAME = np.dtype([("name", "S32"), ("value", "<u8")])
_CODE = np.dtype([("code", "u1"), ("value", "<u8")])
_WINDOW = np.dtype([("book", "<u4"), ("side", "<u4"), ("base", "<u4"), ("misses", "<u4")])


def saved_fields(dtype: np.dtype) -> list[str]:
    """Fields of a region's record that are saved."""
    return [name for name in dtype.names or () if name not in LEFT_OUT]


def _packed(dtype: np.dtype, *index: str) -> np.dtype:
    kinds = [(name, "<u4") for name in index]
    return np.dtype(kinds + [(name, dtype[name].str) for name in saved_fields(dtype)])


SECTIONS: dict[str, np.dtype] = {
    "header": _BYTE,
    "engine": np.dtype([(name, "<u8") for name in (*SCALARS, STALE_UNTOLD)]),
    **{name: _packed(dtype, index) for name, (dtype, index) in BY_INDEX.items()},
    "average": np.dtype([("book", "<u4"), ("price", "<u4")]),
    "window": _WINDOW,
    "order": depth.QUEUED,
    **{name: _packed(dtype) for name, (dtype, _, _) in BY_KEY.items()},
    **{name: _packed(dtype) for name, (dtype, _) in LISTED.items()},
    **dict.fromkeys(NAMED, _NAME),
    "type_count": _CODE,
    "feed_rest": _BYTE,
    "waiting_orders": _BYTE,
}


def facts(config: Config) -> dict[str, Any]:
    """What must be equal where a snapshot is restored, by the configuration's names."""
    return {
        "indicators.sma_window": config.indicators.sma_window,
        "indicators.ema_window": config.indicators.ema_window,
        "strategy.cells": config.strategy.cells,
        "strategy.timer_interval_ms": config.strategy.timer_interval_ms,
        "orders.protocol": config.orders.protocol,
        "fills.model": config.fills.model,
        "risk.symbols": sorted(config.risk.symbols),
    }


def take(engine: Engine, unfinished: bytes, waiting: bytes) -> bytes:
    """A snapshot of the engine, with what it has beside its block.  Raises `SnapshotError`."""
    block = engine.block
    if block.get("cursor") == 0 and block.get("audit_used"):
        raise SnapshotError(
            "a snapshot is taken when all decisions are written down: some wait in the audit ring"
        )
    if any(block.get(name) for name in ("cursor", "egress_used", "bbo_used", "audit_used")):
        raise SnapshotError(
            "a snapshot is taken between packets: not inside a packet, where a callback may be "
            "called or a message limit may have stopped the engine"
        )
    sections = {name: _saved(block, name) for name in (*BY_INDEX, *BY_KEY, *LISTED)}
    sections["header"] = _bytes(_header(engine))
    sections["engine"] = np.zeros(1, SECTIONS["engine"])
    for name in SCALARS:
        sections["engine"][name] = block.get(name)
    sections["engine"][STALE_UNTOLD] = bool(block.get("watch") & Watch.STALE)
    sections["average"] = _averages(block)
    sections["window"] = _windows(block)
    sides = 2 * len(block.book)
    sections["order"] = depth.queued(block.address, 0, sides, engine.orders_live)
    sections |= {name: _named(block, name) for name in NAMED}
    used = np.flatnonzero(block.type_count["value"])
    sections["type_count"] = np.zeros(len(used), _CODE)
    sections["type_count"]["code"] = used
    sections["type_count"]["value"] = block.type_count["value"][used]
    sections["feed_rest"], sections["waiting_orders"] = _bytes(unfinished), _bytes(waiting)
    return pack({name: sections[name] for name in SECTIONS})


def _bytes(raw: bytes) -> np.ndarray:
    return np.frombuffer(raw, _BYTE)


def _header(engine: Engine) -> bytes:
    header = {
        "package": __version__,
        "configuration": facts(engine.config),
        "book_digest": f"{engine.book_digest:016x}",
        "state_digest": f"{engine.state_digest:016x}",
        "strategy_error": engine.strategy_error,
    }
    return json.dumps(header, separators=(",", ":")).encode()


def _chosen(view: np.ndarray, used: np.ndarray | slice, dtype: np.dtype) -> np.ndarray:
    """The saved fields of some of a region's records."""
    picked = view[used]
    rows = np.zeros(len(picked), dtype)
    for name in set(dtype.names or ()) & set(saved_fields(view.dtype)):
        rows[name] = picked[name]
    return rows


def _saved(block: Block, name: str) -> np.ndarray:
    view, dtype = block.views[name], SECTIONS[name]
    if name in BY_INDEX:
        filled = [view[each] != 0 for each in saved_fields(view.dtype)]
        used = np.flatnonzero(np.logical_or.reduce(filled))
        rows = _chosen(view, used, dtype)
        rows[BY_INDEX[name][1]] = used
        return rows
    if name in BY_KEY:
        _, key, sign = BY_KEY[name]
        used = np.flatnonzero(view[sign])
        return _chosen(view, used[np.argsort(view[key][used])], dtype)
    scalar = LISTED[name][1]
    return _chosen(view, slice(block.get(scalar) if scalar else None), dtype)


def places(counts: np.ndarray) -> np.ndarray:
    """0, 1, ... for each of the counts, one behind the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _averages(block: Block) -> np.ndarray:
    """The trade prices of each book's simple average, oldest first."""
    length = block.get("sma_window")
    used = np.flatnonzero(block.book["sma_count"])
    counts = block.book["sma_count"][used].astype(np.int64)
    oldest = np.repeat(block.book["sma_at"][used].astype(np.int64) - counts, counts)
    rows = np.zeros(int(counts.sum()), SECTIONS["average"])
    rows["book"] = np.repeat(used, counts)
    place = (oldest + places(counts)) % length
    rows["price"] = block.sma["price"][rows["book"].astype(np.int64) * length + place]
    return rows


def _windows(block: Block) -> np.ndarray:
    """Where each side's window stands, which decides what `view.quantity_at` sees."""
    bases = block.side["base"]
    used = np.flatnonzero((bases != NO_WINDOW) | (block.side["misses"] != 0))
    rows = np.zeros(len(used), _WINDOW)
    rows["book"], rows["side"] = used // 2, used % 2
    rows["base"], rows["misses"] = bases[used], block.side["misses"][used]
    return rows


def _named(block: Block, name: str) -> np.ndarray:
    """Counts by name, without those that are zero."""
    values = block.views[name]["value"]
    rows = [(each.name.lower(), int(values[each])) for each in NAMED[name] if values[each]]
    return np.array(rows, _NAME)

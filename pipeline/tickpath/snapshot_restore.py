"""A block from a portable snapshot: what `tickpath.snapshot` took, put where this build keeps it.

A snapshot of any origin is followed only as far as it was checked: digests of the stream, indices
and codes that compiled code would follow, room, and in the end both state digests.  Every order is
put back through `by_ref` in queue order, so what books keep about their orders is made as ever.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tickpath import by_ref, depth, itch, window
from tickpath.config import Config
from tickpath.counters import Counter
from tickpath.digest import VENUE_NAMES, side_key
from tickpath.engine import state_digest
from tickpath.jit import entry, leaf
from tickpath.layout import (
    EXECUTION_BITS,
    GAP_RANGES,
    LINES,
    OWN_EVENTS,
    OWN_ORDERS,
    RECENT_BITS,
    REVERTS,
    WINDOW,
    LineState,
    Watch,
    book,
    engine,
    side,
    sparse_order,
)
from tickpath.memory import accessors
from tickpath.own_orders import State, make_chains
from tickpath.snapshot import (
    BY_INDEX,
    BY_KEY,
    LISTED,
    NAMED,
    SCALARS,
    SECTIONS,
    STALE_UNTOLD,
    facts,
    places,
    saved_fields,
)
from tickpath.snapshot_stream import SnapshotError, conform, unpack
from tickpath.state import Block
from tickpath.symbols import list_all
from tickpath.wire.control import Limit

_HEADER = ("configuration", "book_digest", "state_digest", "strategy_error")
_row = accessors("queued", depth.QUEUED)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_NOT_EMPTY = np.uint64(1)


@leaf
def _add(eng, sd, price, quantity, ref, age):
    if book.venue(book.at(eng, sd >> _ONE)) == itch.VENUE:
        return by_ref.dense.add(eng, sd, price, quantity, ref)
    # References are those of the venue whose run is under way.
    engine.set_run_venue(eng, book.venue(book.at(eng, sd >> _ONE)))
    done = by_ref.sparse.add(eng, sd, price, quantity, ref)
    _, slot = by_ref.sparse.find(eng, ref)
    if done != _ZERO:
        sparse_order.set_age(sparse_order.at(eng, slot), age)
    return done


@leaf
def _put_back(eng, sd, price, quantity, ref, age):
    """Add an order where it was: prices outside the window stay outside, and do not move it."""
    if window.level_of(eng, sd, price) != _ZERO:
        return _add(eng, sd, price, quantity, ref, age)
    # A window moves when it is empty, or for its misses: until this add is done it has neither.
    s = side.at(eng, sd)
    summary = side.summary(s)
    side.set_summary(s, _NOT_EMPTY)
    side.set_misses(s, _ZERO)
    done = _add(eng, sd, price, quantity, ref, age)
    side.set_summary(s, summary)
    return done


@entry
def _put_all_back(eng, orders, number):
    """Add `depth.QUEUED` records in turn; gives the number of those that found room."""
    for n in range(number):
        row = orders + n * _row.SIZE
        sd = _row.book(row) + _row.book(row) + _row.side(row)
        price, quantity, ref = _row.price(row), _row.quantity(row), _row.order_ref(row)
        if _put_back(eng, sd, price, quantity, ref, _row.age(row)) == _ZERO:
            return n
    return number


class Restored(NamedTuple):
    """What a snapshot holds: a block, and what an engine has beside its block."""

    block: Block
    unfinished: bytes
    waiting: bytes
    strategy_error: str | None


def read(data: bytes | bytearray | memoryview, config: Config) -> Restored:
    """A new block with the state that a snapshot holds.  Raises `SnapshotError`."""
    found = unpack(data)
    header = _read_header(found)
    sections = conform(found, SECTIONS)
    _check_facts(header["configuration"], config)
    _check_values(sections, config)
    block = Block(config)
    _fill_tables(block, sections)
    _fill_books(block, sections)
    # Putting orders back has changed scalars and counts.
    _fill_scalars(block, sections)
    _fill_counts(block, sections)
    for name, number in (
        ("book_digest", block.get("book_digest")),
        ("state_digest", state_digest(block)),
    ):
        if header[name] != f"{number:016x}":
            raise SnapshotError(f"inconsistent: its {name} is {header[name]}, not {number:016x}")
    return Restored(
        block,
        sections["feed_rest"].tobytes(),
        sections["waiting_orders"].tobytes(),
        header["strategy_error"],
    )


def _read_header(found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    try:
        header = json.loads(found["header"].tobytes())
        return {name: header[name] for name in _HEADER}
    except (KeyError, ValueError, TypeError) as error:
        raise SnapshotError(f"section header is missing or cannot be read: {error}") from None


def _check_facts(there: dict[str, Any], config: Config) -> None:
    for name, here in facts(config).items():
        if there.get(name) != here:
            raise SnapshotError(
                f"taken with {name} = {there.get(name)}, here it is {here}: make them equal"
            )


def _check_room(sections: Mapping[str, np.ndarray], locates: int) -> None:
    """Whether books are where this capacity has them: by locate, and behind those the others."""
    books = sections["book"]
    others = np.isin(books["venue"], [each for each in VENUE_NAMES if each != itch.VENUE])
    if (books["book"][others] < locates).any():
        raise SnapshotError(
            f"its books are not where capacity.symbols = {locates} puts them: "
            "use the capacity that it was taken with"
        )
    most = int(books["book"][others].max(initial=0)) + 1
    needed = max(
        (int(rows["book"].max()) + 1 for rows in sections.values() if _has_books(rows)), default=0
    )
    if needed > max(locates, most) or most > 2 * locates:
        raise SnapshotError(f"capacity.symbols is {locates}, {needed} are needed")


def _check_values(sections: Mapping[str, np.ndarray], config: Config) -> None:
    """Indices and codes that compiled code would follow."""
    _check_room(sections, config.capacity.symbols)
    capacity = 2 * config.capacity.symbols
    orders, windows, books = (sections[name] for name in ("order", "window", "book"))
    ring = config.indicators.sma_window
    held = books["sma_count"].astype(np.int64)
    sound = {
        "engine": len(sections["engine"]) == 1,
        "gate": len(sections["gate"]) == 1,
        "book": bool(np.isin(books["venue"], [0, *VENUE_NAMES]).all() and (held <= ring).all())
        and bool((books["position"] < 2 * capacity).all()),
        "position": bool((sections["position"]["place"] < 2 * capacity).all()),
        "average": np.array_equal(sections["average"]["book"], np.repeat(books["book"], held)),
        "order": bool((orders["side"] <= 1).all()),
        "window": bool((windows["side"] <= 1).all()) and _are_bases(windows["base"]),
        "cell": bool((sections["cell"]["cell"] < config.strategy.cells).all()),
        **{
            name: bool((sections[name]["place"] < len_of_region).all())
            for name, len_of_region in PLACES.items()
        },
        "own": _are_places(sections["own"], capacity)
        and _are_lists(sections["own"], sections["position"], books),
        "own_event": _is_ring(sections["engine"], sections["own_event"], capacity),
        "revert": bool(np.isin(sections["revert"]["limit"] & 0xFFFF, [0, *Limit]).all()),
        "line": len(sections["line"]) == int(sections["engine"]["lines"][0]) <= LINES,
        "gap": len(sections["gap"]) == int(sections["engine"]["gaps"][0]) <= GAP_RANGES
        and bool((sections["gap"]["line"] < len(sections["line"])).all()),
    }
    for name, is_sound in sound.items():
        if not is_sound:
            raise SnapshotError(f"inconsistent: section {name} has what no engine can have")


PLACES = {
    "execution": 1 << EXECUTION_BITS,
    "recent": 1 << RECENT_BITS,
    "revert": REVERTS,
    "own_event": OWN_EVENTS,
}
"""Records of the tables whose place is saved."""


def _are_places(own: np.ndarray, books: int) -> bool:
    """Whether own orders lead to places and books that there are."""
    links = np.concatenate([own["next"], own["previous"]])
    return bool((links <= OWN_ORDERS).all() and (own["book"] < books).all()) and bool(
        (own["position"] < 2 * books).all()
    )


def _are_lists(own: np.ndarray, positions: np.ndarray, books: np.ndarray) -> bool:
    """Whether the lists of open own orders have each of them once, where it belongs."""
    elsewhere = {book: index for book, index in books[["book", "position"]].tolist() if index}
    rows = dict(zip((own["user_ref_num"] % OWN_ORDERS + 1).tolist(), own.tolist(), strict=True))
    at = {name: number for number, name in enumerate(own.dtype.names or ())}
    is_open = (own["state"] != State.FREE) & (own["state"] <= State.PARTIALLY_FILLED)
    linked = 0
    for p in positions:
        length = 0
        for first, is_buy in ((p["first_buy"], True), (p["first_sell"], False)):
            place, previous = int(first), 0
            while place and linked <= len(own):
                row = rows.get(place)
                if (
                    row is None
                    or not State.FREE < row[at["state"]] <= State.PARTIALLY_FILLED
                    or row[at["previous"]] != previous
                    or row[at["position"]] != p["place"]
                    or elsewhere.get(row[at["book"]], row[at["book"]]) != p["place"]
                    or (row[at["side"]] == ord("B")) != is_buy
                ):
                    return False
                linked += 1
                length += 1
                place, previous = row[at["next"]], place
        if length != p["open_orders"]:
            return False
    return linked == int(is_open.sum())


def _is_ring(engine: np.ndarray, events: np.ndarray, books: int) -> bool:
    """Whether the events that wait for the strategy are as many as there can be."""
    waiting = int(engine["own_event_end"][0]) - int(engine["own_event_first"][0])
    return 0 <= waiting <= OWN_EVENTS and bool((events["book"] < books).all())


def _are_bases(values: np.ndarray) -> bool:
    first = values & np.uint32(window.BASE_MASK)
    highest = int(window.KEY_MASK) + 1 - WINDOW
    return bool(((values == window.NO_WINDOW) | ((first % 64 == 0) & (first <= highest))).all())


def _has_books(rows: np.ndarray) -> bool:
    return "book" in (rows.dtype.names or ()) and len(rows) > 0


def _fill_scalars(block: Block, sections: Mapping[str, np.ndarray]) -> None:
    for name in SCALARS:
        block.set(name, int(sections["engine"][name][0]))
    block.set("watch", Watch.STALE if sections["engine"][STALE_UNTOLD][0] else 0)


def _fill_tables(block: Block, sections: Mapping[str, np.ndarray]) -> None:
    block.cell["value"] = 0  # the configuration's parameters
    for name in (*BY_INDEX, *BY_KEY, *LISTED):
        view, rows = block.views[name], sections[name]
        if name in BY_INDEX:
            place = rows[BY_INDEX[name][1]]
        elif name == "symbol_limit":
            place = _places_of_symbols(view["symbol"], rows["symbol"])
        elif name in BY_KEY:
            place = _free_places(name, rows[BY_KEY[name][1]], len(view))
        else:
            place = np.arange(len(rows))
        for field in saved_fields(view.dtype):
            view[field][place] = rows[field]
    make_chains(block.address)
    list_all(block.address)
    # Packets that waited are not saved: what is missing is more, then.
    waits = block.line["seen"] > block.line["expected"]
    block.line["held"] = 0
    block.line["state"] = np.where(waits, LineState.WINDOW, LineState.STEADY)
    block.set("waiting", int(waits.sum()))
    used = np.flatnonzero(block.book["venue"])
    block.set("listed", max(block.get("listed"), int(used.max(initial=0)) + 1))


def _places_of_symbols(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Where the records of symbols with tables of their own are in this configuration."""
    order = np.argsort(here)
    if not np.array_equal(here[order], np.sort(there)):
        raise SnapshotError("inconsistent: section symbol_limit has what no engine can have")
    return order[np.searchsorted(here[order], there)]


def _free_places(name: str, keys: np.ndarray, size: int) -> np.ndarray:
    place = (keys & np.asarray(size - 1, keys.dtype)).astype(np.int64)
    if len(np.unique(place)) != len(place):
        what = "capacity.trades is too small" if name == "trade" else f"section {name}"
        raise SnapshotError(f"{what}: {len(place)} records do not fit {size} places side by side")
    return place


def _fill_books(block: Block, sections: Mapping[str, np.ndarray]) -> None:
    """Averages, digest keys, windows, orders."""
    books, averages, length = sections["book"], sections["average"], block.get("sma_window")
    counts = books["sma_count"].astype(np.int64)
    block.sma["price"][averages["book"].astype(np.int64) * length + places(counts)] = averages[
        "price"
    ]
    block.book["sma_at"][books["book"]] = counts % length
    for number, venue, symbol in books[books["venue"] > 0][["book", "venue", "symbol"]].tolist():
        for s in (0, 1):
            block.side["key"][2 * number + s] = side_key(venue, symbol, s)
    windows, orders = sections["window"], np.ascontiguousarray(sections["order"])
    sides = 2 * windows["book"] + windows["side"]
    block.side["base"][sides] = windows["base"]
    put = _put_all_back(block.address, np.uint64(orders.ctypes.data), np.uint64(len(orders)))
    if put != len(orders):
        raise SnapshotError(_why_not(block, int(put), len(orders)))
    block.side["misses"] = 0
    block.side["misses"][sides] = windows["misses"]


def _why_not(block: Block, put: int, orders: int) -> str:
    """Which capacity ended before the orders did."""
    counted = block.counter["value"]
    for counter, name in (
        (Counter.ORDER_STORE_FULL, "capacity.orders"),
        (Counter.LEVEL_STORE_FULL, "capacity.overflow_levels"),
    ):
        if counted[counter]:
            return f"{name} is too small: {put} of {orders} orders fit"
    return f"inconsistent: order {put + 1} of section order cannot rest in a book"


def _fill_counts(block: Block, sections: Mapping[str, np.ndarray]) -> None:
    """Counts as they were saved; putting orders back has counted too."""
    for name, numbers in NAMED.items():
        known = {each.name.lower().encode(): each for each in numbers}
        values = block.views[name]["value"]
        values[:] = 0
        for text, value in sections[name].tolist():
            if text not in known:
                raise SnapshotError(
                    f"section {name}: {text.decode('latin-1')} is not known to this version"
                )
            values[known[text]] = value
    codes = sections["type_count"]
    block.type_count["value"][codes["code"]] = codes["value"]

"""Whether an engine's answer is right: its books beside what is known of them from elsewhere."""

from dataclasses import dataclass

import numpy as np

from tickpath.bench.held import HeldSession
from tickpath.engine import Engine
from tickpath.generate.truth import Truth
from tickpath.layout import QUANTITY_BITS

TOUCH = np.dtype([("bid_px", "<i8"), ("bid_sz", "<i8"), ("ask_px", "<i8"), ("ask_sz", "<i8")])
"""Best prices, in 1e-4, and the shares there; zeros for an empty side."""

CLEAN = (
    *("unknown_type", "wrong_length", "side_invalid", "symbol_out_of_range", "time_backwards"),
    *("unknown_order_ref", "duplicate_order_ref", "symbol_mismatch", "over_execution"),
    *("over_cancel", "zero_quantity", "order_store_full", "level_store_full", "level_full"),
    *("gaps", "duplicate_messages", "mold_invalid", "mold_truncated"),
    *("unit_truncated", "messages_longer", "price_out_of_range"),
)
"""Counters that stay zero on a session without faults."""


@dataclass(frozen=True)
class Answer:
    """What an engine came to, in numbers that must be equal in every run of the same input."""

    messages: int
    orders_live: int
    book_digest: str
    state_digest: str
    orders_sent: int
    orders_digest: str  # of the encoded orders, in order


def touch(engine: Engine) -> np.ndarray:
    """`TOUCH` of every book of an engine, by its number."""
    side, level = engine.block.side, engine.block.level
    filled = side["best"] > 0
    price = np.where(filled, side["best_px"], 0)
    shares = level["total"][side["best"]] & np.uint64((1 << QUANTITY_BITS) - 1)
    shares = np.where(filled, shares, 0)
    best = np.zeros(len(side) // 2, TOUCH)
    for offset, name in enumerate(("bid", "ask")):
        best[f"{name}_px"], best[f"{name}_sz"] = price[offset::2], shares[offset::2]
    return best


def _books_of(engine: Engine, stocks: np.ndarray) -> np.ndarray:
    """Book number of each symbol (``S8``, without padding); 0 where it has no book."""
    books = engine.block.book
    used = np.flatnonzero(books["venue"])
    if not len(used):
        return np.zeros(len(stocks), np.int64)
    used = used[np.argsort(books["symbol"][used])]
    names = np.char.ljust(stocks, 8).astype("S8").view(">u8").astype(np.uint64)
    place = np.minimum(np.searchsorted(books["symbol"][used], names), len(used) - 1)
    found = used[place]
    return np.where(books["symbol"][found] == names, found, 0)


def truth_problems(engine: Engine, truth: Truth) -> list[str]:
    """What an engine says otherwise than the generator that made the session."""
    problems = []
    types = engine.block.type_count["value"]
    by_type = {chr(code): int(types[code]) for code in np.flatnonzero(types)}
    for what, found, expected in (
        ("messages", engine.messages, truth.messages),
        ("messages by type", by_type, dict(truth.messages_by_type)),
        ("live orders", engine.orders_live, truth.live_orders),
    ):
        if found != expected:
            problems.append(f"{what}: {found}, but the generator says {expected}")
    best = touch(engine)[_books_of(engine, truth.symbols["stock"])]
    for name in TOUCH.names or ():
        wrong = np.flatnonzero(best[name] != truth.symbols[name])
        if len(wrong):
            symbol = truth.symbols["stock"][wrong[0]].decode()
            problems.append(f"{name} of {len(wrong)} symbols is not the generator's, e.g. {symbol}")
    counters = engine.counters
    problems += [f"counter {name} is {counters[name]}" for name in CLEAN if counters[name]]
    return problems


def queue_problems(engine: Engine, held: HeldSession) -> list[str]:
    """Whether every live order stands where the generator has it: book, price and queue."""
    assert held.resting is not None and held.truth is not None
    found, expected = engine.resting(), held.resting
    if len(found) != len(expected):
        return [f"{len(found)} orders rest, {len(expected)} at the generator"]
    symbols = held.truth.symbols
    books = np.zeros(int(symbols["stock_locate"].max(initial=0)) + 1, np.int64)
    books[symbols["stock_locate"]] = _books_of(engine, symbols["stock"])
    # The generator goes by the alphabet, the engine by the books' numbers.
    expected = expected[np.argsort(books[expected["stock_locate"]], kind="stable")]
    equal = (
        (found["order_ref"] == expected["order_reference_number"].astype(np.uint64))
        & (found["book"] == books[expected["stock_locate"]])
        & (found["side"] == (expected["side"] == ord("S")))
        & (found["price"] == expected["price"])
        & (found["quantity"] == expected["shares"])
    )
    wrong = len(found) - int(np.count_nonzero(equal))
    return [f"{wrong} resting orders stand elsewhere than at the generator"] if wrong else []


def touch_problems(found: np.ndarray, expected: np.ndarray) -> list[str]:
    """Books whose best prices or sizes differ between two `TOUCH` arrays."""
    wrong = np.flatnonzero(found != expected)
    if not len(wrong):
        return []
    first = int(wrong[0])
    return [
        f"best bid and offer of {len(wrong)} books differ, first in book {first}: "
        f"{found[first].tolist()} beside {expected[first].tolist()}"
    ]

"""Short scenes for tests: a few messages, the engine that played them, what it counted."""

from collections.abc import Iterable

from comparison import assert_equal, assert_top
from itch_messages import message, run
from reference import Reference
from streams import SMALL
from structure import validate
from tickpath import Config, Engine
from tickpath.config import Risk, Total

TS = 34_200_000_000_000
_MOST = 1 << 60
FREE = Risk(
    max_quantity=999_999,
    max_notional=1e14,
    max_position=_MOST,
    max_open_orders=(1 << 32) - 1,
    max_daily_quantity=_MOST,
    max_daily_notional=1e14,
    max_loss=1e14,
    collar_percent=1000.0,
    collar_price=199_999.0,
    orders_per_second=1_000_000_000,
    order_burst=_MOST,
    symbol_orders_per_second=1_000_000_000,
    symbol_order_burst=_MOST,
    unknown_trading_state="trade",
    trading_hours="any",
    market_orders=True,
    max_spread_percent=1000.0,
    total=Total(
        max_open_orders=(1 << 32) - 1,
        max_gross_notional=1e14,
        max_net_notional=1e14,
        max_daily_quantity=_MOST,
        max_daily_notional=1e14,
        max_loss=1e14,
    ),
)
"""Limits as far as they go: what can be rejected still is what the order itself is wrong about, a
book without a reference price, and self matches."""


def add(ref, side="B", shares=100, price=1_000_000, locate=1, stock="AAPL"):
    return message("A", locate, TS, ref=ref, side=side, shares=shares, price=price, stock=stock)


def execute(ref, shares, locate=1, match=1):
    return message("E", locate, TS, ref=ref, shares=shares, match_number=match)


def cancel(ref, shares, locate=1):
    return message("X", locate, TS, ref=ref, shares=shares)


def delete(ref, locate=1):
    return message("D", locate, TS, ref=ref)


def replace(ref, new_ref, shares=100, price=1_000_000, locate=1):
    return message("U", locate, TS, ref=ref, new_ref=new_ref, shares=shares, price=price)


def played(*given: bytes, config: Config = SMALL) -> Engine:
    """An engine after the messages, equal to the reference and sound after each of them."""
    engine, reference = Engine(config), Reference(config)
    for each in given:
        engine.feed(run([each]))
        reference.apply(each)
        assert_equal(engine, reference)
    validate(engine)
    return engine


def counted(engine: Engine) -> dict[str, int]:
    """The anomalies that were counted."""
    traffic = ("packets", "bytes", "recentres", "overflow_adds")
    return {k: n for k, n in engine.counters.items() if n and not k.startswith(traffic)}


def queue(engine: Engine) -> list[tuple[int, int, int, int]]:
    """(ref, side, price, shares) of every live order as they queue."""
    return [
        (int(row["order_ref"]), int(row["side"]), int(row["price"]), int(row["quantity"]))
        for row in engine.resting()
    ]


def follow(stream: Iterable[bytes], config: Config = SMALL, whole_every: int = 500) -> Engine:
    """Tops and counts equal after every message, everything else now and then and at the end."""
    engine, reference = Engine(config), Reference(config)
    for number, each in enumerate(stream):
        full = engine.counters["level_store_full"]
        engine.feed(run([each]))
        reference.apply(each)
        if engine.counters["level_store_full"] > full:
            reference.leave_out_last()
        assert engine.orders_live == len(reference.orders), number
        for book in range(engine.config.capacity.symbols):
            assert_top(engine, reference, book)
        if number % whole_every == 0:
            assert_equal(engine, reference)
            validate(engine)
    assert_equal(engine, reference)
    validate(engine)
    return engine

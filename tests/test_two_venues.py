"""A market that two venues tell, beside the reference: orders on both, one position a symbol."""

import pytest
from msgspec.structs import replace

from streams import CAPACITY
from structure import validate
from tickpath.config import Fills, Limits
from trader import LIMITS, START, busy, eventful, start_file, trading
from two_venues import Teller, TwoVenues

FIRST = CAPACITY.symbols


def config(model: str, **changes):
    return replace(trading(timer_interval_ms=200, **changes), fills=Fills(model=model))


@pytest.mark.parametrize("model", ["touch", "through", "queue"])
@pytest.mark.parametrize("seed", range(2))
def test_an_eventful_market_beside_the_reference(seed, model):
    """Decisions, orders, positions and limits equal after every message of either venue."""
    pair = TwoVenues(config(model), busy)
    pair.run(eventful(70 + seed, 700), Teller(seed))
    validate(pair.engine)
    orders = pair.engine.own_orders()
    assert (orders["book"] < FIRST).sum() > 20 and (orders["book"] >= FIRST).sum() > 20
    assert (orders["executed"][orders["book"] >= FIRST] > 0).any()
    shared = pair.engine.block.book["position"]
    assert (shared[FIRST:] > 0).sum() >= 4, "both books of a symbol have one position"
    assert len(pair.engine.rejects_by_code) > 8


def test_the_day_begins_with_one_position_a_symbol(tmp_path):
    risk = replace(LIMITS, start_of_day=start_file(tmp_path / "start.csv"))
    pair = TwoVenues(config("touch", risk=risk), busy, START)
    pair.run(eventful(81, 400))
    quantities = pair.engine.block.position["quantity"]
    assert not quantities[FIRST:].any() and quantities[:FIRST].any()
    validate(pair.engine)


def test_of_two_symbols_on_two_venues_the_tighter_limits_hold():
    """A symbol's limits are those of its books on all venues."""
    symbols = {**LIMITS.symbols, "AAPL": Limits(max_long=600, max_short=400, max_open_orders=2)}
    pair = TwoVenues(config("through", risk=replace(LIMITS, symbols=symbols)), busy)
    pair.run(eventful(82, 500), Teller(3))
    assert {"POSITION_LONG", "SYMBOL_OPEN_ORDERS"} & set(pair.engine.rejects_by_code)
    held = pair.engine.block.position["quantity"]
    books = [n for n in range(2 * FIRST) if pair.engine.block.book["symbol"][n] == _number("AAPL")]
    assert len(books) == 2 and -400 <= held[books[0]] <= 600 and held[books[1]] == 0


def _number(symbol: str) -> int:
    return int.from_bytes(symbol.ljust(8).encode(), "big")

"""The venue's snapshots and its second line, as a trader uses them."""

import pytest

from tickpath.exchange.event import BUY, SELL
from tickpath.recovery.state import State
from trading import CREDENTIALS, Pit, free_udp_port, pit

LOSSY = {"group_b": "", "line_loss": 0.05, "loss": 0.01, "glimpse_port": 0}
CALM = {"rate": 300.0}
"""Background actions a second: one thread is venue and trader, and each loss takes a round."""

OFTEN = {"parameters": [1, 1]}


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def lossy() -> dict:
    return LOSSY | {"group_b": f"127.0.0.2:{free_udp_port()}"}


def books(p: Pit) -> tuple[dict, dict]:
    """(the trader's, the venue's) displayed levels by symbol: price, shares, orders."""
    here, there = {}, {}
    for book in p.server.venue.matching.books.values():
        found = p.live.engine.book(book.stock)
        here[book.stock] = [
            [(int(r["price"]), int(r["quantity"]), int(r["orders"])) for r in side]
            for side in (found.bids, found.asks)
        ]
        there[book.stock] = [book.depth(side) for side in (BUY, SELL)]
    return here, there


def until_equal(p: Pit) -> None:
    def is_equal() -> bool:
        here, there = books(p)
        return here == there and p.live.market.is_current

    p.until(is_equal, "the books never were the same")
    assert any(any(sides) for sides in books(p)[0].values())


def test_a_trader_that_has_only_snapshots(tmp_path):
    """Nobody to ask: the day so far and every loss come as a snapshot."""
    with pit(
        tmp_path, exchange={"feed": lossy(), "flow": CALM}, trade={"requests": None}, strategy=OFTEN
    ) as p:
        p.begin()
        p.until_ready()
        taken = p.live.market.counters["snapshots_taken"]
        assert taken and p.server.glimpse.counters["snapshots"] >= taken
        p.until(lambda: p.sent() >= 30)
        p.until(lambda: p.live.market.counters["snapshots_taken"] > taken)
        until_equal(p)
        assert p.live.engine.counters["gaps"] == 0 and not p.live.difference


def test_two_lines_requests_and_snapshots(tmp_path):
    with pit(
        tmp_path,
        exchange={"feed": lossy(), "flow": CALM},
        trade={"refill_messages": 50},
        strategy=OFTEN,
    ) as p:
        p.begin()
        p.until_ready()
        p.until(lambda: p.sent() >= 60)
        until_equal(p)
        p.check()
        counters = p.live.market.counters
        assert counters["messages_recovered"] and p.live.engine.counters["gaps"] == 0
        (line,) = p.live.state()["lines"]
        assert line["first_a"] and line["first_b"]
        assert p.live.engine.counters["packets_second"]
        assert p.server.feed.counters["packets_lost_on_a_line"]


def test_a_wrong_password_gets_no_snapshot(tmp_path):
    account = {"username": "TRADER", "password": "another"}
    feed = {"glimpse_port": 0}
    with pit(
        tmp_path,
        exchange={"feed": feed, "flow": CALM, "accounts": [account]},
        trade={"requests": None, "start_timeout_ms": 500},
    ) as p:
        p.begin()
        (line,) = p.live.market.lines()
        assert line["recovery"] == State.STALE.name
        assert p.server.glimpse.counters["logins_wrong"] >= 1
        assert p.server.glimpse.counters["snapshots"] == 0

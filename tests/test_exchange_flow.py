"""Background flow: generated books that live, recorded books that come back as they were."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from captures import SHARED
from itch_messages import message, run, split
from sessions import session, session_messages
from tickpath import Config, Engine
from tickpath.config import Capacity
from tickpath.exchange.config import Exchange, symbols_of
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.event import BUY, SELL
from tickpath.exchange.listing import prices_of
from tickpath.exchange.venue import SECOND_NS, Venue
from tickpath.generate import SessionPlan

CONFIG = Config(capacity=Capacity(symbols=64, orders=1 << 18, overflow_levels=4096, trades=1024))
CENT = 100


def venue(**said: Any) -> Venue:
    return Venue(msgspec.convert({"accounts": [{}], **said}, Exchange), "T1")


def published(packets: list[bytes]) -> list[bytes]:
    return [message for packet in packets for message in split(packet[20:])]


# ---------------------------------------------------------------- generated


def _generated(seconds: int, **flow: Any) -> tuple[Venue, list[bytes]]:
    made = venue(symbols=["AAA=150", "BBB=20", "CCC=0.80"], flow=flow, seed=flow.pop("seed", 1))
    made.open()
    made.advance(made.start_ns + seconds * SECOND_NS)
    return made, published(made.take_packets())


def test_generated_books_are_two_sided_and_move():
    made, messages = _generated(20, rate=2_000, orders_per_symbol=50)
    codes = Counter(chr(message[0]) for message in messages)
    assert set("AFEDXUP") <= set(codes)
    assert 20_000 < sum(codes.values()) < 60_000
    for book in made.matching.books.values():
        book.check()
        bids, offers = book.depth(BUY), book.depth(SELL)
        assert len(bids) >= 3 and len(offers) >= 3
        assert (offers[0][0] - bids[0][0]) * 50 < bids[0][0]  # within 2 %
        assert 20 < sum(row[2] for row in bids + offers) < 120


def test_the_seed_decides_everything():
    (_, first), (_, again), (_, other) = (_generated(3, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_prices_wander_both_ways():
    moved = set()
    for seed in range(6):
        made, _ = _generated(10, rate=3_000, seed=seed)
        moved.add(made.matching.books[1].best(BUY) > 150 * 10_000)
    assert moved == {True, False}


def test_a_halted_symbol_is_left_alone():
    made = venue(symbols=["AAA=150", "BBB=20"])
    made.open()
    made.happened(made.matching.set_state(1, "H"))
    made.take_packets()
    made.advance(made.start_ns + 5 * SECOND_NS)
    said = Counter(
        chr(m[0]) for m in published(made.take_packets()) if int.from_bytes(m[1:3], "big") == 1
    )
    assert said and set(said) <= set("DX")


def test_symbols_by_number_and_by_name():
    many = prices_of(30, 7)
    assert len(many) == 30 and many == prices_of(30, 7) != prices_of(30, 8)
    named = prices_of(["msft", "AAPL=187.5"], 7)
    assert list(named) == ["MSFT", "AAPL"] and named["AAPL"] == 1_875_000
    assert 5 * 10_000 <= named["MSFT"] <= 400 * 10_000 and named["MSFT"] % CENT == 0


@pytest.mark.parametrize("texts", [["A", "a"], ["TOOLONGNAME"], ["A=x"], ["A=0"], [" "], []])
def test_symbols_that_cannot_be(texts):
    with pytest.raises(ExchangeError, match=r"^exchange: symbols: "):
        symbols_of(texts)


# ---------------------------------------------------------------- recorded


def _orders(engine: Engine) -> list[tuple]:
    """(symbol, side, price, shares) of every order as they queue, by symbol."""
    names = {number: symbol for symbol, number in engine.symbols.items()}
    rows = engine.resting().tolist()
    return sorted(
        ((names[book], side, price, shares) for _, book, side, price, shares in rows),
        key=lambda row: row[:2],
    )


def _replayed(path: Path, **said: Any) -> tuple[Venue, Engine]:
    made = venue(flow={"kind": "recorded", "recorded": str(path), "speed": 1e6}, **said)
    made.open()
    engine = Engine(CONFIG)
    while made.flow.due_ns < 1 << 62:
        made.advance(made.flow.due_ns)
        engine.feed(run(published(made.take_packets())))
    return made, engine


def test_a_recording_alone_gives_its_own_books():
    plan = SessionPlan(messages=30_000, symbols=12, seed=3, heartbeat_s=0)
    original = Engine(CONFIG)
    original.feed(run(session_messages(plan)))
    made, engine = _replayed(session("flow.itch", plan))
    assert len(made.matching.books) == 12
    assert _orders(engine) == _orders(original)
    assert len(_orders(engine)) > 1_000
    wrong = ("unknown_order", "order", "unfilled_shares", "refused", "halted", "price")
    assert {name: made.flow.counters[f"recorded_{name}"] for name in wrong} == dict.fromkeys(
        wrong, 0
    )


def test_a_recording_in_packets_is_the_same():
    plan = SessionPlan(messages=5_000, symbols=4, seed=3, heartbeat_s=1)
    one, other = (_replayed(session(name, plan))[1] for name in ("flow.itch", "flow.pcap"))
    assert one.book_digest == other.book_digest and one.orders_live > 100


def test_real_orders_come_back():
    path = SHARED / "nasdaq_itch50" / "aapl_20191230_part1.NASDAQ_ITCH50"
    if not path.is_file():
        pytest.skip("the real captures are not here (../shared/data)")
    made, engine = _replayed(path, symbols=["AAPL"])
    original = Engine(CONFIG)
    original.feed(path.read_bytes())
    assert made.flow.counters["recorded_messages"] > 20_000
    assert list(engine.symbols) == ["AAPL"]
    # The file was cut to a band of prices, so some of it names orders that it does not hold.
    ours, theirs = Counter(_orders(engine)), Counter(_orders(original))
    missing = sum((theirs - ours).values()) + sum((ours - theirs).values())
    assert missing <= sum(theirs.values()) // 20, (missing, sum(theirs.values()))


NOON = 12 * 3600 * SECOND_NS


def _file(tmp_path: Path, *messages: bytes) -> Path:
    path = tmp_path / "recorded.itch"
    path.write_bytes(run(messages))
    return path


def _add(ref: int, side: str, shares: int, price: int, ts: int) -> bytes:
    return message("A", 7, ts, ref=ref, side=side, shares=shares, stock="ZZZ", price=price)


def _executed(ref: int, shares: int, ts: int, match: int = 1) -> bytes:
    return message("E", 7, ts, ref=ref, shares=shares, match_number=match)


def _recorded(path: Path) -> Venue:
    made = venue(flow={"kind": "recorded", "recorded": str(path)})
    made.open()
    return made


def test_our_order_takes_the_turn_of_a_recorded_one(tmp_path):
    path = _file(
        tmp_path,
        _add(1, "B", 100, 1_000_000, NOON),
        _executed(1, 60, NOON + SECOND_NS),
        message("D", 7, NOON + 2 * SECOND_NS, ref=1),
    )
    made = _recorded(path)
    made.advance(NOON)
    made.matching.enter(1, BUY, 40, 1_000_100)  # somebody's, better than the recorded one
    made.advance(NOON + SECOND_NS)
    # 40 of the recorded 60 shares went to the better price, at that price.
    assert 2 not in made.matching.orders and made.matching.orders[1].leaves == 80
    trades = list(made.matching.trades.values())
    assert [(t.ref, t.quantity, t.price) for t in trades] == [
        (2, 40, 1_000_100),
        (1, 20, 1_000_000),
    ]
    made.advance(NOON + 2 * SECOND_NS)
    assert not made.matching.orders


def test_what_we_took_stays_unfilled_in_the_recording(tmp_path):
    path = _file(
        tmp_path,
        _add(1, "S", 100, 1_000_000, NOON),
        _executed(1, 100, NOON + SECOND_NS, match=5),
        message("B", 7, NOON + 2 * SECOND_NS, match_number=5),
        _add(2, "S", 100, 1_000_000, NOON + 3 * SECOND_NS),
        message("C", 7, NOON + 4 * SECOND_NS, ref=2, shares=30, price=999_900, printable="Y",
                match_number=6),
        message("B", 7, NOON + 5 * SECOND_NS, match_number=6),
        message("X", 7, NOON + 6 * SECOND_NS, ref=9, shares=1),
    )  # fmt: skip
    made = _recorded(path)
    made.advance(NOON)
    made.matching.enter(1, BUY, 70, 1_000_000)
    made.take_packets()
    made.advance(NOON + 6 * SECOND_NS)
    counters = made.flow.counters
    assert counters["recorded_unfilled_shares"] == 70
    assert counters["recorded_unknown_order"] == 1
    said = [m for m in published(made.take_packets()) if m[:1] in b"EBC"]
    assert [chr(m[0]) for m in said] == ["E", "B", "C", "B"]
    assert made.matching.orders[4].leaves == 70


def test_a_recording_that_holds_no_orders(tmp_path):
    path = _file(tmp_path, message("S", 0, NOON, event_code="O"))
    with pytest.raises(ExchangeError, match="holds no ITCH 5"):
        _recorded(path)

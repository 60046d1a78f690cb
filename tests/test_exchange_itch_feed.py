"""What the venue publishes builds exactly its displayed books, in the engine and in packets."""

import random
from collections.abc import Iterator

import pytest

from itch_messages import mold, read, run, split
from tickpath import Config, Engine
from tickpath.config import Capacity
from tickpath.exchange.downstream import Downstream
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.event import BUY, SELL, Event
from tickpath.exchange.itch_feed import ItchFeed
from tickpath.exchange.matching import Matching
from tickpath.exchange.packing import Packing
from tickpath.exchange.terms import CANCEL_RESTING, IMMEDIATE, PLAIN, Terms
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.table import Message

CONFIG = Config(capacity=Capacity(symbols=8, orders=1 << 14, overflow_levels=4096, trades=1024))
STOCKS = ["AAA", "BBB", "CCC"]
PX = 1_000_000
NOON = 12 * 3600 * 10**9
QUIET = {
    *("packets", "bytes", "bytes_messages", "overflow_adds", "recentres", "broken_trades"),
    "broken_trade_unknown",  # breaks of trades that were not for printing
}
"""Counters that may move; every other one says that the feed is wrong."""


def _listed() -> tuple[Matching, ItchFeed]:
    matching = Matching()
    for stock in STOCKS:
        matching.list_symbol(stock)
    return matching, ItchFeed(matching.books)


TERMS = [
    *[PLAIN] * 6,
    *[IMMEDIATE] * 2,
    Terms(is_hidden=True),
    Terms(is_post_only=True),
    Terms(max_floor=30),
    Terms(attribution=b"ABCD"),
    Terms(prevention=CANCEL_RESTING),
    Terms(is_market=True),
]


def _requests(seed: int, matching: Matching, length: int) -> Iterator[list[Event]]:
    """What a market of few prices, and many meetings, does."""
    chance = random.Random(seed)
    for _ in range(length):
        dice, live = chance.random(), list(matching.orders)
        price = PX + 100 * chance.choice([-4, -3, -2, -1, -1, 0, 0, 1, 1, 2, 3, 4])
        quantity = chance.choice([100, 100, 10, 250])
        if dice < 0.6 or not live:
            locate, side, owner = chance.randint(1, 3), chance.choice([BUY, SELL]), dice > 0.3
            yield matching.enter(locate, side, quantity, price, chance.choice(TERMS), owner)
        elif dice < 0.75:
            yield matching.reduce(chance.choice(live), chance.choice([0, 0, 5, 60]))
        elif dice < 0.95:
            old = matching.orders[chance.choice(live)]
            same = chance.random() < 0.4
            limit, terms = (old.limit, old.terms) if same else (price, chance.choice(TERMS))
            yield matching.replace(old.ref, chance.choice([1, quantity, old.leaves]), limit, terms)
        elif dice < 0.97:
            shown = [
                ref for ref in live if matching.orders[ref].shown == matching.orders[ref].leaves
            ]
            yield matching.execute(chance.choice(shown or live), 7, PX + 3, dice < 0.96)
        elif dice < 0.98:
            yield matching.print_trade(chance.randint(1, 3), 50, PX + 50)
        elif dice < 0.99 and matching.trades:
            yield matching.break_trade(chance.choice(list(matching.trades)))
        else:
            yield matching.set_state(chance.randint(1, 3), chance.choice("TTTH"), "T1")


def _displayed(matching: Matching) -> list[tuple]:
    """(reference, locate, side, price, shares) of every displayed order, as they queue."""
    return [
        (o.ref, locate, side, o.price, o.shown)
        for locate, book in matching.books.items()
        for side in (BUY, SELL)
        for o in book.orders(side)
        if o.shown
    ]


def _seen(engine: Engine) -> list[tuple]:
    return [tuple(int(value) for value in row) for row in engine.resting().tolist()]


@pytest.mark.parametrize("seed", range(6))
def test_the_engine_has_the_venues_books_at_every_checkpoint(seed):
    matching, feed = _listed()
    engine = Engine(CONFIG)
    engine.feed(run(feed.opening(NOON)))
    for number, events in enumerate(_requests(seed, matching, 800)):
        engine.feed(run(feed.messages(events, NOON + number)))
        if number % 20 == 0:
            assert _seen(engine) == _displayed(matching), number
    assert _seen(engine) == _displayed(matching)
    for locate, book in matching.books.items():
        seen = engine.book(STOCKS[locate - 1])
        for side, levels in ((BUY, seen.bids), (SELL, seen.asks)):
            assert [tuple(level) for level in levels.tolist()] == book.depth(side)
    assert {name for name, count in engine.counters.items() if count} <= QUIET


def test_every_kind_of_message_is_said():
    matching, feed = _listed()
    said = feed.opening(NOON) + feed.closing(NOON)
    for seed in range(3):
        matching, feed = _listed()
        for events in _requests(seed, matching, 600):
            said += feed.messages(events, NOON)
    assert {message[:1].decode() for message in said} == set("SRHYAFECXDUPB")
    for message in said:
        assert ITCH50.decode(message)["timestamp"] == NOON


def test_opening_lists_every_symbol():
    _, feed = _listed()
    said = [read(message) for message in feed.opening(NOON)]
    assert "".join(m.code for m in said) == "S" + "RHY" * 3 + "SS"
    assert [m.event_code for m in said if m.code == "S"] == [b"O", b"S", b"Q"]
    assert [(m.locate, m.stock, m.trading_state) for m in said if m.code == "H"] == [
        (n + 1, stock.encode().ljust(8), b"T") for n, stock in enumerate(STOCKS)
    ]


# ---------------------------------------------------------------- packets


def _stream(**options) -> Downstream:
    return Downstream("T1", 0, **options)


def _mold(messages: list[bytes], sequence: int) -> bytes:
    return mold(messages, sequence, b"T1".ljust(10))


def test_a_cause_is_a_packet():
    stream = _stream()
    stream.publish([b"one", b"two"], 5)
    stream.publish([], 6)
    stream.publish([b"three"], 6)
    assert stream.take() == [_mold([b"one", b"two"], 1), _mold([b"three"], 3)]
    assert stream.next_sequence == 4


def test_a_full_packet_is_sent_at_once():
    stream = _stream(max_bytes=20 + 2 * (2 + 10), window_ns=100)
    stream.publish([b"0123456789"] * 3, 0)
    assert stream.take() == [_mold([b"0123456789"] * 2, 1)]
    stream.advance(100)
    assert stream.take() == [_mold([b"0123456789"], 3)]


def test_packets_are_the_same_however_time_is_cut():
    chance = random.Random(1)
    said, now = [], 0
    for number in range(300):
        now += chance.choice([0, 1, 30, 70, 400, 2500])
        said.append((now, [b"%d" % number] * chance.randint(1, 3)))

    def packets(looks: list[int]) -> list[bytes]:
        stream = _stream(window_ns=100, heartbeat_ns=1000, max_bytes=60)
        waiting = list(said)
        for look in sorted(looks):
            while waiting and waiting[0][0] <= look:
                time, messages = waiting.pop(0)
                stream.publish(messages, time)
            stream.advance(look)
        stream.end(now + 5000)
        return stream.take()

    often = packets(list(range(0, now + 5000, 37)))
    assert often == packets([now]) == packets([chance.randrange(now) for _ in range(50)] + [now])
    assert sum(1 for packet in often if len(packet) == 20) > 50  # heartbeats, and the end


def test_silence_is_heartbeats_and_the_end_is_said():
    stream = _stream(heartbeat_ns=1000)
    stream.publish([b"one"], 500)
    assert stream.due_ns == 1500
    stream.advance(3499)
    stream.end(3600)
    assert stream.take() == [
        _mold([b"one"], 1),
        *[mold([], 2, b"T1".ljust(10))] * 3,
        mold([], 2, b"T1".ljust(10), number=0xFFFF),
    ]


def test_requests_are_answered_from_what_is_kept():
    stream = _stream(max_kept=3, max_bytes=20 + 2 * 5)
    for number in range(1, 6):
        stream.publish([b"no%d" % number], number)

    def ask(sequence: int, count: int, session: bytes = b"T1") -> bytes | None:
        return stream.answer(mold([], sequence, session.ljust(10), number=count))

    assert ask(4, 1) == _mold([b"no4"], 4)
    assert ask(3, 9) == _mold([b"no3", b"no4"], 3)  # as many as one packet takes
    assert ask(1, 4) == _mold([b"no3", b"no4"], 3)
    assert ask(1, 2) is None and ask(6, 1) is None
    assert ask(4, 1, b"other") is None and stream.answer(b"short") is None
    assert stream.counters["messages_forgotten"] == 2
    assert stream.counters["requests_unanswerable"] == 2
    assert stream.counters["requests_answered"] == 3
    assert stream.counters["requests_other_session"] == stream.counters["requests_malformed"] == 1


def test_what_is_kept_stays_bounded():
    stream = _stream(max_kept=50)
    for number in range(5000):
        stream.publish([b"%d" % number], number)
    assert stream.first_sequence == 4951 and len(stream._kept) < 2200
    assert stream.again(4951, 1) == _mold([b"4950"], 4951)


def test_a_session_has_a_name():
    with pytest.raises(ExchangeError, match="1 to 10 ASCII"):
        Downstream("much too long", 0)


# ---------------------------------------------------------------- packings


@pytest.mark.parametrize("message", ITCH50.messages, ids=lambda each: each.name)
def test_packings_are_the_tables(message: Message):
    packing = Packing(message)
    raw = bytes(range(1, message.length + 1))
    values = packing.unpack(b"?" + raw, 1)
    assert packing.pack(*values) == raw
    for field in message.fields:
        number = int.from_bytes(raw[field.offset : field.offset + field.size], "big")
        if not field.is_integer:
            assert getattr(values, field.name) == raw[field.offset : field.offset + field.size]
        elif field.size == 6:
            high, low = getattr(values, field.name + "_high"), getattr(values, field.name + "_low")
            assert (high << 32) + low == number
        else:
            assert getattr(values, field.name) == number
    assert split(run([raw])) == [raw]

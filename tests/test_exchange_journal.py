"""A venue comes back from its journal as it was, whatever moment it was cut off at."""

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tickpath.exchange import command
from tickpath.exchange.config import Exchange
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.event import BUY, SELL
from tickpath.exchange.journal import NAME, Journal, Kind, Recovered
from tickpath.exchange.venue import SECOND_NS, Venue
from tickpath.wire import appendage
from tickpath.wire.ouch50 import OUCH50_INBOUND

MS = 1_000_000


def config(**said: Any) -> Exchange:
    common = {
        "symbols": ["AAA=150", "BBB=20"],
        "accounts": [{"username": "ONE", "cancel_on_disconnect": True}, {"username": "TWO"}],
        "flow": {"rate": 1_000, "orders_per_symbol": 20},
        "feed": {"loss": 0.02},
    }
    return msgspec.convert(common | said, Exchange)


def state(venue: Venue) -> dict[str, Any]:
    """Everything that a restart must give back."""
    books = {
        book.stock: [
            (o.ref, o.owner, o.price, o.limit, o.leaves, o.shown, o.terms)
            for side in (BUY, SELL)
            for o in book.orders(side)
        ]
        for book in venue.matching.books.values()
    }
    ports = {
        number: (
            port.last_key,
            sorted(own.describe("")["key"] for own in port.live.values()),
            {locate: holding.describe() for locate, holding in port.holdings.items()},
            dict(port.counters),
        )
        for number, port in venue.ports.items()
    }
    return {
        "books": books,
        "ports": ports,
        "time": venue.now_ns,
        "due": venue.due_ns,
        "marks": venue.marks(),
        "kept": venue.downstream.again(1, 1 << 20),
        "trades": list(venue.matching.trades),
        "faults": (venue.faults.delays_ns, venue.faults.messages_left, venue.gate.rejects),
    }


class Live:
    """A venue run as the server does, round by round."""

    def __init__(self, directory: Path, settings: Exchange | None = None) -> None:
        self.settings = settings or config()
        self.journal = Journal(directory)
        self.said: list[tuple[int, bytes]] = []
        self.dropped: list[tuple[int, bytes]] = []
        self.sent: list[bytes] = []
        self.left = 0
        self.recovered: Recovered | None = None
        if self.journal.is_new:
            self.venue = Venue(self.settings, "T1")
            self.journal.begin(self.settings, "T1", self.venue.now_ns)
            self.venue.open()
        else:
            try:
                self.recovered = self.journal.recover(self.settings)
            except ExchangeError:
                self.journal.close()
                raise
            self.venue = self.recovered.venue
            self.said, self.dropped = self.recovered.said, self.recovered.dropped
            self.sent = list(self.recovered.waiting)
            self.left = self.recovered.packets_left
        self.rounds = 0

    def round(self, inputs: list[tuple[str, Any]], step_ns: int = MS, is_sent: bool = True) -> None:
        """Inputs in, journal, output; ``is_sent`` False: killed before anything left."""
        self.rounds += 1
        now_ns = self.venue.now_ns + step_ns
        for kind, what in inputs:
            if kind == "receive":
                self.journal.append(Kind.RECEIVE, what[0], now_ns, what[1])
                self.venue.receive(what[0], what[1], now_ns)
            elif kind == "operate":
                asked = command.parse(command.read(what), self.venue)
                self.venue.operate(asked, now_ns)
                self.journal.append(Kind.COMMAND, 0, now_ns, asked.encode())
            else:
                self.journal.append(Kind.CONNECT, what, now_ns)
                self.venue.connect(what, now_ns)
        self.venue.advance(now_ns)
        packets = self.venue.take_packets()
        said, dropped = self.venue.take_said(), self.venue.take_dropped()
        self.journal.mark(self.venue, self.left)
        self.journal.flush(0)
        if is_sent:
            self.sent += packets
            self.left += len(packets)
        self.said += said
        self.dropped += dropped


def script(seed: int, rounds: int) -> list[list[tuple[str, Any]]]:
    """Inputs of some rounds."""
    chance = random.Random(seed)
    numbers = {1: 0, 2: 0}
    made: list[list[tuple[str, Any]]] = [[("connect", 1), ("connect", 2)]]
    for _ in range(rounds):
        inputs: list[tuple[str, Any]] = []
        for _ in range(chance.choice([0, 0, 1, 1, 3])):
            port = chance.randint(1, 2)
            if chance.random() < 0.75 or not numbers[port]:
                numbers[port] += 1
                message = OUCH50_INBOUND["enter_order"]
                price = Decimal(chance.randint(14_950, 15_050)).scaleb(-2)
                values = {
                    "user_ref_num": numbers[port], "side": chance.choice("BS"), "price": price,
                    "quantity": chance.randint(1, 300), "symbol": "AAA", "display": "Y",
                    "time_in_force": chance.choice("03"), "cross_type": "N",
                }  # fmt: skip
                raw = appendage.encode_message(message, {}, **values)
            else:
                number = chance.randint(1, numbers[port])
                raw = OUCH50_INBOUND["cancel_order"].encode(user_ref_num=number, quantity=0)
            inputs.append(("receive", (port, raw)))
        if chance.random() < 0.05:
            inputs.append(("operate", chance.choice(
                ["drop count=3", "reject account=ONE", "delay account=TWO ms=3",
                 "break match=1000000 after_s=0.001", "mass_cancel account=ONE"]
            )))  # fmt: skip
        made.append(inputs)
    return made


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_venue_comes_back_as_it_was(seed, tmp_path):
    chance = random.Random(seed)
    live = Live(tmp_path)
    inputs = script(seed, 120)
    at = chance.randrange(1, 120)
    for number, each in enumerate(inputs[: at + 1]):
        live.round(each, is_sent=number < at)
    live.journal.close()  # what a kill leaves: everything that was flushed
    again = Live(tmp_path)
    assert again.recovered is not None and again.recovered.torn_bytes == 0
    # Both were connected: one has asked for its orders to be cancelled then.
    for number in (1, 2):
        live.venue.disconnect(number, live.venue.now_ns)
    assert state(again.venue) == state(live.venue)
    assert again.said[: len(live.said)] == live.said
    assert again.dropped[: len(live.dropped)] == live.dropped
    for each in inputs[at + 1 :]:
        for one in (live, again):
            if one is live:
                one.journal = _Nowhere()  # type: ignore[assignment]
            one.round(each)
    assert state(again.venue) == state(live.venue)
    assert again.said == live.said and again.dropped == live.dropped
    again.journal.close()
    third = Live(tmp_path)
    for number in (1, 2):
        live.venue.disconnect(number, live.venue.now_ns)
    assert state(third.venue) == state(live.venue)


class _Nowhere:
    """A journal that keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_packets_that_waited_are_sent_again(tmp_path):
    live, whole = Live(tmp_path), Live(tmp_path / "whole")
    for number, each in enumerate([*script(1, 30), *[[]] * 4]):
        live.round(each, step_ns=5 * MS, is_sent=number < 31)
        whole.round(each, step_ns=5 * MS)
    live.journal.close()
    again = Live(tmp_path)
    known = len(live.sent)
    assert again.sent and again.recovered is not None
    assert again.recovered.packets_left <= known
    assert live.sent[: again.recovered.packets_left] + again.sent == whole.sent


def test_a_torn_tail_is_cut_off(tmp_path):
    live = Live(tmp_path)
    inputs = script(3, 40)
    for each in inputs:
        live.round(each)
    live.journal.close()
    path = tmp_path / NAME
    whole = path.read_bytes()
    chance = random.Random(3)
    begin = _Ends(whole)
    for _ in range(20):
        cut = chance.randrange(begin.first, len(whole))
        path.write_bytes(whole[:cut])
        again = Live(tmp_path)
        assert again.recovered is not None
        assert again.recovered.torn_bytes == cut - max(end for end in begin.ends if end <= cut)
        again.journal.close()
        assert path.read_bytes() == whole[: cut - again.recovered.torn_bytes]


class _Ends:
    """Where the records of a journal end."""

    def __init__(self, raw: bytes) -> None:
        self.ends, at = [], 0
        while at < len(raw):
            at += int.from_bytes(raw[at + 8 : at + 12], "big")
            self.ends.append(at)
        self.first = self.ends[0]


def test_a_day_that_never_began_is_none(tmp_path):
    live = Live(tmp_path)
    live.round([])
    live.journal.close()
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:20])
    assert Live(tmp_path).recovered is None


def _refused(tmp_path: Path, settings: Exchange | None = None) -> str:
    with pytest.raises(ExchangeError) as raised:
        Live(tmp_path, settings)
    return str(raised.value)


def test_damage_is_refused(tmp_path):
    live = Live(tmp_path)
    for each in script(4, 20):
        live.round(each)
    live.journal.close()
    path = tmp_path / NAME
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    assert "damaged at byte" in _refused(tmp_path)
    path.write_bytes(b"something else entirely, which is no journal at all but a text of bytes")
    assert "not a journal of an exchange" in _refused(tmp_path)


def test_another_venue_is_refused(tmp_path):
    live = Live(tmp_path)
    live.round([])
    live.journal.close()
    assert "another configuration" in _refused(tmp_path, config(seed=2))


def test_a_venue_that_says_something_else_is_refused(tmp_path, monkeypatch):
    live = Live(tmp_path)
    for each in script(5, 20):
        live.round(each)
    live.journal.close()
    monkeypatch.setattr("tickpath.exchange.itch_feed.TRACKING", 7)
    assert "the venue says something else than it did" in _refused(tmp_path)


def test_one_venue_at_a_time(tmp_path):
    first = Live(tmp_path)
    assert "another process has this journal open" in _refused(tmp_path)
    first.journal.close()


def test_a_day_that_is_over_makes_room_for_the_next(tmp_path):
    live = Live(tmp_path)
    live.round([])
    live.journal.append(Kind.CLOSE, 0, live.venue.now_ns)
    live.venue.close(live.venue.now_ns)
    live.round([], step_ns=0)
    live.journal.close(is_over=True)
    assert [each.name for each in tmp_path.iterdir()] == ["exchange-T1.journal"]
    assert Live(tmp_path).recovered is None


def test_a_late_answer_is_still_late_after_a_restart(tmp_path):
    live = Live(tmp_path)
    live.round([("operate", "delay account=TWO ms=1000"), *script(6, 1)[0]])
    message = OUCH50_INBOUND["account_query"].encode()
    live.round([("receive", (2, message))])
    count = len(live.said)
    live.journal.close()
    again = Live(tmp_path)
    assert len(again.said) == count
    again.round([], step_ns=SECOND_NS)
    assert again.said[count][0] == 2 and again.said[count][1][:1] == b"Q"

"""The feed in order: what is lost, late, doubled, cut, foreign or hostile."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickpath.trade.catch_up import (
    AGAIN_NS,
    MAX_KEPT,
    MESSAGES,
    REQUESTS,
    CatchUp,
    behind,
)
from tickpath.trade.feed import Header, header
from tickpath.wire.moldudp64 import END_OF_SESSION, HEARTBEAT, MOLDUDP64

HEADER = MOLDUDP64["downstream_packet"]
PATIENCE_NS = 1_000_000_000
SESSION = "T1"


def packet(sequence: int, count: int, session: str = SESSION) -> bytes:
    return HEADER.encode(session=session, sequence_number=sequence, message_count=count)


class Feed:
    """A catch up, the numbers that its engine was given, and a clock."""

    def __init__(self, first: int | None = 1, patience_ns: int = PATIENCE_NS, **said) -> None:
        self.counters: Counter[str] = Counter()
        self.catch_up = CatchUp(first, patience_ns, self.counters, **said)
        self.now_ns = 0
        self.given: list[tuple[int, int]] = []

    def live(self, *datagrams: bytes) -> None:
        for each in datagrams:
            self._take(self.catch_up.take, each)
        self._due()

    def answer(self, *datagrams: bytes) -> None:
        for each in datagrams:
            self._take(self.catch_up.take_answer, each)
        self._due()

    def _take(self, take, datagram: bytes) -> None:
        found = header(datagram)
        if take(found, memoryview(datagram), self.now_ns) and found is not None:
            self.given.append((found.sequence_number, behind(found)))

    def _due(self) -> None:
        for datagram in self.catch_up.due(self.now_ns):
            found = header(datagram)
            self.given.append((found.sequence_number, behind(found)))

    def asked(self, after_ns: int = 0) -> list[tuple[int, int]]:
        self.now_ns += after_ns
        return list(self.catch_up.requests(self.now_ns))


def test_in_order_at_once():
    feed = Feed()
    feed.live(packet(1, 2), packet(3, 1), packet(4, HEARTBEAT))
    assert feed.given == [(1, 3), (3, 4), (4, 4)] and feed.asked() == []
    assert feed.catch_up.is_current and feed.catch_up.is_settled


def test_the_day_so_far_is_asked_for_in_order():
    feed = Feed()
    feed.live(packet(101, 1))
    assert feed.given == []
    assert feed.asked() == [(1, 24), (25, 24), (49, 24), (73, 24), (97, 4)]
    assert feed.asked() == []
    feed.answer(packet(25, 24), packet(1, 24))
    assert feed.given == [(1, 25), (25, 49)]
    feed.live(packet(102, 1))
    feed.answer(packet(49, 24), packet(97, 4), packet(73, 24))
    assert feed.given[2:] == [(49, 73), (73, 97), (97, 101), (101, 102), (102, 103)]
    assert feed.catch_up.is_settled


def test_what_is_not_answered_is_asked_for_again():
    feed = Feed()
    feed.live(packet(1, 1), packet(4, 1))
    assert feed.asked() == [(2, 2)]
    assert feed.asked(AGAIN_NS - 1) == []
    assert feed.asked(1) == [(2, 2)]


def test_an_answer_with_room_for_less():
    feed = Feed()
    feed.live(packet(31, 1))
    assert feed.asked() == [(1, 24), (25, 6)]
    feed.answer(packet(1, 10))
    assert feed.asked() == [(11, 14)]
    feed.answer(packet(11, 14), packet(25, 6))
    assert feed.given == [(1, 11), (11, 25), (25, 31), (31, 32)]


def test_requests_are_bounded():
    feed = Feed()
    feed.live(packet(10**6, 1))
    asked = feed.asked()
    assert len(asked) == REQUESTS and asked[-1] == ((REQUESTS - 1) * MESSAGES + 1, MESSAGES)


def test_patience_ends():
    feed = Feed()
    feed.live(packet(1, 1), packet(3, 1), packet(7, 1))
    feed.now_ns = PATIENCE_NS - 1
    feed.live()
    assert feed.given == [(1, 2)]
    feed.now_ns = PATIENCE_NS
    feed.live()
    assert feed.given == [(1, 2), (3, 4)]
    assert feed.counters["gaps_given_up"] == feed.counters["messages_given_up"] == 1
    feed.now_ns += PATIENCE_NS
    feed.live()
    assert feed.given[-1] == (7, 8) and feed.counters["messages_given_up"] == 4
    assert feed.catch_up.is_settled


def test_progress_renews_patience():
    feed = Feed()
    feed.live(packet(1, 1), packet(60, 1))
    feed.asked()
    feed.now_ns = PATIENCE_NS - 1
    feed.answer(packet(2, 24))
    feed.now_ns += PATIENCE_NS - 1
    feed.live()
    assert feed.counters["gaps_given_up"] == 0


def test_messages_that_are_not_kept_any_more():
    feed = Feed()
    feed.live(packet(1_000, 1))
    feed.asked()
    feed.answer(packet(900, 24))
    assert feed.given == [(900, 924)] and feed.counters["messages_not_kept"] == 899
    assert feed.asked() == [(924, 13)]  # what is behind it was asked for before


def test_answers_that_nobody_asked_for():
    feed = Feed()
    feed.answer(packet(1, 5), b"short")
    feed.live(packet(1, 1))
    feed.answer(packet(50, 5), packet(2, 5, "OTHER"))
    assert feed.given == [(1, 2)] and feed.counters["answers_odd"] == 4


def test_without_anybody_to_ask():
    feed = Feed(None, 0)
    feed.live(packet(50, 1), packet(60, 1), packet(55, 1))
    assert feed.given == [(50, 51), (60, 61), (55, 56)] and feed.asked() == []


def test_another_session_is_not_followed_before_the_end():
    feed = Feed()
    feed.live(packet(1, 1), packet(9, 1, "OTHER"), packet(2, 1))
    assert feed.given == [(1, 2), (2, 3)]
    assert feed.counters["packets_of_another_session"] == 1
    feed.live(packet(3, END_OF_SESSION), packet(2, 1, "NEXT"))
    assert feed.asked() == [(1, 1)] and feed.counters["sessions"] == 1
    feed.answer(packet(1, 1, "NEXT"))
    assert feed.given[-2:] == [(1, 2), (2, 3)]


def test_the_one_session_that_is_wanted():
    feed = Feed(only="WANTED")
    feed.live(packet(5, 1, "OTHER"), packet(1, 1, "WANTED"))
    assert feed.given == [(1, 2)] and feed.catch_up.session == b"WANTED    "


def test_far_beyond_is_the_engines_to_believe():
    feed = Feed()
    feed.live(packet(1, 1))
    feed.live(packet(1 << 40, 1), packet(2, 1))
    assert feed.given == [(1, 2), (1 << 40, (1 << 40) + 1), (2, 3)]
    assert feed.asked() == [] and feed.catch_up.is_settled


def test_at_the_start_two_packets_are_believed():
    feed = Feed()
    feed.live(packet(1 << 40, 1), packet(5_000_000, 2), packet(1 << 41, 1))
    assert feed.counters["packets_not_believed"] == 3
    feed.live(packet(5_000_002, 2), packet(5_000_004, 1))
    assert feed.counters["packets_not_believed"] == 4
    assert feed.asked()[0] == (1, 24) and feed.catch_up.highest == 5_000_005


def test_a_packet_that_was_cut_short_is_asked_for():
    feed = Feed()
    feed.live(packet(1, 10))
    feed.catch_up.follow(4)
    feed.live(packet(11, 1))
    assert feed.asked() == [(4, 7)]
    feed.answer(packet(4, 7))
    assert feed.given == [(1, 11), (4, 11), (11, 12)] and feed.catch_up.is_settled


def test_what_is_kept_is_bounded():
    feed = Feed()
    feed.live(packet(1, 1))
    for sequence in range(3, MAX_KEPT + 103):
        feed.live(packet(sequence, 1))
    assert feed.counters["packets_not_kept"] == 100
    assert len(feed.catch_up._kept) == MAX_KEPT
    feed.asked()
    feed.answer(packet(2, 1))
    assert feed.catch_up.expected == MAX_KEPT + 3
    assert feed.asked(AGAIN_NS)[0] == (MAX_KEPT + 3, MESSAGES)


def test_headers_that_are_none():
    feed = Feed()
    assert header(b"x" * 19) is None
    assert feed.catch_up.take(None, memoryview(b""), 0)
    assert header(packet(7, 3)) == Header(b"T1        ", 7, 3)


@given(st.integers(0, 2**32), st.floats(0, 0.6))
def test_whatever_the_network_does_everything_comes_once_and_in_order(seed, loss):
    """Packets lost, doubled and out of order; requests and answers lost; answers cut short."""
    chance = random.Random(seed)
    feed, sent, stream = Feed(), 1, []
    while sent < 300:
        count = chance.randint(1, 9)
        stream.append(packet(sent, count))
        sent += count
    arriving: list[tuple[int, bytes]] = []
    for at, each in enumerate(stream):
        if chance.random() >= loss:
            arriving.append((at + chance.randint(0, 3), each))
        if chance.random() < 0.1:
            arriving.append((at + chance.randint(0, 9), each))
    live = [each for _, each in sorted(arriving)] + [packet(sent, HEARTBEAT)]
    for step in range(10_000):
        if live:
            feed.live(live.pop(0))
        elif step % 50 == 0:
            feed.live(packet(sent, HEARTBEAT))
        answers = []
        for first, number in feed.asked(AGAIN_NS // 10):
            if chance.random() >= loss / 2:
                end = min(first + number, first + chance.randint(1, 24), sent)
                answers.append(packet(first, end - first))
        chance.shuffle(answers)
        feed.answer(*answers)
        if not live and feed.catch_up.is_settled and feed.catch_up.expected == sent:
            break
    else:
        pytest.fail("never complete")
    expected = 1
    for first, end in feed.given:
        assert first <= expected
        expected = max(expected, end)
    assert expected == sent and feed.counters["gaps_given_up"] == 0

"""Which session is followed, whatever else comes to a group."""

from collections import Counter

import msgspec
import numpy as np
import pytest

import pitch_messages
from itch_messages import message, mold
from tickpath.config import Config
from tickpath.engine import Engine
from tickpath.packet import LINK_ETHERNET
from tickpath.recovery.engine import LineName
from tickpath.recovery.engine_lines import EngineLines, lend_datagram
from tickpath.trade.sessions import Sessions
from tickpath.wire.moldudp64 import END_OF_SESSION

A, B = LineName("239.1.1.1", 1), LineName("239.1.1.2", 2)
CAPACITY = {"symbols": 64, "orders": 1 << 14, "overflow_levels": 4096, "trades": 1024}
MONDAY, TUESDAY = b"MONDAY    ", b"TUESDAY   "


def said(first: int, count: int, session: bytes = MONDAY) -> bytes:
    return mold([message("S", 0, at, event_code="O") for at in range(count)], first, session)


def end(behind: int, session: bytes = MONDAY) -> bytes:
    return mold([], behind, session, END_OF_SESSION)


class World:
    """Sessions in front of an engine that recovers; ``lines`` are its lines."""

    def __init__(self, only: str | None = None, feed_format: str = "auto") -> None:
        feed = {
            "recovers": True,
            "lines_b": {"239.1.1.1:1": "239.1.1.2:2"},
            "format": feed_format,
        }
        self.engine = Engine(msgspec.convert({"capacity": CAPACITY, "feed": feed}, Config))
        self.lines = EngineLines(self.engine)
        self.counters: Counter[str] = Counter()
        groups = {(0xEF010101, 1): A, (0xEF010102, 2): A}
        self.sessions = Sessions(self.engine, self.lines, groups, only, self.counters)

    def give(self, *packets: bytes, on: LineName = A) -> None:
        """All of them as one burst."""
        self.sessions.give(np.concatenate([lend_datagram(on, each, 5) for each in packets]))

    @property
    def stands(self) -> dict[str, int]:
        """Next message by session."""
        return {each["session"]: each["next"] for each in self.engine.lines()}


def test_the_first_that_comes_is_followed():
    world = World()
    world.give(said(1, 3), said(1, 5, TUESDAY), said(4, 2))
    assert world.stands == {"MONDAY": 6}
    assert world.counters == {"packets_of_another_session": 1}
    assert world.engine.counters["session_changes"] == 0


def test_a_line_b_is_of_its_line_a():
    world = World()
    world.give(said(1, 3), on=A)
    world.give(said(1, 3), said(4, 1), said(5, 1, TUESDAY), on=B)
    assert world.stands == {"MONDAY": 5}
    assert world.counters == {"packets_of_another_session": 1}


def test_only_one_is_followed():
    world = World(only="TUESDAY")
    world.give(said(1, 3), said(1, 1, TUESDAY), said(4, 3))
    assert world.stands == {"TUESDAY": 2}
    assert world.counters == {"packets_of_another_session": 2}


def test_another_day_begins_when_one_has_ended():
    """All in one burst: the end is heard before the packet behind it is judged."""
    world = World()
    world.give(said(1, 3), said(1, 1, TUESDAY), end(4), said(1, 2, TUESDAY), said(4, 1))
    assert world.stands == {"TUESDAY": 3}
    assert world.counters == {"packets_of_another_session": 2, "sessions": 1}
    assert world.engine.counters["session_changes"] == 1


def test_an_end_that_lacks_messages_is_none_yet():
    world = World()
    world.give(said(1, 3), end(9), said(1, 2, TUESDAY))
    assert world.stands == {"MONDAY": 4}
    assert world.counters == {"packets_of_another_session": 1}


def test_the_first_packet_of_a_day_says_nothing_of_its_length():
    """A number far beyond what is believed leaves no hole that nobody can fill."""
    world = World()
    world.give(said(1 << 62, 1), said(1, 3))
    assert world.stands == {"MONDAY": 4}
    assert world.lines.seen(A) == (4, 4) and world.lines.is_in_order(A)


def test_pitch_has_no_sessions():
    world = World()
    time = pitch_messages.message("time", time=1)
    world.give(*(pitch_messages.unit([time], unit=3, sequence=at) for at in (1, 2)))
    world.give(b"damaged, but of a group of PITCH")
    assert world.stands == {"unit 3": 3} and not world.counters


@pytest.mark.parametrize("raw", [b"", b"short", b"nineteen bytes long"])
def test_what_is_no_packet_is_for_the_engine_to_count(raw):
    world = World()
    world.give(said(1, 1), raw + b"" if raw else b"\0")
    assert world.engine.counters["mold_invalid"] == 1 and not world.counters


def test_a_group_that_is_not_ours_and_frames():
    world = World()
    world.give(said(1, 1), on=LineName("239.9.9.9", 9))
    raw = said(1, 1)
    frames = lend_datagram(A, raw, 0)
    frames["link"] = LINK_ETHERNET
    world.sessions.give(frames)
    assert not world.counters and world.engine.counters["packets"] == 2


def test_a_feed_that_is_said_to_be_pitch():
    world = World(feed_format="pitch")
    world.give(said(1, 1), said(1, 1, TUESDAY))
    assert not world.counters and world.engine.counters["packets"] == 2

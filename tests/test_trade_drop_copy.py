"""The drop copy's session against a SoupBinTCP server in memory: lost lines, ends, refusals."""

import pytest

from tickpath.session import soup
from tickpath.session.ouch_event import ConnectWanted
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.soup_event import Closed, Sequenced
from tickpath.trade.drop_copy import DropCopy

SETTINGS = OrderSettings(reconnect_first_ns=100, reconnect_longest_ns=1_000)
SECOND_NS = 1_000_000_000


class World:
    """A session that goes on through connections, and the copy that reads it."""

    def __init__(self, password: str = "right") -> None:
        self.session = soup.ServerSession("T1")
        self.notes: list[str] = []
        self.copy = DropCopy("TRADER", soup.Secret(password), SETTINGS, 0, self.notes.append)
        self.acceptor = soup.Acceptor(self._session_of)
        self.server: soup.Server | None = None
        self.now_ns = 0
        self.taken: list[tuple[int, bytes]] = []

    def _session_of(self, username: str, password: soup.Secret) -> soup.ServerSession | None:
        return self.session if password.equals("right") else None

    def publish(self, *messages: bytes) -> None:
        for each in messages:
            self.session.publish(each, self.now_ns)

    def move(self, seconds: float = 0.0) -> list:
        self.now_ns += round(seconds * SECOND_NS)
        events = self.copy.tick(self.now_ns)
        if any(isinstance(each, ConnectWanted) for each in events):
            self.server = self.acceptor.accept(self.now_ns, "here")
            events += self.copy.connected(self.now_ns)
        for _ in range(3):
            if self.server is not None and self.copy.has_line:
                self.server.receive(self.copy.take_output(), self.now_ns)
                self.server.tick(self.now_ns)
                events += self.copy.receive(self.server.take_output(), self.now_ns)
        self.taken += [(e.sequence, e.payload) for e in events if isinstance(e, Sequenced)]
        return events

    def cut(self) -> None:
        assert self.server is not None
        self.server.disconnected(self.now_ns)
        self.server = None
        self.copy.disconnected(self.now_ns)


def test_the_whole_day_comes():
    world = World()
    world.publish(b"one", b"two")
    world.move()
    assert world.copy.is_ready
    world.publish(b"three")
    world.move()
    assert world.taken == [(1, b"one"), (2, b"two"), (3, b"three")] and world.notes == []


def test_it_goes_on_at_the_next_message():
    world = World()
    world.publish(b"one")
    world.move()
    world.cut()
    assert not world.copy.is_ready and not world.copy.has_line
    world.publish(b"two")
    world.move(0.001)
    assert world.copy.is_ready and world.taken == [(1, b"one"), (2, b"two")]
    assert len(world.notes) == 2 and world.notes[1] == "drop copy: the connection is there again"


def test_pauses_grow_and_are_told_once():
    world = World()
    pauses = []
    for _ in range(12):
        assert isinstance(world.copy.tick(world.now_ns)[0], ConnectWanted)
        world.copy.connect_failed("refused", world.now_ns)
        pauses.append(world.copy.next_deadline - world.now_ns)
        assert world.copy.tick(world.now_ns) == []
        world.now_ns = world.copy.next_deadline
    assert 50 <= pauses[0] <= 100 and 500 <= pauses[-1] <= 1_000
    assert world.notes == ["drop copy: refused"]


def test_silence_ends_the_connection_and_another_is_made():
    world = World()
    world.move()
    world.server = None
    world.now_ns += 20 * SECOND_NS
    assert any(isinstance(event, Closed) for event in world.copy.tick(world.now_ns))
    assert "silent" in world.notes[0]
    world.move(1)
    assert world.copy.is_ready


def test_a_wrong_password_is_final():
    world = World("wrong")
    world.move()
    assert world.copy.ended == "user name or password is wrong"
    assert world.notes == [
        "drop copy: user name or password is wrong; positions are not reconciled any more"
    ]
    assert world.copy.tick(world.now_ns + SECOND_NS) == []


def test_the_end_of_the_session_is_no_news():
    world = World()
    world.move()
    world.session.end(world.now_ns)
    world.move()
    assert world.copy.ended is not None and world.notes == []
    assert world.copy.next_deadline is None


@pytest.mark.parametrize(
    "garbage", [b"\x00\x00\x00", b"\xff\xffS", b"\x00\x02?x", b"\x7f\xff" * 40_000]
)
def test_garbage_ends_the_connection_with_a_reason(garbage):
    world = World()
    world.move()
    events = world.copy.receive(garbage, world.now_ns)
    assert isinstance(events[-1], Closed) and len(world.notes) == 1
    world.server = None
    world.move(1)
    assert world.copy.is_ready

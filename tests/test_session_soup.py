"""SoupBinTCP between our own client and server, in memory, at a time that the test decides."""

from collections.abc import Iterable

import pytest

from tickpath.session.soup import (
    Acceptor,
    Client,
    Closed,
    Debug,
    EndOfSession,
    Event,
    Kept,
    Limits,
    LoggedIn,
    LoginLimits,
    LoginRejected,
    Reason,
    Secret,
    Sequenced,
    ServerSession,
    SessionError,
    Unsequenced,
)
from tickpath.wire.soupbintcp import SOUPBINTCP, packet, packets

SECOND = 10**9
MILLISECOND = 10**6
PASSWORD = "s3cret"
NAME = "DAY1"


class Venue:
    """An acceptor for users whose sessions are given, all with the same password."""

    def __init__(self, sessions: dict[str, ServerSession], **options):
        self.sessions = sessions
        self.acceptor = Acceptor(self._authenticate, **options)

    def _authenticate(self, username: str, password: Secret) -> ServerSession | None:
        return self.sessions.get(username) if password.equals(PASSWORD) else None


class Pair:
    """A client and a server joined by a pipe without delay; every event of both in one list."""

    def __init__(
        self,
        stream: ServerSession | None = None,
        /,
        *,
        venue: Venue | None = None,
        now_ns: int = 0,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        **login,
    ):
        self.venue = venue or Venue({"user": stream or ServerSession(NAME)}, limits=limits)
        self.session = self.venue.sessions["user"]
        self.now_ns = now_ns
        options = {"username": "user", "password": Secret(PASSWORD), "limits": limits, **login}
        self.client = Client(now_ns=now_ns, **options)
        self.server = self.venue.acceptor.accept(now_ns, "10.0.0.1")
        self.events: list[tuple[str, Event]] = []

    def say(self, side: str, events: Iterable[Event]) -> None:
        self.events += [(side, event) for event in events]

    def pump(self) -> list[tuple[str, Event]]:
        """Carry everything that waits, and give all events since the last call."""
        while self.client.has_output or self.server.has_output:
            self.say("server", self.server.receive(self.client.take_output(), self.now_ns))
            self.say("client", self.client.receive(self.server.take_output(), self.now_ns))
        self.say("server", self.server.tick(self.now_ns))
        self.say("client", self.client.tick(self.now_ns))
        told, self.events = self.events, []
        return told

    def wait(self, duration_ns: int, step_ns: int = 100 * MILLISECOND) -> list[tuple[str, Event]]:
        """Let time pass on both sides, carrying what they say."""
        told = []
        end_ns = self.now_ns + duration_ns
        while self.now_ns < end_ns:
            self.now_ns = min(self.now_ns + step_ns, end_ns)
            self.say("server", self.server.tick(self.now_ns))
            self.say("client", self.client.tick(self.now_ns))
            told += self.pump()
        return told


def logged_in(sequence: int = 1, session: str = NAME) -> list[tuple[str, Event]]:
    event = LoggedIn(session, sequence, "user")
    return [("server", event), ("client", event)]


def published(count: int) -> ServerSession:
    session = ServerSession(NAME)
    for number in range(1, count + 1):
        assert session.publish(b"%d" % number, 0) == number
    return session


def sequenced(first: int, last: int) -> list[tuple[str, Event]]:
    return [("client", Sequenced(n, b"%d" % n)) for n in range(first, last + 1)]


# ---------------------------------------------------------------- login


def test_login_to_the_current_session():
    pair = Pair()
    assert pair.pump() == logged_in()
    assert pair.client.is_logged_in and pair.server.is_logged_in
    assert pair.client.session == NAME and pair.client.next_sequence == 1
    assert pair.server.session is pair.session and pair.server.username == "user"
    assert pair.session.connection is pair.server


def test_packets_of_a_login_by_hand():
    pair = Pair(session="DAY1", sequence=7)
    assert pair.client.take_output() == (
        b"\x00\x2fLuser  s3cret    " + b"      DAY1" + b"                   7"
    )
    pair = Pair(published(6), sequence=0)
    pair.server.receive(pair.client.take_output(), 0)
    assert pair.server.take_output() == b"\x00\x1fA      DAY1                   7"


def test_messages_both_ways():
    pair = Pair()
    pair.pump()
    assert pair.client.send(b"order", 0) == []
    assert pair.session.publish(b"accepted", 0) == 1
    assert pair.pump() == [
        ("server", Unsequenced(b"order")),
        ("client", Sequenced(1, b"accepted")),
    ]
    pair.server.debug("hello", 0)
    pair.client.debug("there", 0)
    pair.server.send(b"aside", 0)
    assert pair.pump() == [
        ("server", Debug("there")),
        ("client", Debug("hello")),
        ("client", Unsequenced(b"aside")),
    ]


@pytest.mark.parametrize(
    ("sequence", "first"), [(1, 1), (3, 3), (5, 5), (6, 6), (0, 6)], ids=lambda each: str(each)
)
def test_login_at_a_sequence(sequence, first):
    pair = Pair(published(5), sequence=sequence)
    assert pair.pump() == logged_in(first) + sequenced(first, 5)
    assert pair.client.next_sequence == 6
    pair.session.publish(b"6", 0)
    assert pair.pump() == sequenced(6, 6)


@pytest.mark.parametrize(
    ("login", "code", "server_reason", "client_reason"),
    [
        ({"password": Secret("wrong")}, "A", Reason.NOT_AUTHORIZED, Reason.NOT_AUTHORIZED),
        ({"username": "nobody"}, "A", Reason.NOT_AUTHORIZED, Reason.NOT_AUTHORIZED),
        (
            {"session": "DAY0"},
            "S",
            Reason.SESSION_NOT_AVAILABLE,
            Reason.SESSION_NOT_AVAILABLE,
        ),
        ({"sequence": 7}, "S", Reason.SEQUENCE_NOT_AVAILABLE, Reason.SESSION_NOT_AVAILABLE),
    ],
    ids=["password", "username", "session", "sequence"],
)
def test_login_rejected(login, code, server_reason, client_reason):
    pair = Pair(published(5), **login)
    told = pair.pump()
    assert [(side, type(event)) for side, event in told] == [
        ("server", LoginRejected),
        ("server", Closed),
        ("client", LoginRejected),
        ("client", Closed),
    ]
    assert told[0][1] == told[2][1] == LoginRejected(code)
    assert told[1][1].reason is server_reason
    assert told[3][1].reason is client_reason
    assert not pair.venue.acceptor.connections and pair.session.connection is None


def test_login_at_the_next_sequence_after_a_lost_connection():
    pair = Pair(published(3))
    pair.pump()
    assert pair.client.disconnected(0) == [Closed(Reason.DISCONNECTED)]
    assert pair.server.disconnected(0) == [Closed(Reason.DISCONNECTED)]
    assert pair.session.publish(b"4", 0) == 4
    at = {"session": pair.client.session, "sequence": pair.client.next_sequence}
    again = Pair(venue=pair.venue, **at)
    assert again.pump() == logged_in(4) + sequenced(4, 4)


def test_newer_login_takes_the_session_over():
    old = Pair(published(2))
    old.pump()
    new = Pair(venue=old.venue, sequence=3)
    assert new.pump() == logged_in(3)
    assert old.session.takeovers == 1
    assert old.server.closed == Closed(Reason.TAKEN_OVER, "10.0.0.1")
    # What the old connection still sends is not listened to.
    assert old.client.send(b"too late", 0) == []
    assert old.server.next_deadline == 0
    received = old.client.take_output()
    assert old.server.receive(received, 0) == [Closed(Reason.TAKEN_OVER, "10.0.0.1")]
    assert old.server.counters.bytes_after_close == len(received)
    assert old.server.tick(0) == [] and old.server.next_deadline is None
    old.session.publish(b"3", 0)
    assert old.server.take_output() == b""
    assert new.pump() == sequenced(3, 3)


def test_stream_of_an_earlier_process_is_taken_up():
    before = published(4)
    session = ServerSession(NAME, messages=[before.message(n) for n in range(1, 5)])
    pair = Pair(session, sequence=2)
    assert pair.pump() == logged_in(2) + sequenced(2, 4)
    assert session.publish(b"5", 0) == 5


# ---------------------------------------------------------------- the client's own checks


def answered(answer: bytes, **login) -> list[Event]:
    client = Client("user", Secret(PASSWORD), now_ns=0, **login)
    client.take_output()
    told = client.receive(answer, 0)
    assert client.closed == told[-1]
    return told


def test_answer_with_another_session_or_sequence():
    other = packet("login_accepted", session="DAY2", sequence_number=5)
    assert answered(other, session="DAY1", sequence=5) == [
        Closed(Reason.WRONG_SESSION, "'DAY2' instead of 'DAY1'")
    ]
    assert answered(other, sequence=4) == [Closed(Reason.WRONG_SEQUENCE, "5 instead of 4")]
    assert answered(other, sequence=6) == [Closed(Reason.WRONG_SEQUENCE, "5 instead of 6")]
    nothing = packet("login_accepted", session="DAY2", sequence_number=0)
    assert answered(nothing, sequence=0) == [Closed(Reason.WRONG_SEQUENCE, "0 instead of 0")]


def test_answer_that_no_spec_has():
    assert answered(packet("login_rejected", reject_reason_code="Q")) == [
        LoginRejected("Q"),
        Closed(Reason.LOGIN_REJECTED, "code 'Q'"),
    ]
    raw = bytearray(packet("login_accepted", session="DAY1", sequence_number=1))
    raw[-1:] = b"x"
    (closed,) = answered(bytes(raw))
    assert closed.reason is Reason.MALFORMED_PACKET


def test_login_that_does_not_fit_its_fields():
    with pytest.raises(SessionError, match="user name has at most 6"):
        Client("longname", Secret("p"), now_ns=0)
    with pytest.raises(SessionError) as raised:
        Client("user", Secret("far too long to fit"), now_ns=0)
    assert "far too" not in str(raised.value) and "a password 10" in str(raised.value)
    with pytest.raises(SessionError):
        Client("user", Secret("\N{SNOWMAN}"), now_ns=0)
    with pytest.raises(SessionError):
        Client("user", Secret("p"), now_ns=0, sequence=-1)


def test_what_cannot_be_sent():
    pair = Pair()
    with pytest.raises(SessionError, match="before the login"):
        pair.client.send(b"x", 0)
    pair.pump()
    for payload in (b"", bytes(2049)):
        with pytest.raises(SessionError, match="1 to 2048"):
            pair.client.send(payload, 0)
    pair.client.close(0)
    with pytest.raises(SessionError, match="CLOSED_HERE"):
        pair.client.send(b"x", 0)


# ---------------------------------------------------------------- heartbeats and timeouts


def test_heartbeats_keep_both_sides_alive():
    pair = Pair()
    pair.pump()
    assert pair.wait(60 * SECOND) == []
    assert pair.client.counters.heartbeats_out == pair.server.counters.heartbeats_in == 60
    assert pair.server.counters.heartbeats_out == pair.client.counters.heartbeats_in == 60


def test_heartbeat_exactly_a_second_after_what_was_sent_last():
    pair = Pair()
    pair.pump()
    client = pair.client
    assert client.next_deadline == SECOND
    client.send(b"x", 400 * MILLISECOND)
    client.take_output()
    assert client.next_deadline == 1400 * MILLISECOND
    client.tick(1400 * MILLISECOND - 1)
    assert client.take_output() == b""
    client.tick(1400 * MILLISECOND)
    assert client.take_output() == packet("client_heartbeat")


def test_no_heartbeat_before_the_login():
    pair = Pair()
    pair.client.take_output()
    pair.client.tick(5 * SECOND)
    pair.server.tick(5 * SECOND)
    assert not pair.client.has_output and not pair.server.has_output


def test_silent_peer():
    pair = Pair()
    pair.pump()
    for side in (pair.client, pair.server):
        assert side.next_deadline == SECOND
        for second in range(1, 15):
            assert side.tick(second * SECOND) == []
            side.take_output()
        assert side.next_deadline == 15 * SECOND
        assert side.tick(15 * SECOND - 1) == []
        assert side.tick(15 * SECOND) == [Closed(Reason.RECEIVE_TIMEOUT)]
        assert side.next_deadline is None


def test_peer_that_dribbles_one_packet_is_silent():
    pair = Pair()
    pair.pump()
    whole = packet("unsequenced_data", message=bytes(100))
    told = []
    for second in range(1, 16):
        told += pair.server.receive(whole[second - 1 : second], second * SECOND)
        told += pair.server.tick(second * SECOND)
        pair.server.take_output()
    assert told == [Closed(Reason.RECEIVE_TIMEOUT)]


def test_login_that_never_comes_or_is_never_answered():
    pair = Pair()
    assert pair.server.next_deadline == pair.client.next_deadline == 10 * SECOND
    assert pair.server.tick(10 * SECOND) == [Closed(Reason.LOGIN_TIMEOUT)]
    assert pair.client.tick(10 * SECOND) == [Closed(Reason.LOGIN_TIMEOUT)]
    assert not pair.venue.acceptor.connections


def test_clock_that_steps_back_is_counted_and_changes_nothing():
    pair = Pair(now_ns=100 * SECOND)
    pair.pump()
    assert pair.client.tick(99 * SECOND) == []
    assert pair.client.counters.clock_backwards == 1
    assert pair.client.next_deadline == 101 * SECOND


# ---------------------------------------------------------------- ends


def test_logout():
    pair = Pair()
    pair.pump()
    pair.session.publish(b"1", 0)
    assert pair.client.logout(0) == [] and pair.client.logout(0) == []
    assert not pair.client.is_logged_in
    # What the server sent before it heard of the logout is still delivered.
    on_its_way = pair.server.take_output()
    assert pair.server.receive(pair.client.take_output(), 0) == [Closed(Reason.LOGOUT)]
    assert pair.client.receive(on_its_way, 0) == [Sequenced(1, b"1")]
    assert pair.client.disconnected(0) == [Closed(Reason.LOGOUT)]
    assert pair.session.connection is None


def test_logout_that_the_server_ignores():
    pair = Pair()
    pair.pump()
    pair.client.logout(0)
    assert pair.client.next_deadline == 10 * SECOND
    assert pair.client.tick(10 * SECOND) == [
        Closed(Reason.LOGOUT, "the server did not close the connection")
    ]


def test_end_of_session_comes_after_the_last_message():
    pair = Pair(published(3))
    pair.pump()
    pair.session.publish(b"4", 0)
    pair.session.end(0)
    assert pair.pump() == [
        *sequenced(4, 4),
        ("client", EndOfSession()),
        ("client", Closed(Reason.END_OF_SESSION)),
        ("server", EndOfSession()),
        ("server", Closed(Reason.END_OF_SESSION)),
    ]
    with pytest.raises(SessionError, match="has ended"):
        pair.session.publish(b"5", 0)
    late = Pair(venue=pair.venue, sequence=5)
    assert [event for side, event in late.pump() if side == "server"] == [
        LoginRejected("S"),
        Closed(Reason.SESSION_NOT_AVAILABLE, "''"),
    ]


def test_one_closed_event_whatever_follows():
    pair = Pair()
    pair.pump()
    assert pair.client.close(0, "enough") == [Closed(Reason.CLOSED_HERE, "enough")]
    assert pair.client.close(0) == []
    assert pair.client.disconnected(0) == []
    assert pair.client.tick(99 * SECOND) == []
    assert pair.client.receive(b"\xff" * 100, 0) == []
    assert pair.client.counters.bytes_after_close == 100
    assert pair.client.logout(0) == []
    assert str(pair.client.closed) == (
        "CLOSED_HERE: this side's application ended the connection (enough)"
    )


# ---------------------------------------------------------------- what a session keeps


@pytest.mark.parametrize("kept", [Kept(max_messages=10), Kept(max_bytes=10 * 7)])
def test_session_keeps_the_newest(kept):
    session = ServerSession(NAME, kept=kept)
    for number in range(1000, 9000):
        session.publish(b"%d" % number, 0)
    assert session.first_sequence == 8000 - 9 and session.next_sequence == 8001
    assert session.messages_dropped == 7990
    assert session.message(7991) == b"8990" and session.message(8000) == b"8999"
    for sequence in (7990, 8001):
        with pytest.raises(SessionError, match="keeps messages 7991 to 8000"):
            session.message(sequence)
    assert len(session._packets) < 4096  # what was dropped is not held
    pair = Pair(session, sequence=7991)
    assert [event.payload for _, event in pair.pump()[2:]] == [
        b"%d" % number for number in range(8990, 9000)
    ]
    early = Pair(session, sequence=7990)
    assert early.pump()[1][1] == Closed(Reason.SEQUENCE_NOT_AVAILABLE, "7990 of 7991 to 8001")


@pytest.mark.parametrize("name", ["", "   ", "ELEVENCHARS", "Tag\N{SNOWMAN}"])
def test_session_name_that_does_not_fit(name):
    with pytest.raises(SessionError, match="1 to 10 ASCII"):
        ServerSession(name)


def test_output_in_small_pieces_is_the_same_stream():
    whole, pieces = (Pair(published(200)) for _ in range(2))
    streams = []
    for pair, most in ((whole, 1 << 16), (pieces, 7)):
        pair.server.receive(pair.client.take_output(), 0)
        stream = []
        while pair.server.has_output:
            stream.append(pair.server.take_output(most))
            assert 0 < len(stream[-1]) <= most
        streams.append(b"".join(stream))
    assert streams[0] == streams[1]
    layouts = [SOUPBINTCP.by_type[chr(each[2])].name for each in packets(streams[0])]
    assert layouts == ["login_accepted"] + ["sequenced_data"] * 200


def test_counters_add_up():
    pair = Pair(published(5))
    pair.pump()
    pair.client.send(b"x", 0)
    pair.wait(2 * SECOND)
    client, server = pair.client.counters, pair.server.counters
    assert client.bytes_in == server.bytes_out > 0
    assert server.bytes_in == client.bytes_out > 0
    assert (client.sequenced_in, server.sequenced_out) == (5, 5)
    assert (client.unsequenced_out, server.unsequenced_in) == (1, 1)
    assert (client.logins, server.logins) == (1, 1)


def test_passwords_are_never_shown():
    pair = Pair()
    told = repr(pair.pump()) + repr(vars(pair.client)) + repr(vars(pair.server))
    assert PASSWORD not in told
    assert PASSWORD not in f"{Secret(PASSWORD)} {Secret(PASSWORD)!r} {Secret(PASSWORD):>10}"


def test_login_limits_have_defaults_that_let_a_normal_client_in():
    venue = Venue({"user": ServerSession(NAME)}, login_limits=LoginLimits())
    for number in range(100):
        pair = Pair(venue=venue, now_ns=number * SECOND)
        assert pair.pump() == logged_in()
        pair.server.disconnected(pair.now_ns)

"""Whoever is on the other side: every misdeed ends in a named reason, with bounded memory."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures import REPEATABLE
from test_session_soup import NAME, PASSWORD, SECOND, Pair, Venue, published
from tickpath.session.soup import (
    Client,
    Closed,
    Limits,
    LoginLimits,
    Reason,
    Secret,
    Sequenced,
    ServerSession,
)
from tickpath.session.soup_event import Event
from tickpath.wire.soupbintcp import SOUPBINTCP, packet

FROM_CLIENT = ("login_request", "unsequenced_data", "client_heartbeat", "logout_request", "debug")
FROM_SERVER = (
    "login_accepted",
    "login_rejected",
    "sequenced_data",
    "unsequenced_data",
    "server_heartbeat",
    "end_of_session",
    "debug",
)
FILLED = {
    "login_accepted": {"session": "DAY1", "sequence_number": 1},
    "login_rejected": {"reject_reason_code": "A"},
    "unsequenced_data": {"message": b"x"},
    "sequenced_data": {"message": b"x"},
    "debug": {"text": "x"},
}


def closed_of(events: list[Event]) -> Closed:
    assert [isinstance(event, Closed) for event in events].count(True) == 1
    assert isinstance(events[-1], Closed)
    return events[-1]


# ---------------------------------------------------------------- garbage


@given(raw=st.lists(st.binary(max_size=100), max_size=30))
@REPEATABLE
def test_garbage_ends_or_waits(raw):
    pair, fresh = Pair(), Pair()
    pair.pump()
    for side in (pair.client, pair.server, fresh.client, fresh.server):
        told = [event for piece in raw for event in side.receive(piece, 0)]
        assert side._reader.held_bytes <= side.limits.max_payload + 3
        if side.closed is not None:
            assert closed_of(told) == side.closed
            assert side._reader.held_bytes == 0


def mutated(stream: bytes, generator: random.Random) -> bytes:
    raw = bytearray(stream)
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(raw))
        change = generator.randrange(3)
        if change == 0:
            raw[at] = generator.randrange(256)
        elif change == 1:
            del raw[at : at + generator.randint(1, 5)]
        else:
            raw[at:at] = generator.randbytes(generator.randint(1, 5))
    return bytes(raw) or b"\0"


def test_damaged_conversations_never_raise():
    """Bytes of a good conversation with a few of them changed, against both sides."""
    names = {True: FROM_CLIENT, False: FROM_SERVER}
    reasons = set()
    for seed in range(1500):
        generator = random.Random(seed)
        pair = Pair()
        if generator.random() < 0.7:
            pair.pump()
        side = pair.server if seed % 2 else pair.client
        chosen = generator.choices(names[seed % 2 == 1], k=6)
        stream = b"".join(packet(name, **FILLED.get(name, {})) for name in chosen)
        told = side.receive(mutated(stream, generator), 0)
        told += side.tick(20 * SECOND)
        reasons.add(closed_of(told).reason)
    assert reasons >= {
        Reason.UNKNOWN_PACKET,
        Reason.MALFORMED_PACKET,
        Reason.OVERSIZED_PACKET,
        Reason.UNEXPECTED_PACKET,
        Reason.LOGIN_TIMEOUT,
        Reason.RECEIVE_TIMEOUT,
    }


@pytest.mark.parametrize("name", [each.name for each in SOUPBINTCP.messages])
@pytest.mark.parametrize("is_logged_in", [False, True], ids=["before", "after"])
def test_packet_without_a_place(name, is_logged_in):
    """Every packet type in every state: taken, or named as out of place."""
    pair = Pair()
    if is_logged_in:
        pair.pump()
    raw = packet(name, **FILLED.get(name, {}))
    told = pair.server.receive(raw, 0)
    taken = {"debug", "client_heartbeat", "logout_request"}
    taken |= {"unsequenced_data"} if is_logged_in else {"login_request"}
    assert (closed_of(told).reason is Reason.UNEXPECTED_PACKET) if name not in taken else True
    assert all(not isinstance(event, Closed) for event in told) or name != "client_heartbeat"
    told = pair.client.receive(raw, 0)
    taken = {"debug", "server_heartbeat"}
    if is_logged_in:
        taken |= {"sequenced_data", "unsequenced_data", "end_of_session"}
    else:
        taken |= {"login_accepted", "login_rejected"}
    assert (closed_of(told).reason is Reason.UNEXPECTED_PACKET) if name not in taken else True


def test_huge_lengths_hold_nothing():
    pair = Pair()
    pair.pump()
    header = b"\xff\xffU"
    assert closed_of(pair.server.receive(header + bytes(65000), 0)).reason is (
        Reason.OVERSIZED_PACKET
    )
    assert pair.server._reader.held_bytes == 0
    assert pair.server.receive(bytes(65000), 0) == []
    assert pair.server.counters.bytes_after_close == 65000


# ---------------------------------------------------------------- floods


def attempt(venue: Venue, now_ns: int, peer: str, password: str = "wrong") -> Reason | None:
    server = venue.acceptor.accept(now_ns, peer)
    client = Client("user", Secret(password), sequence=0, now_ns=now_ns)
    server.receive(client.take_output(), now_ns)
    if server.closed is None:
        server.disconnected(now_ns)
        return None
    return server.closed.reason


def test_login_flood():
    limits = LoginLimits(logins_per_second=10, login_burst=5, max_wrong_passwords=1000)
    venue = Venue({"user": ServerSession(NAME)}, login_limits=limits)
    asked = []
    venue.acceptor._authenticate = lambda *each: asked.append(each) or venue._authenticate(*each)
    told = [attempt(venue, 0, "10.0.0.1") for _ in range(8)]
    assert told == [Reason.NOT_AUTHORIZED] * 5 + [Reason.LOGIN_FLOOD] * 3
    assert len(asked) == 5  # a flood is not even looked at
    assert attempt(venue, SECOND // 10 - 1, "10.0.0.1") is Reason.LOGIN_FLOOD
    assert attempt(venue, SECOND // 10, "10.0.0.1", PASSWORD) is None
    assert venue.acceptor.counters.logins_flooded == 4
    assert venue.acceptor.counters.logins_accepted == 1
    # Over a long time the rate is what was configured, and a pause gives no more than the burst.
    times = range(10 * SECOND, 20 * SECOND, SECOND // 100)
    passed = [attempt(venue, now_ns, "10.0.0.1") is Reason.NOT_AUTHORIZED for now_ns in times]
    assert sum(passed) == 10 * 10 + 5 - 1


def test_wrong_passwords_lock_a_user_out_from_there_for_a_time():
    limits = LoginLimits(max_wrong_passwords=3, lockout_ns=60 * SECOND)
    venue = Venue({"user": ServerSession(NAME)}, login_limits=limits)
    assert [attempt(venue, 0, "10.0.0.1") for _ in range(3)] == [Reason.NOT_AUTHORIZED] * 3
    assert attempt(venue, 0, "10.0.0.1", PASSWORD) is Reason.LOGIN_LOCKED
    assert attempt(venue, 0, "10.0.0.2", PASSWORD) is None
    assert attempt(venue, 60 * SECOND - 1, "10.0.0.1", PASSWORD) is Reason.LOGIN_LOCKED
    assert attempt(venue, 60 * SECOND, "10.0.0.1", PASSWORD) is None
    counters = venue.acceptor.counters
    assert (counters.lockouts, counters.logins_locked, counters.wrong_passwords) == (1, 2, 3)


def test_right_password_forgives_the_wrong_ones():
    venue = Venue({"user": ServerSession(NAME)}, login_limits=LoginLimits(max_wrong_passwords=3))
    for second in range(20):
        now_ns = second * SECOND
        assert attempt(venue, now_ns, "10.0.0.1") is Reason.NOT_AUTHORIZED
        assert attempt(venue, now_ns, "10.0.0.1") is Reason.NOT_AUTHORIZED
        assert attempt(venue, now_ns, "10.0.0.1", PASSWORD) is None


def test_what_is_remembered_about_wrong_passwords_is_bounded():
    limits = LoginLimits(max_remembered=10, logins_per_second=1000, login_burst=1000)
    venue = Venue({"user": ServerSession(NAME)}, login_limits=limits)
    for number in range(500):
        attempt(venue, 0, f"10.0.1.{number}")
    assert len(venue.acceptor._wrong) == 10
    assert venue.acceptor.counters.forgotten == 490


def test_connections_beyond_the_limit_are_refused():
    venue = Venue({"user": ServerSession(NAME)}, login_limits=LoginLimits(max_connections=3))
    held = [venue.acceptor.accept(0, "10.0.0.1") for _ in range(3)]
    assert venue.acceptor.accept(0, "10.0.0.1") is None
    assert venue.acceptor.counters.connections_refused == 1
    # Those who never log in make room when their time is over.
    assert held[0].tick(10 * SECOND) == [Closed(Reason.LOGIN_TIMEOUT)]
    assert venue.acceptor.accept(10 * SECOND, "10.0.0.1") is not None


# ---------------------------------------------------------------- slow readers


SMALL = Limits(max_output=4096)


def test_reader_that_had_caught_up_and_stops():
    pair = Pair(limits=SMALL)
    pair.pump()
    sent = 0
    while pair.server.closed is None:
        pair.session.publish(bytes(93), 0)
        sent += 1
        assert sent < 100
    assert sent == 4096 // 96 + 1
    assert pair.server.tick(0) == [Closed(Reason.SLOW_READER, f"{sent * 96} bytes wait")]
    assert pair.server.take_output() == b""
    # The session is whole: the reader comes back for all of it.
    again = Pair(venue=pair.venue, sequence=1, limits=SMALL)
    assert len([1 for _, event in again.pump() if isinstance(event, Sequenced)]) == sent


def test_reader_that_keeps_up_is_never_slow():
    pair = Pair(limits=SMALL)
    pair.pump()
    for number in range(1000):
        pair.session.publish(bytes(93), number)
        if number % 40 == 0:
            pair.now_ns = number
            pair.pump()
    assert pair.server.closed is None


def test_replay_may_be_longer_than_the_send_buffer():
    pair = Pair(limits=SMALL)
    for _ in range(1000):
        pair.session.publish(bytes(93), 0)
    pair.server.receive(pair.client.take_output(), 0)
    for _ in range(10):
        pair.session.publish(bytes(93), 0)
    assert pair.server.closed is None
    assert len(pair.server._output) < 4096  # nothing is copied for a reader ahead of its reading
    told = pair.pump()
    assert len([1 for _, event in told if isinstance(event, Sequenced)]) == 1010


def test_reader_that_takes_nothing_until_the_timeout():
    """It sends its heartbeats, so it is not silent; it only does not read."""
    pair = Pair(published(100))
    pair.server.receive(pair.client.take_output(), 0)
    for second in range(1, 15):
        told = pair.server.receive(packet("client_heartbeat"), second * SECOND)
        assert told + pair.server.tick(second * SECOND) == []
    assert pair.server.next_deadline == 15 * SECOND
    pair.server.receive(packet("client_heartbeat"), 15 * SECOND)
    assert pair.server.tick(15 * SECOND) == [
        Closed(Reason.SLOW_READER, "nothing was taken until the timeout")
    ]


def test_reader_that_takes_a_little_is_not_given_up():
    pair = Pair(published(100))
    pair.server.receive(pair.client.take_output(), 0)
    for second in range(1, 60):
        told = pair.server.receive(packet("client_heartbeat"), second * SECOND)
        assert told + pair.server.tick(second * SECOND) == []
        pair.server.take_output(5)


def test_client_whose_server_does_not_read():
    pair = Pair(limits=SMALL)
    pair.pump()
    told = []
    for _ in range(50):
        if pair.client.closed is None:
            told += pair.client.send(bytes(93), 0)
    assert closed_of(told).reason is Reason.SLOW_READER
    assert pair.client.take_output() == b""
    assert pair.client.counters.unsequenced_out == (4096 - 93) // 96 + 1


def test_reader_behind_what_is_kept():
    from tickpath.session.soup import Kept

    pair = Pair(ServerSession(NAME, kept=Kept(max_messages=50)))
    for number in range(50):
        pair.session.publish(b"%d" % number, 0)
    pair.server.receive(pair.client.take_output(), 0)
    pair.session.publish(b"50", 0)
    assert pair.server.take_output() == b""
    assert pair.server.tick(0) == [Closed(Reason.SLOW_READER, "message 1 is no longer kept")]


def test_half_open_connection_is_given_up_and_does_not_hold_the_session():
    pair = Pair()
    pair.pump()
    # The client is gone and nobody says so: the server's bytes vanish.
    for second in range(1, 16):
        pair.server.tick(second * SECOND)
        pair.server.take_output()
    assert pair.server.closed == Closed(Reason.RECEIVE_TIMEOUT)
    assert pair.session.connection is None and not pair.venue.acceptor.connections

"""Clients and servers of recovery's connections, each against the other and against odd bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive_books import ItchBooks, PitchBooks, itch_feed, pitch_feed
from recovery_world import CREDENTIALS, LOGIN, MS, SECOND, Plan, streams_of
from strategies import REPEATABLE
from tickpath.recovery import moldudp64, sequenced_unit
from tickpath.recovery.engine import LineName
from tickpath.recovery.feed import FeedRecovery
from tickpath.recovery.glimpse import GlimpseClient
from tickpath.recovery.grp import REFUSALS, GapAnswer, GrpClient, Quotas
from tickpath.recovery.limits import Limits
from tickpath.recovery.line import Line
from tickpath.recovery.network import Peer
from tickpath.recovery.refill import MoldRefill
from tickpath.recovery.snapshot_client import Snapshot
from tickpath.recovery.spin import SpinClient, SpinState
from tickpath.recovery.state import Refusal, State
from tickpath.recovery.unit_link import Login, UnitLimits, message
from tickpath.serve.glimpse import GlimpseServer
from tickpath.serve.grp import GapDatagram, GrpServer, ServerQuotas
from tickpath.serve.image import StreamImage
from tickpath.serve.requests import RequestServer
from tickpath.serve.spin import SpinServer
from tickpath.serve.unruly import Unruly, UnrulyPlan
from tickpath.session.credentials import Credentials, Secret
from tickpath.session.soup_event import Closed, Reason
from tickpath.wire.cboe_grp import CBOE_GRP
from tickpath.wire.cboe_spin import CBOE_SPIN

GOOD = Unruly(UnrulyPlan(), 1, "good")
LIMITS = Limits()


def streams(feed: str, chance, published: int | None = None):
    made = streams_of(Plan(feed=feed, messages=300), chance)
    for stream in made:
        stream.next_sequence = stream.behind if published is None else published
    return made


def talk(client, server, now_ns: int = 0) -> tuple[list, list]:
    """Bytes both ways until nobody has anything to say: (what the client, the server told)."""
    told, served = [], []
    for _ in range(1_000):
        up, down = client.take_output(), server.take_output()
        if not up and not down:
            break
        if up:
            served += server.receive(up, now_ns)
        if down:
            told += client.receive(down, now_ns)
    else:
        raise AssertionError("they talk without end")
    return told, served


@pytest.fixture
def chance():
    import random

    return random.Random(7)


# ---------------------------------------------------------------- datagrams


@pytest.mark.parametrize("codec", [moldudp64, sequenced_unit], ids=["moldudp64", "pitch"])
def test_every_cut_and_every_longer_datagram_is_refused(codec, chance):
    feed = itch_feed if codec is moldudp64 else pitch_feed
    messages = feed(chance, 40, ["ABC", "DEF"])[10:14]
    session = b"0000000001" if codec is moldudp64 else b""
    unit = 0 if codec is moldudp64 else 3
    raw = codec.join(session, unit, 77, messages)
    found = codec.split(raw)
    assert found == (session, unit, 77, messages, False)
    assert found.behind == 81
    assert [codec.split(raw[:cut]) for cut in range(len(raw))] == [None] * len(raw)
    assert codec.split(raw + b"\0") is None
    assert codec.split(codec.join(session, unit, 5, [])).behind == 5


@given(raw=st.binary(max_size=200))
@REPEATABLE
def test_any_bytes_are_a_datagram_or_none(raw):
    for codec in (moldudp64, sequenced_unit):
        found = codec.split(raw)
        if found is not None and found.messages:
            again = codec.join(found.session, found.unit, found.sequence, found.messages)
            assert again == raw


def test_end_of_session():
    found = moldudp64.split(moldudp64.end(b"0000000001", 9))
    assert (found.is_end, found.behind, found.messages) == (True, 9, [])
    assert moldudp64.split(moldudp64.end(b"0000000001", 9) + b"\0") is None


# ---------------------------------------------------------------- MoldUDP64 requests


def test_request_server(chance):
    (stream,) = streams("itch50", chance, published=101)
    server = RequestServer([stream], GOOD, max_bytes=300)
    _, raw = server.answer(moldudp64.request(stream.session, 90, 60))
    found = moldudp64.split(raw)
    assert found.sequence == 90 and found.messages == stream.messages[89 : found.behind - 1]
    assert len(raw) <= 300 < len(raw) + 50 and found.behind < 101
    _, raw = server.answer(moldudp64.request(stream.session, 100, 60))
    assert moldudp64.split(raw).behind == 101  # what is published, and no more
    for refused in (
        moldudp64.request(stream.session, 101, 5),
        moldudp64.request(stream.session, 0, 5),
        moldudp64.request(stream.session, 90, 0),
        moldudp64.request(b"ANOTHER   ", 90, 5),
        b"short",
    ):
        assert server.answer(refused) is None
    assert server.counters == {
        "requests_answered": 2,
        "requests_unanswerable": 3,
        "requests_other_session": 1,
        "requests_malformed": 1,
    }


# ---------------------------------------------------------------- GLIMPSE


def test_glimpse(chance):
    (stream,) = streams("itch50", chance, published=201)
    server = GlimpseServer(StreamImage(stream), CREDENTIALS, GOOD).acceptor.accept(0, "here")
    client = GlimpseClient(CREDENTIALS, 0, limits=LIMITS)
    told, _ = talk(client, server)
    assert isinstance(told[0], Snapshot) and told[0].next_sequence == 201
    assert isinstance(told[1], Closed) and len(told) == 2
    clean, books = ItchBooks(), ItchBooks()
    for each in stream.messages[:200]:
        clean.apply(each)
    for each in told[0].messages:
        books.apply(each)
    assert books.queues() == clean.queues()
    assert books.digest == clean.digest


def test_glimpse_with_a_wrong_password(chance):
    (stream,) = streams("itch50", chance)
    server = GlimpseServer(StreamImage(stream), CREDENTIALS, GOOD).acceptor.accept(0, "here")
    client = GlimpseClient(Credentials("READER", Secret("wrong")), 0, limits=LIMITS)
    told, _ = talk(client, server)
    assert [each.reason for each in told] == [Reason.NOT_AUTHORIZED]


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (UnrulyPlan(refuse=1), Reason.SESSION_NOT_AVAILABLE),
        (UnrulyPlan(cut=1), Reason.END_OF_SESSION),
    ],
)
def test_glimpse_that_is_unruly(chance, plan, reason):
    (stream,) = streams("itch50", chance)
    unruly = Unruly(plan, 1, "snapshots")
    server = GlimpseServer(StreamImage(stream), CREDENTIALS, unruly).acceptor.accept(0, "here")
    client = GlimpseClient(CREDENTIALS, 0, limits=LIMITS)
    told, _ = talk(client, server)
    assert [each.reason for each in told] == [reason]


@pytest.mark.parametrize("limits", [Limits(snapshot_messages=10), Limits(snapshot_bytes=500)])
@pytest.mark.parametrize("is_cut", [False, True])
def test_glimpse_that_is_too_long(chance, limits, is_cut):
    (stream,) = streams("itch50", chance)
    server = GlimpseServer(StreamImage(stream), CREDENTIALS, GOOD).acceptor.accept(0, "here")
    client = GlimpseClient(CREDENTIALS, 0, limits=limits)
    server.receive(client.take_output(), 0)
    raw = b"".join(iter(server.take_output, b""))
    if is_cut:  # the rest is still on its way when it has become too long
        (closed,) = client.receive(raw[: len(raw) // 2], 0)
        assert closed.reason is Reason.CLOSED_HERE
        assert client.receive(raw[len(raw) // 2 :], 0) == []
    else:
        (closed,) = client.receive(raw, 0)
        assert closed.reason is Reason.END_OF_SESSION
        assert client.counters["messages_behind_the_end"] > 0
    assert client.counters["snapshots_too_long"] == 1


# ---------------------------------------------------------------- Gap Request Proxy


def proxy(made, quotas: ServerQuotas | None = None, plan: UnrulyPlan | None = None) -> GrpServer:
    unruly = Unruly(plan or UnrulyPlan(), 1, "requests")
    return GrpServer(made, LOGIN, quotas or ServerQuotas(), unruly)


def logged_in(server: GrpServer, **options) -> tuple:
    client, connection = GrpClient(LOGIN, 0, **options), server.accept(0)
    assert talk(client, connection) == ([], [])
    assert client.is_logged_in and connection.is_logged_in
    return client, connection


def test_gap_request(chance):
    made = streams("pitch", chance, published=90)
    client, connection = logged_in(proxy(made))
    assert client.ask(2, 40, 100, 0) == []
    told, served = talk(client, connection)
    assert told == [GapAnswer(2, 40, None)]
    assert {type(each) for each in served} == {GapDatagram}
    found = [sequenced_unit.split(each.datagram) for each in served]
    assert [each.unit for each in found] == [2] * len(found)
    assert [m for each in found for m in each.messages] == made[1].messages[39:89]
    assert found[0].sequence == 40 and found[-1].behind == 90


def test_every_status_of_a_gap_response(chance):
    made = streams("pitch", chance, published=90)
    for status, refusal in REFUSALS.items():
        client, connection = logged_in(proxy(made))
        connection._server.status = lambda *_, status=status: status
        client.ask(2, 40, 5, 0)
        assert talk(client, connection) == ([GapAnswer(2, 40, refusal)], [])


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        ((9, 40, 5), Refusal.INVALID_UNIT),
        ((2, 40, 101), Refusal.COUNT),
        ((2, 40, 0), Refusal.COUNT),
        ((2, 90, 5), Refusal.OUT_OF_RANGE),
        ((2, 0, 5), Refusal.OUT_OF_RANGE),
        ((2, 69, 5), Refusal.OUT_OF_RANGE),
        ((2, 70, 5), None),
    ],
)
def test_what_a_proxy_refuses(chance, request_, refusal):
    server = proxy(streams("pitch", chance, published=90), ServerQuotas(kept_messages=20))
    client, connection = logged_in(server)
    client.ask(*request_, 0)
    assert talk(client, connection)[0] == [GapAnswer(*request_[:2], refusal)]


def test_quotas_of_the_proxy(chance):
    quotas = ServerQuotas(per_second=2, per_minute=3, per_day=4)
    client, connection = logged_in(proxy(streams("pitch", chance, published=90), quotas))
    answers = []
    for now_ns in (0, 1, 2, SECOND, SECOND + 1, 61 * SECOND, 122 * SECOND):
        client.ask(2, 40, 5, now_ns)
        answers += talk(client, connection, now_ns)[0]
    assert [each.refusal for each in answers] == [
        None,
        None,
        Refusal.SECOND,
        None,
        Refusal.MINUTE,
        None,
        Refusal.DAY,
    ]


def test_quotas_are_kept_without_asking(chance):
    server = proxy(streams("pitch", chance, published=90))
    client, connection = logged_in(server, quotas=Quotas(per_second=2, per_minute=3, per_day=4))
    answers = []
    for now_ns in (0, 1, 2, SECOND, SECOND + 1, 61 * SECOND, 122 * SECOND):
        answers += client.ask(2, 40, 5, now_ns)
        answers += talk(client, connection, now_ns)[0]
    refusals = [each.refusal for each in answers]
    assert refusals == [None, None, Refusal.SECOND, None, Refusal.MINUTE, None, Refusal.DAY]
    assert server.counters == {"requests_accepted": 4, "datagrams_sent": 4}
    assert client.counters["requests_withheld"] == 3


def test_requests_wait_for_the_login_bounded(chance):
    client = GrpClient(LOGIN, 0)
    assert [client.ask(1, 1 + n, 1, 0) for n in range(client.MAX_WAITING)] == [[]] * 256
    assert client.ask(1, 999, 1, 0) == [GapAnswer(1, 999, Refusal.UNAVAILABLE)]
    server = proxy(streams("pitch", chance, published=90), ServerQuotas(per_second=1_000))
    told, _ = talk(client, server.accept(0))
    assert [each.first for each in told] == list(range(1, 257))


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        (Login("0001", "READ", Secret("wrong")), Reason.NOT_AUTHORIZED),
        (Login("0001", "WHO", Secret("secret")), Reason.NOT_AUTHORIZED),
        (Login("0002", "READ", Secret("secret")), Reason.SESSION_NOT_AVAILABLE),
    ],
)
def test_login_that_is_refused(chance, login, reason):
    client, connection = GrpClient(login, 0), proxy(streams("pitch", chance)).accept(0)
    told, served = talk(client, connection)
    assert [each.reason for each in told] == [each.reason for each in served] == [reason]
    assert client.ask(1, 1, 1, 0) == [GapAnswer(1, 1, Refusal.UNAVAILABLE)]


def test_session_in_use(chance):
    server = proxy(streams("pitch", chance))
    first, connection = logged_in(server)
    second = GrpClient(LOGIN, 0)
    told, _ = talk(second, server.accept(0))
    assert [each.reason for each in told] == [Reason.SESSION_NOT_AVAILABLE]
    connection.disconnected(1)
    logged_in(server)
    assert first.closed is None


def test_heartbeats_and_silence(chance):
    client, connection = logged_in(proxy(streams("pitch", chance)))
    for second in range(1, 20):
        assert client.tick(second * SECOND) == connection.tick(second * SECOND) == []
        assert client.has_output and connection.has_output
        assert talk(client, connection, second * SECOND) == ([], [])
    (closed,) = client.tick(24 * SECOND)
    assert closed.reason is Reason.RECEIVE_TIMEOUT
    assert client.tick(30 * SECOND) == [] and client.next_deadline is None


def test_login_without_an_answer():
    client = GrpClient(LOGIN, 0, limits=UnitLimits(timeout_ns=9 * SECOND))
    assert client.next_deadline == SECOND
    (closed,) = client.tick(5 * SECOND)
    assert closed.reason is Reason.LOGIN_TIMEOUT


@pytest.mark.parametrize("protocol", [CBOE_GRP, CBOE_SPIN], ids=["grp", "spin"])
@given(raw=st.binary(max_size=300), cut=st.integers(0, 300), framed=st.booleans())
@REPEATABLE
def test_hostile_bytes(protocol, raw, cut, framed):
    """Any bytes behind a login: nothing but events, one `Closed` at most, bounded memory."""
    if protocol is CBOE_GRP:
        client = GrpClient(LOGIN, 0)
    else:
        client = SpinClient(LOGIN, 1, 0, limits=LIMITS)
    response = message(CBOE_GRP["login_response"], status="A")
    assert client.receive(sequenced_unit.join(b"", 0, 0, [response]), 0) == []
    if framed:
        raw = sequenced_unit.join(b"", 0, 0, [bytes([len(raw[:250]) + 1]) + raw[:250]])
    told = client.receive(raw[:cut], 1) + client.receive(raw[cut:], 2)
    assert sum(isinstance(each, Closed) for each in told) <= 1
    assert len(client._held) <= len(raw)
    assert client.receive(raw, 3) is not None


# ---------------------------------------------------------------- Spin


def test_spin(chance):
    stream = streams("pitch", chance, published=81)[1]
    server = SpinServer(StreamImage(stream), LOGIN, GOOD).accept(0)
    client = SpinClient(LOGIN, 50, 0, limits=LIMITS)
    told, _ = talk(client, server)
    assert isinstance(told[0], Snapshot) and told[0].next_sequence == 81
    assert isinstance(told[1], Closed) and len(told) == 2
    clean, books = PitchBooks(), PitchBooks()
    for each in stream.messages[:80]:
        clean.apply(each)
    for each in told[0].messages:
        books.apply(each)
    assert books.queues() == clean.queues()
    assert (books.digest, books.seconds) == (clean.digest, clean.seconds)


def test_spin_waits_for_an_image_that_is_late_enough(chance):
    stream = streams("pitch", chance, published=41)[1]
    server = SpinServer(StreamImage(stream), LOGIN, GOOD, 10 * MS).accept(0)
    client = SpinClient(LOGIN, 50, 0, limits=LIMITS)
    assert talk(client, server) == ([], [])
    assert client.state is SpinState.WAITING
    stream.next_sequence = 49
    server.tick(10 * MS)
    assert talk(client, server, 10 * MS) == ([], [])
    stream.next_sequence = 50
    server.tick(20 * MS)
    told, _ = talk(client, server, 20 * MS)
    assert told[0].next_sequence == 50
    assert client.counters["images"] == 3


def spin_bytes(*messages: bytes) -> bytes:
    return b"".join(sequenced_unit.join(b"", 0, 0, [each]) for each in messages)


def said(name: str, **values) -> bytes:
    return message(CBOE_SPIN[name], **values)


def spinning() -> SpinClient:
    client = SpinClient(LOGIN, 1, 0, limits=LIMITS)
    client.receive(
        spin_bytes(said("login_response", status="A"), said("spin_image_available", sequence=9)), 0
    )
    assert client.state is SpinState.REQUESTED
    return client


def test_spin_of_which_orders_are_missing():
    client = spinning()
    response = said("spin_response", sequence=9, order_count=2, status="A")
    (closed,) = client.receive(spin_bytes(response, said("spin_finished", sequence=9)), 0)
    assert closed.reason is Reason.CLOSED_HERE and "2 orders short" in closed.detail
    assert client.counters["spins_incomplete"] == 1


def test_spin_that_ends_at_another_sequence():
    client = spinning()
    response = said("spin_response", sequence=9, order_count=0, status="A")
    (closed,) = client.receive(spin_bytes(response, said("spin_finished", sequence=8)), 0)
    assert "sequence 8 of 9" in closed.detail


@pytest.mark.parametrize("status", ["O", "S", "?"])
def test_spin_refused_until_it_is_enough(status):
    client = spinning()
    refused = said("spin_response", sequence=9, status=status)
    image = said("spin_image_available", sequence=9)
    for _ in range(client.MAX_REFUSALS - 1):
        assert client.receive(spin_bytes(refused), 0) == []
        assert client.state is SpinState.WAITING
        assert client.receive(spin_bytes(image), 0) == []
        assert client.state is SpinState.REQUESTED
    (closed,) = client.receive(spin_bytes(refused), 0)
    assert closed.reason is Reason.CLOSED_HERE


def test_orders_that_nobody_asked_for():
    client = spinning()
    order = bytes([6, 0x20, 0, 0, 0, 0])
    (closed,) = client.receive(spin_bytes(order), 0)
    assert closed.reason is Reason.UNEXPECTED_PACKET


@pytest.mark.parametrize("plan", [UnrulyPlan(refuse=1), UnrulyPlan(cut=1)])
def test_spin_that_is_unruly(chance, plan):
    stream = streams("pitch", chance)[1]
    server = SpinServer(StreamImage(stream), LOGIN, Unruly(plan, 3, "snapshots")).accept(0)
    client = SpinClient(LOGIN, 1, 0, limits=LIMITS)
    told, _ = talk(client, server)
    assert server.closed is not None
    assert not any(isinstance(each, Snapshot) for each in told)


# ---------------------------------------------------------------- a feed


class Quiet:
    """An engine and a network that only listen."""

    def __init__(self) -> None:
        self.log: list[tuple] = []

    def __getattr__(self, name: str):
        return lambda *values: self.log.append((name, *values))


def test_answers_of_others():
    """Other sessions, lines that nobody knows, and damage; then the one that is wanted."""
    name, quiet = LineName("239.1.1.1", 1), Quiet()
    lines = {name: Line(LIMITS, 1, False)}
    recovery = FeedRecovery(quiet, quiet, moldudp64, lines, MoldRefill(quiet, 1))
    recovery.hole(name, 1, 2, 0, b"TODAY     ")
    wanted = moldudp64.join(b"TODAY     ", 0, 1, [b"a", b"b"])
    recovery.answer(moldudp64.join(b"YESTERDAY ", 0, 1, [b"x", b"y"]), 1, name)
    recovery.answer(wanted, 2, LineName("239.9.9.9", 1))
    recovery.answer(wanted[:-1], 3, name)
    recovery.answer(moldudp64.join(b"TODAY     ", 0, 1, []), 4, name)
    recovery.answer(wanted, 5, name)
    assert quiet.log == [
        ("ask", 0, name, moldudp64.request(b"TODAY     ", 1, 2)),
        ("deliver", name, wanted),
    ]
    assert recovery.states == {name: State.SYNCHRONISED}
    assert recovery.counters["answers_of_others"] == 2
    assert recovery.counters["answers_damaged"] == 1


def test_another_session_begins():
    name, quiet = LineName("239.1.1.1", 1), Quiet()
    recovery = FeedRecovery(
        quiet, quiet, moldudp64, {name: Line(LIMITS, 1, False)}, MoldRefill(quiet, 1)
    )
    recovery.hole(name, 1, 2, 0, b"MONDAY    ")
    recovery.began(name, b"TUESDAY   ", 1)
    assert recovery.states == {name: State.UNKNOWN}
    recovery.advanced(name, 5, 2)
    assert recovery.states == {name: State.SYNCHRONISED}
    recovery.answer(moldudp64.join(b"MONDAY    ", 0, 5, [b"x"]), 3, name)
    assert recovery.counters["answers_of_others"] == 1


def test_events_of_lines_that_are_not_there():
    recovery = FeedRecovery(Quiet(), Quiet(), moldudp64, {})
    recovery.hole(LineName("239.9.9.9", 1), 1, 2, 0)
    recovery.disconnected(Peer("snapshot", 1, LineName("239.9.9.9", 1)), 0)
    recovery.received(Peer("refill", 0), b"x", 0)
    recovery.tick(1)
    assert recovery.counters == {"lines_unknown": 1}
    assert recovery.next_deadline is None

"""The order session against a small exchange: settling, throttling, reconnecting, the dead man."""

from collections.abc import Iterable
from itertools import pairwise

import pytest

from test_session_soup import PASSWORD, SECOND
from tickpath.ouch import token_of
from tickpath.session.error import SessionError
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import (
    ConnectWanted,
    DeadMan,
    End,
    Ended,
    LineLost,
    Outcome,
    Ready,
    Refusal,
    Refused,
    SessionState,
    Settled,
)
from tickpath.session.ouch_message import DIALECTS, Kind
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.soup import (
    Acceptor,
    EndOfSession,
    Event,
    LoggedIn,
    LoginRejected,
    Reason,
    Secret,
    Sequenced,
    Server,
    ServerSession,
    Unsequenced,
)
from tickpath.session.store import Journal

NAME = "DAY1"
MILLISECOND = 10**6
FIRST = {"ouch50": "order_accepted", "ouch42": "accepted"}
EXECUTED = {"ouch50": "order_executed", "ouch42": "executed"}


class Words:
    """The messages of a protocol as the tests need them."""

    def __init__(self, protocol: str):
        self.dialect = DIALECTS[protocol]
        self.is_50 = protocol == "ouch50"
        self.accepted_name = FIRST[protocol]
        self.executed_name = EXECUTED[protocol]

    def key(self, number: int):
        return number if self.is_50 else token_of(number)

    def enter(self, number: int, quantity: int = 100) -> bytes:
        layout = self.dialect.inbound["enter_order"]
        if self.is_50:
            return layout.encode(user_ref_num=number, side="B", quantity=quantity)
        return layout.encode(order_token=token_of(number), buy_sell_indicator="B", shares=quantity)

    def replace(self, orig: int, number: int, quantity: int = 100) -> bytes:
        layout = self.dialect.inbound["replace_order"]
        if self.is_50:
            return layout.encode(orig_user_ref_num=orig, user_ref_num=number, quantity=quantity)
        return layout.encode(
            existing_order_token=token_of(orig),
            replacement_order_token_token_14=token_of(number),
            shares=quantity,
        )

    def cancel(self, number: int) -> bytes:
        return self.dialect.cancel(self.key(number))

    def outbound(self, name: str, number: int, quantity: int = 0, **values) -> bytes:
        named = {"user_ref_num": number} if self.is_50 else {"order_token": token_of(number)}
        layout = self.dialect.outbound[name]
        for field in ("quantity", "shares", "decrement_shares", "executed_shares"):
            if field in layout.by_name:
                named[field] = quantity
                break
        return layout.encode(**named, **values)

    def replaced(self, orig: int, number: int, quantity: int) -> bytes:
        layout = self.dialect.outbound["replaced"]
        if self.is_50:
            return layout.encode(orig_user_ref_num=orig, user_ref_num=number, quantity=quantity)
        return layout.encode(
            previous_order_token=token_of(orig),
            replacement_order_token_alphanumeric_14=token_of(number),
            shares=quantity,
        )

    def next_number(self, number: int) -> bytes:
        layout = self.dialect.outbound["account_query_response"]
        return layout.encode(next_user_ref_num=number)


class Exchange:
    """Accepts what it has not seen, ignores what it has, answers queries, cancels; all by the book.

    What it is comes from what it published, so that a restart with those messages is the same one.
    """

    def __init__(self, words: Words, published: Iterable[bytes] = ()):
        self.words = words
        self.session = ServerSession(NAME, messages=published)
        self.acceptor = Acceptor(
            lambda username, password: self.session if password.equals(PASSWORD) else None
        )
        self.server = None
        self.is_deaf = False  # takes messages and does nothing
        self.seen: list[tuple[Kind, object]] = []
        """Every message that was understood, in order."""
        self.live: dict[object, int] = {}
        self.highest = 0
        for sequence in range(1, self.session.next_sequence):
            self._note(self.session.message(sequence))

    def _note(self, message: bytes) -> None:
        answer = self.words.dialect.answer(message)
        if answer.kind in (Kind.ACCEPTED, Kind.REPLACED):
            self.live[answer.key] = answer.quantity
            self.live.pop(answer.orig, None)
        elif answer.kind is Kind.REDUCED:
            self.live[answer.key] -= answer.quantity
            if not self.live[answer.key]:
                del self.live[answer.key]
        if answer.kind in (Kind.ACCEPTED, Kind.REPLACED, Kind.REJECTED):
            self.highest = max(self.highest, self._number(answer.key))

    def _number(self, key) -> int:
        return key if self.words.is_50 else int(key[1:], 32)

    def publish(self, message: bytes, now_ns: int) -> None:
        self.session.publish(message, now_ns)
        self._note(message)

    def accept(self, now_ns: int) -> None:
        self.server = self.acceptor.accept(now_ns, "10.0.0.1")

    def receive(self, received: bytes, now_ns: int) -> None:
        for event in self.server.receive(received, now_ns):
            if isinstance(event, Unsequenced) and not self.is_deaf:
                self.take(event.payload, now_ns)

    def take(self, message: bytes, now_ns: int) -> None:
        request = self.words.dialect.request(message)
        self.seen.append((request.kind, request.key))
        words, key = self.words, request.key
        if request.kind is Kind.QUERY:
            self.publish(words.next_number(self.highest + 1), now_ns)
        elif request.kind is Kind.CANCEL:
            leaves = self.live.get(key, 0)
            if leaves:
                number = self._number(key)
                self.publish(words.outbound("canceled", number, leaves), now_ns)
        elif request.number > self.highest:
            if request.kind is Kind.ENTER:
                accepted = words.outbound(words.accepted_name, request.number, request.quantity)
                self.publish(accepted, now_ns)
            elif request.orig in self.live:
                orig = self._number(request.orig)
                self.publish(words.replaced(orig, request.number, request.quantity), now_ns)
            else:
                self.highest = request.number  # too late: nothing is said, the number is used

    def enters(self) -> list[object]:
        return [key for kind, key in self.seen if kind in (Kind.ENTER, Kind.REPLACE)]


class Desk:
    """An order session and the exchange, joined by a line that the test cuts where it likes."""

    def __init__(
        self, path, protocol: str = "ouch50", exchange: Exchange | None = None, **settings
    ):
        self.words = Words(protocol)
        self.path = path
        self.settings = OrderSettings(**settings)
        self.exchange = exchange or Exchange(self.words)
        self.now_ns = 0
        self.start()

    def start(self) -> None:
        """A process begins: nothing is left but the journal."""
        protocol = self.words.dialect.name
        self.journal = Journal(self.path, protocol=protocol, fsync="none")
        self.session = OrderSession(
            self.journal,
            "user",
            Secret(PASSWORD),
            now_ns=self.now_ns,
            settings=self.settings,
        )
        self.told: list[Event] = []

    def kill(self) -> None:
        self.journal.close()

    def say(self, events: list[Event]) -> None:
        self.told += events
        if any(isinstance(event, ConnectWanted) for event in events):
            self.exchange.accept(self.now_ns)
            self.say(self.session.connected(self.now_ns))

    def pump(self, rounds: int = 1000) -> list[Event]:
        """Carry everything that waits; gives every event since the last call."""
        self.say(self.session.tick(self.now_ns))
        for _ in range(rounds):
            server = self.exchange.server
            output = self.session.take_output()
            answer = server.take_output() if server is not None else b""
            if not output and not answer:
                break
            if output:
                self.exchange.receive(output, self.now_ns)
            if answer:
                self.say(self.session.receive(answer, self.now_ns))
            self.say(self.session.tick(self.now_ns))
        if self.exchange.server is not None:
            self.exchange.server.tick(self.now_ns)
            if self.exchange.server.closed is not None and self.session.has_line:
                self.say(self.session.disconnected(self.now_ns))
        told, self.told = self.told, []
        return told

    def wait(self, duration_ns: int, step_ns: int = 100 * MILLISECOND) -> list[Event]:
        told, end_ns = [], self.now_ns + duration_ns
        while self.now_ns < end_ns:
            self.now_ns = min(self.now_ns + step_ns, end_ns)
            told += self.pump()
        return told

    def send(self, *messages: bytes) -> list[Event]:
        self.say(self.session.send_all(messages, self.now_ns))
        return self.pump()

    def cut(self) -> list[Event]:
        """The line is lost, with whatever was on it."""
        self.exchange.server.disconnected(self.now_ns)
        self.exchange.server = None
        return self.session.disconnected(self.now_ns)

    def accepted(self, number: int, quantity: int = 100) -> bytes:
        return self.words.outbound(self.words.accepted_name, number, quantity)


def ready(desk: Desk) -> Desk:
    told = desk.pump()
    assert isinstance(told[-1], Ready), told
    return desk


@pytest.fixture(params=["ouch50", "ouch42"])
def desk(request, tmp_path):
    return ready(Desk(tmp_path / "j", request.param))


@pytest.fixture
def desk50(tmp_path):
    return ready(Desk(tmp_path / "j", "ouch50"))


# ---------------------------------------------------------------- the plain way


def test_first_login_of_ouch50(tmp_path):
    desk = Desk(tmp_path / "j")
    assert desk.pump() == [
        ConnectWanted(1),
        LoggedIn(NAME, 1, "user"),
        Sequenced(1, desk.words.next_number(1)),
        Ready(NAME, 2, 1),
    ]
    assert desk.session.state is SessionState.READY
    assert desk.exchange.seen == [(Kind.QUERY, None)]


def test_first_login_of_ouch42(tmp_path):
    desk = Desk(tmp_path / "j", "ouch42")
    assert desk.pump() == [ConnectWanted(1), LoggedIn(NAME, 1, "user"), Ready(NAME, 1, 1)]


def test_orders_go_out_in_order_and_answers_come_back(desk):
    words, first = desk.words, desk.journal.next_sequence
    orders = [words.enter(1), words.enter(2, 50), words.replace(1, 3, 70), words.cancel(2)]
    assert desk.send(*orders) == [
        Sequenced(first, desk.accepted(1)),
        Sequenced(first + 1, desk.accepted(2, 50)),
        Sequenced(first + 2, words.replaced(1, 3, 70)),
        Sequenced(first + 3, words.outbound("canceled", 2, 50)),
    ]
    assert [each.payload for each in desk.journal.sent()][-4:] == orders
    assert desk.session.port.orders.leaves == {words.key(3): 70}
    assert not desk.session.port.orders.unanswered and not desk.session.port.orders.cancels


def test_message_is_in_the_journal_before_its_bytes_can_be_taken(desk):
    order = desk.words.enter(1)
    desk.session.send(order, 0)
    assert desk.session.has_output
    assert [each.payload for each in desk.journal.sent()][-1] == order


def test_received_message_is_in_the_journal_before_it_is_told(desk):
    desk.exchange.publish(desk.accepted(9), 0)
    (event,) = desk.session.receive(desk.exchange.server.take_output(), 0)
    assert [each.payload for each in desk.journal.received()][-1] == event.payload


def test_what_is_no_message_is_refused(desk):
    for message in (b"", b"?", b"O", desk.words.enter(1)[:-1], b"O" * 300):
        (refused,) = desk.send(message)
        assert refused.refusal is Refusal.MALFORMED and refused.message == message
    assert desk.session.counters.refused == 5 and not desk.exchange.enters()


def test_token_that_is_not_ours_is_refused(tmp_path):
    desk = ready(Desk(tmp_path / "j", "ouch42"))
    layout = desk.words.dialect.inbound["enter_order"]
    (refused,) = desk.send(layout.encode(order_token="ANY TOKEN"))
    assert refused.refusal is Refusal.MALFORMED


def test_message_that_is_unknown_is_recorded_counted_and_handed_on(desk):
    desk.exchange.session.publish(b"?!", 0)
    (event,) = desk.pump()
    assert event.payload == b"?!" and desk.session.counters.received_unknown == 1
    assert [each.payload for each in desk.journal.received()][-1] == b"?!"


# ---------------------------------------------------------------- the order's number


@pytest.mark.parametrize("second", [5, 4, 1])
def test_number_that_does_not_rise_ends_the_session(desk, second):
    words = desk.words
    desk.send(words.enter(5))
    told = desk.send(words.enter(second), words.enter(6))
    assert told == [Ended(End.USER_REF_NUM, f"{second} after 5")]
    desk.pump()
    assert desk.exchange.enters() == [words.key(5)]
    assert desk.session.next_deadline is None
    assert desk.send(words.enter(7)) == [] and desk.wait(60 * SECOND) == []


def test_orders_before_the_wrong_one_are_sent(desk):
    words = desk.words
    desk.session.send_all([words.enter(1), words.enter(2), words.enter(2)], 0)
    desk.exchange.receive(desk.session.take_output(), 0)
    assert desk.exchange.enters() == [words.key(1), words.key(2)]


def test_number_of_a_refused_order_is_used_up(desk):
    desk.session.port.refusing = Refusal.NOT_READY
    assert desk.send(desk.words.enter(5)) == [Refused(desk.words.enter(5), Refusal.NOT_READY)]
    assert desk.send(desk.words.enter(5))[-1] == Ended(End.USER_REF_NUM, "5 after 5")


def test_numbers_rise_across_restarts(desk):
    desk.send(desk.words.enter(7))
    desk.kill()
    desk.start()
    told = desk.pump()
    assert told[-1] == Ready(NAME, desk.journal.next_sequence, 8)
    assert desk.send(desk.words.enter(7))[-1] == Ended(End.USER_REF_NUM, "7 after 7")


def test_exchange_that_has_seen_higher_numbers_than_the_journal(tmp_path):
    """The journal is of yesterday, or the disk lost its end: the exchange knows better."""
    exchange = Exchange(Words("ouch50"))
    exchange.publish(exchange.words.outbound("order_accepted", 40, 100), 0)
    desk = Desk(tmp_path / "j", exchange=exchange)
    assert desk.pump()[-1] == Ready(NAME, 3, 41)
    assert desk.session.port.orders.leaves == {40: 100}
    assert desk.send(desk.words.enter(40))[-1] == Ended(End.USER_REF_NUM, "40 after 40")


# ---------------------------------------------------------------- the port's rate


def throttled(tmp_path, protocol="ouch50", **settings) -> Desk:
    settings = {"messages_per_second": 10, "message_burst": 4, **settings}
    desk = ready(Desk(tmp_path / "j", protocol, **settings))
    desk.wait(SECOND)
    return desk


def test_queue_lets_the_rate_through_in_order(tmp_path):
    desk = throttled(tmp_path)
    words = desk.words
    assert len(desk.send(*[words.enter(n) for n in range(1, 21)])) == 4
    assert desk.session.port.waiting == 16 and desk.session.counters.queued == 16
    assert len(desk.wait(SECOND, 10 * MILLISECOND)) == 10
    desk.wait(SECOND, 10 * MILLISECOND)
    assert desk.exchange.enters() == list(range(1, 21))
    assert [each.number for each in desk.journal.sent()][1:] == list(range(1, 21))


def test_queue_has_a_bound_and_cancels_have_room_of_their_own(tmp_path):
    desk = throttled(tmp_path, max_queue=3)
    words = desk.words
    told = desk.send(*[words.enter(n) for n in range(1, 10)])
    refused = [event for event in told if isinstance(event, Refused)]
    assert refused == [Refused(words.enter(n), Refusal.QUEUE_FULL) for n in (8, 9)]
    told = desk.send(*[words.cancel(n) for n in (1, 2, 3, 4)])
    assert told == [Refused(words.cancel(4), Refusal.QUEUE_FULL)]
    desk.wait(SECOND)
    assert desk.exchange.live.keys() == {4, 5, 6, 7}


def test_reject_refuses_new_orders_and_lets_cancels_wait(tmp_path):
    desk = throttled(tmp_path, when_throttled="reject")
    words = desk.words
    told = desk.send(*[words.enter(n) for n in range(1, 7)], words.cancel(1))
    assert [event for event in told if isinstance(event, Refused)] == [
        Refused(words.enter(n), Refusal.THROTTLED) for n in (5, 6)
    ]
    desk.wait(SECOND)
    assert desk.exchange.live.keys() == {2, 3, 4}


def test_drop_only_counts(tmp_path):
    desk = throttled(tmp_path, when_throttled="drop")
    words = desk.words
    told = desk.send(*[words.enter(n) for n in range(1, 7)], words.cancel(1))
    assert all(isinstance(event, Sequenced) for event in told) and len(told) == 4
    assert desk.session.counters.dropped == 2
    desk.wait(SECOND)
    assert desk.exchange.live.keys() == {2, 3, 4}


def test_too_many_open_orders(desk50):
    desk50.session.port.settings = OrderSettings(max_open_orders=2)
    told = desk50.send(*[desk50.words.enter(n) for n in (1, 2, 3)])
    assert told[0] == Refused(desk50.words.enter(3), Refusal.TOO_MANY_OPEN)
    desk50.send(desk50.words.cancel(1))
    assert len(desk50.send(desk50.words.enter(4))) == 1
    assert desk50.exchange.live.keys() == {2, 4}


# ---------------------------------------------------------------- reconnecting


def test_orders_while_there_is_no_line_are_refused(desk):
    lost = desk.cut()
    assert lost == [LineLost(Reason.DISCONNECTED, "", desk.session._retry_at_ns)]
    order = desk.words.enter(1)
    assert desk.session.send(order, 0) == [Refused(order, Refusal.NOT_READY)]
    desk.wait(SECOND)
    assert desk.session.state is SessionState.READY and not desk.exchange.enters()


def test_orders_that_wait_for_the_rate_are_refused_with_the_line(tmp_path):
    desk = throttled(tmp_path)
    desk.send(*[desk.words.enter(n) for n in range(1, 7)])
    told = desk.cut()
    assert told[:2] == [Refused(desk.words.enter(n), Refusal.LINE_LOST) for n in (5, 6)]
    desk.wait(5 * SECOND)
    assert desk.exchange.enters() == [1, 2, 3, 4]


def attempts(desk: Desk, failures: int) -> list[int]:
    """Times of the attempts to connect where each of them fails."""
    times_ns = []
    while len(times_ns) < failures:
        deadline_ns = desk.session.next_deadline
        if deadline_ns is None:
            break
        desk.now_ns = max(desk.now_ns, deadline_ns)
        told = desk.session.tick(desk.now_ns)
        if any(isinstance(event, ConnectWanted) for event in told):
            times_ns.append(desk.now_ns)
            desk.told += desk.session.connect_failed("connection refused", desk.now_ns)
    return times_ns


def test_pauses_double_up_to_the_longest_and_end_with_the_last_attempt(tmp_path):
    desk = Desk(tmp_path / "j", max_attempts=12, reconnect_longest_ns=10 * SECOND)
    times_ns = attempts(desk, 100)
    assert len(times_ns) == 12
    pauses = [b - a for a, b in pairwise(times_ns)]
    for number, pause in enumerate(pauses):
        whole = min(10 * SECOND, SECOND // 10 << number)
        assert whole // 2 <= pause <= whole
    assert desk.told[-1] == Ended(End.ATTEMPTS, "the last: DISCONNECTED connection refused")
    assert len(desk.told) == 12


def test_pauses_are_those_of_the_seed(tmp_path):
    def times(name, seed):
        return attempts(Desk(tmp_path / name, jitter_seed=seed), 9)

    assert times("a", 7) == times("b", 7) != times("c", 8)


def test_attempts_begin_anew_when_the_line_has_held(tmp_path):
    desk = Desk(tmp_path / "j", max_attempts=3, stable_ns=10 * SECOND)
    for _ in range(6):
        desk.wait(11 * SECOND)
        assert desk.session.state is SessionState.READY
        desk.cut()
    desk.wait(SECOND)
    for _ in range(2):
        assert desk.session.state is SessionState.READY
        last = desk.cut()
        desk.wait(SECOND)
    assert desk.session.ended.end is End.ATTEMPTS and last[-1] == desk.session.ended


@pytest.mark.parametrize(
    ("spoil", "end"),
    [
        (lambda desk: setattr(desk.session, "_password", Secret("wrong")), End.NOT_AUTHORIZED),
        (lambda desk: desk.exchange.session.end(0), End.END_OF_SESSION),
    ],
    ids=["password", "end"],
)
def test_ends_that_no_attempt_would_change(tmp_path, spoil, end):
    desk = Desk(tmp_path / "j")
    if end is End.END_OF_SESSION:
        desk.pump()
    spoil(desk)
    told = desk.pump()
    assert told[-1].end is end
    before = EndOfSession() if end is End.END_OF_SESSION else LoginRejected("A")
    assert told[-2] == before
    assert desk.wait(60 * SECOND) == []


def test_exchange_with_fewer_messages_than_the_journal(desk):
    """It has lost its store: going on would mix two histories."""
    desk.send(desk.words.enter(1))
    desk.cut()
    desk.exchange = Exchange(desk.words)
    told = desk.wait(600 * SECOND, SECOND)
    assert LoginRejected("S") in told and told[-1].end is End.ATTEMPTS


def test_another_session_by_name(desk):
    desk.send(desk.words.enter(1))
    desk.kill()
    desk.exchange = Exchange(desk.words)
    desk.exchange.session.name = "DAY2"
    desk.settings = OrderSettings(session="DAY2")
    desk.start()
    assert desk.pump()[-1] == Ready("DAY2", desk.journal.next_sequence, 1)
    assert not desk.session.port.orders.leaves
    desk.send(desk.words.enter(1))
    desk.kill()
    desk.settings = OrderSettings()
    desk.start()
    desk.pump()
    assert desk.session.port.orders.leaves == {desk.words.key(1): 100}


def test_silent_exchange_is_left(desk):
    desk.exchange.server = None
    for _ in range(15):
        desk.now_ns += SECOND
        desk.told += desk.session.tick(desk.now_ns)
        desk.session.take_output()
    assert [each.reason for each in desk.told] == [Reason.RECEIVE_TIMEOUT]


# ---------------------------------------------------------------- settling


def test_order_that_never_arrived(desk50):
    desk50.session.send(desk50.words.enter(1), 0)
    desk50.cut()
    told = desk50.wait(SECOND)
    order = desk50.words.enter(1)
    assert Settled(1, Outcome.NEVER_RECEIVED, order) in told
    assert told.index(Settled(1, Outcome.NEVER_RECEIVED, order)) < told.index(Ready(NAME, 3, 2))
    assert desk50.wait(10 * SECOND) == []
    assert desk50.exchange.enters() == []


def test_order_that_arrived_and_whose_answer_was_lost(desk50):
    desk50.session.send(desk50.words.enter(1), 0)
    desk50.exchange.receive(desk50.session.take_output(), 0)
    desk50.cut()
    told = desk50.wait(SECOND)
    assert Sequenced(2, desk50.accepted(1)) in told
    assert not any(isinstance(event, Settled) for event in told)
    assert desk50.exchange.live == {1: 100} and desk50.exchange.enters() == [1]


def test_order_of_which_the_exchange_says_nothing(desk50):
    """A replace that came too late is ignored: its number is used, no answer comes."""
    words = desk50.words
    desk50.send(words.enter(1), words.cancel(1))
    assert desk50.send(words.replace(1, 2)) == []
    desk50.cut()
    told = desk50.wait(SECOND)
    assert Settled(2, Outcome.UNKNOWN, words.replace(1, 2)) in told
    assert desk50.exchange.seen[-1] == (Kind.CANCEL, 2)
    assert desk50.session.counters.unknown == 1


def test_settled_orders_stay_settled_after_a_restart(desk50):
    desk50.session.send(desk50.words.enter(1), 0)
    desk50.cut()
    desk50.wait(SECOND)
    desk50.kill()
    desk50.start()
    assert not any(isinstance(event, Settled) for event in desk50.pump())
    assert desk50.session.port.settled == {1: Outcome.NEVER_RECEIVED}


def test_killed_between_the_journal_and_the_wire(desk50):
    desk50.session.send(desk50.words.enter(1), 0)
    desk50.kill()
    desk50.start()
    told = desk50.pump()
    assert Settled(1, Outcome.NEVER_RECEIVED, desk50.words.enter(1)) in told
    assert told[-1] == Ready(NAME, 3, 2)


def lose_the_answer_to_a_query(desk: Desk) -> None:
    """The query arrives, order 1 after it; the line is lost before any answer is here."""
    session, exchange, words = desk.session, desk.exchange, desk.words
    desk.cut()
    desk.now_ns = session.next_deadline
    desk.say(session.tick(desk.now_ns))
    exchange.receive(session.take_output(), desk.now_ns)
    desk.say(session.receive(exchange.server.take_output(), desk.now_ns))
    exchange.receive(session.take_output(), desk.now_ns)
    assert len(session.port.orders.queries) == 1
    order = words.enter(1)
    exchange.take(order, desk.now_ns)
    record = session.journal.append_sent(1, order, 0)
    session.port.orders.sent(record, words.dialect.request(order), order)
    desk.told.clear()


@pytest.mark.parametrize("zero", ["next", "last"])
def test_answer_to_a_query_of_an_earlier_connection_does_not_count(desk50, zero, monkeypatch):
    """The replay brings it first, and it knows nothing of order 1."""
    words = desk50.words
    lose_the_answer_to_a_query(desk50)
    if zero == "last":  # the other reading of what sequence 0 asks for
        accept = Server._accept

        def accept_at_the_last(server, session, sequence):
            accept(server, session, sequence - (sequence == session.next_sequence))

        monkeypatch.setattr(Server, "_accept", accept_at_the_last)
        # Nothing was published behind the stale answer, so that it has just that number.
        desk50.exchange.session._packets.pop()
        desk50.exchange.live.clear()
    desk50.cut()
    told = desk50.wait(SECOND)
    outcomes = [event.outcome for event in told if isinstance(event, Settled)]
    assert outcomes == ([] if zero == "next" else [Outcome.UNKNOWN])  # never: NEVER_RECEIVED
    sequenced = [event.payload for event in told if isinstance(event, Sequenced)]
    answers = [words.next_number(1), words.next_number(2), words.next_number(2)]
    if zero == "next":
        answers.insert(1, desk50.accepted(1))
    assert sequenced == answers
    assert any(isinstance(event, Ready) for event in told)
    assert desk50.session.counters.probes == 1


def test_query_that_is_not_answered(desk50):
    desk50.exchange.is_deaf = True
    desk50.cut()
    told = desk50.wait(8 * SECOND)
    lost = [event for event in told if isinstance(event, LineLost)]
    assert lost[0].reason is Reason.RECEIVE_TIMEOUT
    assert lost[0].detail == "the account query was not answered in time"
    assert desk50.session.counters.settle_timeouts == len(lost)
    desk50.exchange.is_deaf = False
    assert any(isinstance(event, Ready) for event in desk50.wait(30 * SECOND))


def test_query_that_was_lost_is_settled_in_the_journal(desk50):
    """So that neither a reconnect nor a restart takes it for one that may still be answered."""
    desk50.exchange.is_deaf = True
    desk50.cut()
    desk50.wait(30 * SECOND, SECOND)
    assert len(desk50.session.port.orders.queries) > 1
    desk50.exchange.is_deaf = False
    desk50.wait(60 * SECOND, SECOND)
    assert desk50.session.state is SessionState.READY
    queries = desk50.session.port.orders.queries
    assert len(queries) == 1
    desk50.kill()
    desk50.start()
    assert desk50.session.port.orders.queries == queries
    desk50.pump()
    assert desk50.session.counters.probes == 1 and desk50.session.state is SessionState.READY


def test_late_order_is_canceled_as_soon_as_it_is_accepted(desk50):
    """It lay in a buffer of the old connection, and is read after the new login."""
    session, words = desk50.session, desk50.words
    session.send(words.enter(1), 0)
    desk50.cut()
    desk50.wait(SECOND)
    assert session.port.settled == {1: Outcome.NEVER_RECEIVED}
    desk50.exchange.take(words.enter(1), desk50.now_ns)
    desk50.pump()
    assert session.counters.late_answers == 1 and desk50.exchange.live == {}
    # The same where we are killed before the cancel is sent.
    session.send(words.enter(2), desk50.now_ns)
    desk50.cut()
    desk50.wait(SECOND)
    desk50.exchange.take(words.enter(2), desk50.now_ns)
    desk50.session.receive(desk50.exchange.server.take_output(), desk50.now_ns)
    desk50.kill()
    desk50.start()
    desk50.pump()
    assert desk50.exchange.live == {}


def test_cancel_that_was_lost_is_repeated(desk):
    words = desk.words
    desk.send(words.enter(1), words.enter(2), words.enter(3))
    desk.session.send(words.cancel(1), 0)
    desk.cut()
    desk.wait(SECOND)
    assert desk.exchange.live.keys() == {words.key(2), words.key(3)}
    assert desk.session.counters.cancels_repeated == 1
    desk.session.send(words.cancel(3), desk.now_ns)
    desk.kill()
    desk.start()
    desk.wait(SECOND)
    assert desk.exchange.live.keys() == {words.key(2)}


def test_ouch42_waits_for_old_messages_then_cancels_by_token(tmp_path):
    desk = ready(Desk(tmp_path / "j", "ouch42"))
    words = desk.words
    desk.session.send(words.enter(1), 0)
    desk.exchange.receive(desk.session.take_output(), 0)  # arrives; its answer is lost
    desk.session.send(words.enter(2), 0)  # never arrives
    desk.cut()
    told = desk.wait(20 * SECOND)
    assert desk.exchange.seen == [(Kind.ENTER, words.key(1)), (Kind.CANCEL, words.key(2))]
    assert Settled(words.key(2), Outcome.CANCELED_UNSEEN, words.enter(2)) in told
    assert desk.exchange.live == {words.key(1): 100}
    times = [event for event in told if isinstance(event, Settled | Ready | Sequenced)]
    assert [type(event) for event in times] == [Sequenced, Settled, Ready]


def test_ouch42_without_anything_unanswered_is_ready_at_once(tmp_path):
    desk = ready(Desk(tmp_path / "j", "ouch42"))
    desk.send(desk.words.enter(1))
    desk.cut()
    desk.wait(SECOND // 2)
    assert desk.session.state is SessionState.READY


def test_ouch42_cancels_keep_to_the_rate(tmp_path):
    desk = throttled(tmp_path, "ouch42", message_burst=10)
    words = desk.words
    desk.session.send_all([words.enter(n) for n in range(1, 11)], desk.now_ns)
    desk.session.take_output()  # lost
    desk.wait(SECOND)
    desk.session.send_all([words.enter(n) for n in range(11, 21)], desk.now_ns)
    desk.cut()
    desk.wait(3 * SECOND, 10 * MILLISECOND)
    assert len(desk.exchange.seen) >= 10
    begun = len(desk.exchange.seen)
    desk.wait(SECOND // 2, 10 * MILLISECOND)
    assert len(desk.exchange.seen) - begun <= 5
    desk.wait(10 * SECOND)
    assert desk.session.state is SessionState.READY
    assert desk.session.counters.canceled_unseen == 20


# ---------------------------------------------------------------- ends


def test_logout(desk):
    desk.send(desk.words.enter(1))
    desk.say(desk.session.logout(desk.now_ns))
    assert desk.session.state is SessionState.LOGGING_OUT
    assert desk.session.send(desk.words.enter(2), 0) == [
        Refused(desk.words.enter(2), Refusal.NOT_READY)
    ]
    assert desk.pump()[-1] == Ended(End.LOGOUT)
    assert desk.exchange.live == {desk.words.key(1): 100}


def test_logout_without_a_line(desk):
    desk.cut()
    assert desk.session.logout(desk.now_ns) == [Ended(End.LOGOUT)]


def test_stop(desk):
    assert desk.session.stop(0, "kill switch") == [Ended(End.STOPPED, "kill switch")]
    assert not desk.session.has_line
    assert str(desk.session.ended) == (
        "STOPPED: this side's application ended the session (kill switch)"
    )


def test_mass_cancel(desk):
    words = desk.words
    desk.send(*[words.enter(n) for n in range(1, 6)], words.cancel(2))
    desk.say(desk.session.cancel_all(desk.now_ns))
    desk.pump()
    assert desk.exchange.live == {} and len(desk.session.port.orders) == 0
    assert desk.session.state is SessionState.READY


# ---------------------------------------------------------------- the dead man's handle


def watched(path, protocol, **settings) -> Desk:
    settings = {"dead_man_ns": SECOND, "dead_man_grace_ns": 2 * SECOND, **settings}
    desk = ready(Desk(path, protocol, **settings))
    desk.send(*[desk.words.enter(n) for n in (1, 2, 3)])
    return desk


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_silent_engine_has_its_orders_canceled_and_the_session_left(tmp_path, protocol):
    desk = watched(tmp_path / "j", protocol)
    assert desk.wait(SECOND - 1) == [] and desk.exchange.live
    desk.now_ns = SECOND
    told = desk.pump()
    assert told[0] == DeadMan(3) and told[-1] == Ended(End.DEAD_MAN)
    assert desk.exchange.live == {}
    assert desk.session.counters.dead_man == 1


def test_engine_that_gives_signs_of_life(tmp_path):
    desk = watched(tmp_path / "j", "ouch50")
    for _ in range(30):
        desk.session.contact(desk.now_ns)
        assert desk.wait(SECOND // 2) == []
    desk.send(desk.words.cancel(1))  # any message is one too
    assert desk.wait(SECOND - 1) == []
    assert isinstance(desk.wait(1)[0], DeadMan)


def test_silent_engine_and_an_exchange_that_does_not_cancel(tmp_path):
    """The session logs out after the grace, so that the venue's cancel on disconnect acts."""
    desk = watched(tmp_path / "j", "ouch50")
    desk.exchange.is_deaf = True
    told = desk.wait(3 * SECOND - 1)
    assert told == [DeadMan(3)]
    assert desk.session.send(desk.words.enter(4), desk.now_ns) == [
        Refused(desk.words.enter(4), Refusal.STOPPED)
    ]
    assert desk.wait(1) == [Ended(End.DEAD_MAN)]


def test_silent_engine_while_there_is_no_line(tmp_path):
    """A connection is made to cancel the orders, and left."""
    desk = watched(tmp_path / "j", "ouch50", reconnect_first_ns=4 * SECOND)
    desk.cut()
    assert desk.wait(SECOND) == [DeadMan(3)]
    told = desk.wait(4 * SECOND)
    assert isinstance(told[0], ConnectWanted) and told[-1] == Ended(End.DEAD_MAN)
    assert desk.exchange.live == {}


def test_silent_engine_without_orders_and_without_a_line(tmp_path):
    desk = watched(tmp_path / "j", "ouch50", reconnect_first_ns=4 * SECOND)
    desk.say(desk.session.cancel_all(0))
    desk.pump()
    desk.cut()
    assert desk.wait(SECOND) == [DeadMan(0), Ended(End.DEAD_MAN)]


# ---------------------------------------------------------------- the journal fails


def test_full_disk_ends_the_session_and_nothing_unrecorded_is_sent(desk):
    words = desk.words
    desk.send(words.enter(1))
    desk.journal._file.max_bytes = desk.journal.size_bytes + 40
    told = desk.session.send_all([words.enter(2)], desk.now_ns)
    assert [event.end for event in told] == [End.JOURNAL]
    assert "cannot be written: it may not grow beyond" in told[0].detail
    assert not desk.session.has_output and desk.session.take_output() == b""
    assert desk.exchange.enters() == [words.key(1)]


def test_full_disk_when_messages_come(desk):
    """What could not be recorded is not told, and comes again to whoever takes the session up."""
    first = desk.journal.next_sequence
    desk.exchange.publish(desk.accepted(8), 0)
    desk.journal._file.max_bytes = desk.journal.size_bytes + 40
    told = desk.pump()
    assert [type(event) for event in told] == [Ended]
    desk.kill()
    desk.start()
    assert Sequenced(first, desk.accepted(8)) in desk.pump()


@pytest.mark.parametrize(
    ("protocol", "username", "expected"),
    [
        ("ouch50", "longname", "user name has at most 6"),
        ("ouch41", "user", "no order session speaks 'ouch41'"),
    ],
)
def test_session_that_cannot_begin(tmp_path, protocol, username, expected):
    refused = pytest.raises(SessionError, match=expected)
    with Journal(tmp_path / "j", protocol=protocol, fsync="none") as journal, refused:
        OrderSession(journal, username, Secret("x"), now_ns=0)

"""The order gateway's core: epochs, positions, outcomes, answers; whole event lists."""

import errno
import os

import pytest

from gateway_hall import MILLISECOND, Hall, Node, stream
from tickpath.failover.gateway import Accepted, Rejected
from tickpath.failover.gateway_client_link import Group
from tickpath.failover.gateway_error import GatewayError
from tickpath.failover.gateway_event import Accepted as AcceptedEvent
from tickpath.failover.gateway_event import (
    Answer,
    Confirmed,
    Declined,
    Lost,
    Refused,
    Stands,
    Told,
    Welcomed,
)
from tickpath.failover.gateway_framing import frame
from tickpath.failover.gateway_settings import GatewaySettings
from tickpath.session.ouch_event import End
from tickpath.wire.gateway import NO_POSITION, NotWelcome, Outcome, Refusal, Session

SECOND = 10**9


@pytest.fixture(params=["ouch50", "ouch42"])
def hall(request, tmp_path):
    hall = Hall(tmp_path, request.param).up()
    yield hall
    if hall.is_open:
        hall.kill()


@pytest.fixture
def hall50(tmp_path):
    hall = Hall(tmp_path).up()
    yield hall
    if hall.is_open:
        hall.kill()


def outcomes(hall: Hall) -> list[tuple]:
    return [(each.order_position, each.reason, each.payload) for each in hall.store.outcomes]


# ---------------------------------------------------------------- epochs and positions


def test_hand_over_reaches_the_exchange_and_its_answers_every_node(hall):
    active, standby = Node(hall, "a"), Node(hall, "b")
    first = hall.gateway.answers.next
    active.take(), standby.take()
    orders = stream(hall.words.enter(1), hall.words.enter(2))
    active.hand(1, 0, orders, number=7)
    assert hall.orders() == [hall.words.enter(1), hall.words.enter(2)]
    answers = [
        Answer(first + at, hall.words.outbound(hall.words.accepted_name, at + 1, 100))
        for at in range(2)
    ]
    told_active, told_standby = active.take(), standby.take()
    assert [e for e in told_active if not isinstance(e, Stands)] == [
        AcceptedEvent(1, len(orders)),
        *answers,
    ]
    assert [e for e in told_standby if not isinstance(e, Stands)] == [
        Confirmed(1, len(orders)),
        *answers,
    ]
    assert [e.highest_epoch for e in told_standby if isinstance(e, Stands)] == [1]
    assert hall.store.input_number == 7


def test_bytes_that_come_again_are_compared_and_not_sent_again(hall):
    one, two, three = (hall.words.enter(number) for number in (1, 2, 3))
    assert hall.hand("a", 1, 0, stream(one, two)) == Accepted(1, len(stream(one, two)))
    assert hall.hand("a", 1, 0, stream(one, two)) == Accepted(1, len(stream(one, two)))
    assert hall.hand("b", 2, len(stream(one)), stream(two, three)).order_position == len(
        stream(one, two, three)
    )
    hall.pump()
    assert hall.orders() == [one, two, three]
    assert hall.gateway.counters["bytes_again"] == len(stream(one, two)) + len(stream(two))


def test_lower_epoch_is_refused_and_counted(hall):
    assert isinstance(hall.hand("a", 1, 0, stream(hall.words.enter(1))), Accepted)
    position = hall.gateway.order_position
    assert hall.hand("b", 3, position, b"") == Accepted(3, position)
    refused = hall.hand("a", 1, position, stream(hall.words.enter(2)))
    assert refused == Rejected(Refusal.STALE_EPOCH, 1, position, 3, position)
    hall.pump()
    assert hall.orders() == [hall.words.enter(1)]
    assert hall.gateway.counters["refused_stale_epoch"] == 1


def test_epoch_is_on_the_disk_before_anything_is_taken_in_it(hall, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fdatasync", lambda file: done.append("sync"))
    append = hall.store.append_handed
    monkeypatch.setattr(hall.store, "append_handed", lambda *a: done.append("handed") or append(*a))
    hall.hand("a", 1, 0, stream(hall.words.enter(1)))
    hall.hand("a", 1, hall.gateway.order_position, stream(hall.words.enter(2)))
    assert done == ["sync", "handed", "handed"]


def test_epoch_that_cannot_be_made_durable_is_not_used(hall, monkeypatch):
    def broken(file):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    refused = hall.hand("a", 1, 0, stream(hall.words.enter(1)))
    assert refused.reason is Refusal.NOT_DURABLE and hall.gateway.state is Session.BROKEN
    hall.pump()
    assert hall.orders() == []


def test_epoch_has_one_holder(hall):
    assert isinstance(hall.hand("a", 2, 0, b""), Accepted)
    assert hall.hand("b", 2, 0, b"").reason is Refusal.EPOCH_OF_ANOTHER
    assert hall.hand("b", 3, 0, b"") == Accepted(3, 0)
    assert hall.hand("a", 2, 0, b"").reason is Refusal.STALE_EPOCH


def test_hole_in_the_stream_is_refused(hall):
    refused = hall.hand("a", 1, 10, stream(hall.words.enter(1)))
    assert refused == Rejected(Refusal.POSITION_AHEAD, 1, 10, 1, 0)


def test_other_bytes_at_a_known_position_are_a_divergence(hall):
    hall.hand("a", 1, 0, stream(hall.words.enter(1)))
    position = hall.gateway.order_position
    refused = hall.hand("b", 2, 0, stream(hall.words.enter(1, 200), hall.words.enter(2)))
    assert refused == Rejected(Refusal.DIVERGED, 2, 0, 2, position)
    assert hall.gateway.counters["diverged"] == 1
    assert hall.gateway.detail == "b hands over other bytes at 0 than are here"
    hall.pump()
    assert hall.orders() == [hall.words.enter(1)]


def test_bytes_before_what_is_kept_cannot_be_compared(tmp_path):
    hall = Hall(tmp_path, store={"max_tail": 100}).up()
    first = stream(hall.words.enter(1))
    for number in range(1, 6):
        hall.hand("a", 1, hall.gateway.order_position, stream(hall.words.enter(number)))
    assert hall.hand("a", 1, 0, first).reason is Refusal.TAIL_GONE
    last = hall.gateway.order_position - len(first)
    assert isinstance(hall.hand("a", 1, last, stream(hall.words.enter(5))), Accepted)
    hall.kill()


@pytest.mark.parametrize(
    "content", [b"\0", b"\0\0", b"\0\x05abcd", b"\0\x01a\0", stream(b"x") + b"\0\0"]
)
def test_what_is_not_whole_messages_is_malformed(hall, content):
    assert hall.hand("a", 1, 0, content).reason is Refusal.MALFORMED
    assert hall.gateway.order_position == 0 and not hall.store.outcomes


def test_known_bytes_that_begin_within_a_message_are_malformed(hall):
    one = stream(hall.words.enter(1))
    hall.hand("a", 1, 0, one)
    refused = hall.hand("a", 1, 3, one[3:] + stream(hall.words.enter(2)))
    assert refused.reason is Refusal.MALFORMED


def test_epoch_zero_is_none(hall):
    assert hall.hand("a", 0, 0, b"").reason is Refusal.MALFORMED


# ---------------------------------------------------------------- outcomes


def test_orders_without_a_session_get_an_outcome_and_the_stream_goes_on(hall):
    hall.cut()
    one, two = hall.words.enter(1), hall.words.enter(2)
    assert isinstance(hall.hand("a", 1, 0, stream(one)), Accepted)
    assert outcomes(hall) == [(0, Outcome.NOT_READY, one)]
    hall.up()
    hall.hand("a", 1, hall.gateway.order_position, stream(two))
    hall.pump()
    assert hall.orders() == [two] and len(hall.store.outcomes) == 1


def test_refuse_leaves_orders_with_the_node_while_there_is_no_session(tmp_path):
    hall = Hall(tmp_path, settings=GatewaySettings(when_down="refuse")).up()
    hall.cut()
    one = stream(hall.words.enter(1))
    assert hall.hand("a", 1, 0, one) == Rejected(Refusal.SESSION_DOWN, 1, 0, 1, 0)
    hall.up()
    assert hall.hand("a", 1, 0, one) == Accepted(1, len(one))
    hall.kill()


def test_order_that_was_lost_on_the_line_is_settled(hall50):
    hall = hall50
    node = Node(hall)
    one = hall.words.enter(1)
    hall.hand("a", 1, 0, stream(one))
    hall.cut()  # before its bytes were taken
    after = hall.gateway.answers.next - 1
    hall.up()
    assert hall.orders() == []
    assert outcomes(hall) == [(NO_POSITION, Outcome.NEVER_RECEIVED, one)]
    told = [e for e in node.take() if isinstance(e, Answer | Told)]
    # Behind the answer to the account query, which is what it follows from.
    assert told[-1] == Told(1, after + 1, NO_POSITION, Outcome.NEVER_RECEIVED, one)
    assert isinstance(told[-2], Answer) and told[-2].sequence == after + 1


def test_number_that_was_used_is_not_sent(hall):
    hall.hand("a", 1, 0, stream(hall.words.enter(5)))
    again = hall.words.enter(5, 200)
    hall.hand("a", 1, hall.gateway.order_position, stream(again, hall.words.enter(6)))
    hall.pump()
    assert hall.orders() == [hall.words.enter(5), hall.words.enter(6)]
    position = len(stream(hall.words.enter(5)))
    assert outcomes(hall) == [(position, Outcome.NUMBER_USED, again)]
    assert hall.session.ended is None


def test_message_that_the_protocol_does_not_have(hall):
    hall.hand("a", 1, 0, stream(b"?what", hall.words.enter(1)))
    hall.pump()
    assert hall.orders() == [hall.words.enter(1)]
    assert outcomes(hall) == [(0, Outcome.MALFORMED, b"?what")]


def test_orders_beyond_the_rate_wait_and_are_given_back_with_the_line(tmp_path):
    hall = Hall(tmp_path, messages_per_second=10, message_burst=3).up()
    orders = [hall.words.enter(number) for number in range(1, 6)]
    hall.hand("a", 1, 0, stream(*orders))
    hall.pump()
    sent = len(hall.orders())
    assert 0 < sent < 5 and hall.gateway.waiting == 5 - sent
    assert not hall.store.outcomes
    hall.cut()
    each = len(stream(orders[0]))
    assert outcomes(hall) == [(each * at, Outcome.LINE_LOST, orders[at]) for at in range(sent, 5)]
    assert hall.gateway.waiting == 0
    hall.kill()


def test_line_that_ends_while_orders_are_written(tmp_path):
    """What the session says of it is heard later; each order has one outcome all the same."""
    hall = Hall(tmp_path, messages_per_second=10, message_burst=3).up()
    late = []
    hall.gateway.on_sent = lambda: late.extend(hall.session.disconnected(hall.now_ns))
    orders = [hall.words.enter(number) for number in range(1, 6)]
    hall.hand("a", 1, 0, stream(*orders))
    told = [payload for _, _, payload in outcomes(hall)]
    assert 0 < len(told) < 5 and told == orders[-len(told) :]
    hall.gateway.hear(late, hall.now_ns)
    assert len(outcomes(hall)) == len(told) and hall.gateway.waiting == 0
    hall.kill()


def test_drop_is_no_way_to_treat_orders(tmp_path):
    with pytest.raises(GatewayError, match="when_throttled: drop"):
        Hall(tmp_path, when_throttled="drop")


def test_ended_session_gives_orders_back(hall):
    hall.hear(hall.session.stop(hall.now_ns))
    hall.hand("a", 1, 0, stream(hall.words.enter(1)))
    assert hall.gateway.state is Session.ENDED
    assert outcomes(hall) == [(0, Outcome.NOT_READY, hall.words.enter(1))]


def test_session_journal_that_cannot_be_written(hall, monkeypatch):
    """What was not recorded is not sent, and its node is told."""

    def full(content, now_ns):
        hall.journal._file._fail("full")

    monkeypatch.setattr(hall.journal._file, "append", full)
    hall.hand("a", 1, 0, stream(hall.words.enter(1)))
    hall.pump()
    assert hall.session.ended.end is End.JOURNAL and hall.orders() == []
    assert outcomes(hall) == [(0, Outcome.NOT_READY, hall.words.enter(1))]


def test_full_disk_takes_nothing_and_answers_go_on(tmp_path):
    hall = Hall(tmp_path, store={"max_bytes": 4096}).up()
    node = Node(hall)
    number = 0
    while True:
        number += 1
        said = hall.hand("a", 1, hall.gateway.order_position, stream(hall.words.enter(number)))
        if isinstance(said, Rejected):
            break
    hall.pump()
    assert said.reason is Refusal.NOT_DURABLE and number > 10
    assert hall.orders() == [hall.words.enter(each) for each in range(1, number)]
    told = node.take()
    assert len([e for e in told if isinstance(e, Answer)]) >= number - 1
    assert [e.session_state for e in told if isinstance(e, Stands)][-1] is Session.BROKEN
    position = hall.gateway.order_position
    hall.kill()
    hall.store_options = {}
    hall.start()
    assert hall.gateway.order_position == position
    hall.kill()


# ---------------------------------------------------------------- after a kill


def test_restart_knows_epoch_position_tail_and_answers(hall):
    orders = stream(*(hall.words.enter(number) for number in range(1, 4)))
    hall.hand("a", 4, 0, orders, number=9)
    hall.pump()
    answers = hall.gateway.answers.next
    hall.kill()
    hall.start()
    gateway = hall.gateway
    assert (gateway.epoch, gateway.store.holder, gateway.order_position) == (4, "a", len(orders))
    assert (gateway.answers.next, hall.store.input_number) == (answers, 9)
    assert hall.hand("b", 3, len(orders), b"").reason is Refusal.STALE_EPOCH
    assert hall.hand("b", 5, 0, orders) == Accepted(5, len(orders))
    diverged = stream(hall.words.enter(1, 7))
    assert hall.hand("b", 5, 0, diverged).reason is Refusal.DIVERGED
    hall.up()
    assert len(hall.orders()) == 3


def test_killed_between_intent_and_session(hall, monkeypatch):
    def killed(messages, now_ns):
        raise KeyboardInterrupt

    monkeypatch.setattr(hall.session, "send_all", killed)
    one = hall.words.enter(1)
    with pytest.raises(KeyboardInterrupt):
        hall.hand("a", 1, 0, stream(one))
    hall.kill()
    hall.start()
    assert outcomes(hall) == [(0, Outcome.GATEWAY_STOPPED, one)]
    hall.kill()
    hall.start()  # told once
    hall.up()
    assert outcomes(hall) == [(0, Outcome.GATEWAY_STOPPED, one)] and hall.orders() == []
    assert hall.hand("a", 1, 0, stream(one)) == Accepted(1, len(stream(one)))
    hall.pump()
    assert hall.orders() == []


def test_killed_between_session_journal_and_socket(hall50):
    hall = hall50
    one = hall.words.enter(1)
    hall.hand("a", 1, 0, stream(one))
    hall.kill()
    hall.start()
    assert outcomes(hall) == []
    hall.up()
    assert hall.orders() == [] and outcomes(hall) == [(NO_POSITION, Outcome.NEVER_RECEIVED, one)]


def test_killed_before_a_settlement_was_noted(hall50, monkeypatch):
    """The session has it in its journal; the gateway finds it there."""
    hall = hall50
    one = hall.words.enter(1)
    hall.hand("a", 1, 0, stream(one))
    hall.cut()
    monkeypatch.setattr(hall.gateway, "hear", lambda events, now_ns: None)
    hall.wait(2 * SECOND)
    assert outcomes(hall) == []
    hall.kill()
    hall.start()
    assert outcomes(hall) == [(NO_POSITION, Outcome.NEVER_RECEIVED, one)]


def test_killed_while_orders_waited_for_the_rate(tmp_path):
    hall = Hall(tmp_path, messages_per_second=10, message_burst=3).up()
    orders = [hall.words.enter(number) for number in range(1, 6)]
    hall.hand("a", 1, 0, stream(*orders))
    hall.pump()
    sent = len(hall.orders())
    hall.kill()
    hall.start()
    each = len(stream(orders[0]))
    assert outcomes(hall) == [
        (each * at, Outcome.GATEWAY_STOPPED, orders[at]) for at in range(sent, 5)
    ]
    hall.kill()


def test_killed_while_orders_of_several_hand_overs_waited(tmp_path):
    hall = Hall(tmp_path, messages_per_second=10, message_burst=3).up()
    orders = [hall.words.enter(number) for number in range(1, 8)]
    hall.hand("a", 1, 0, stream(*orders[:5]))
    hall.hand("a", 1, hall.gateway.order_position, stream(*orders[5:]))
    hall.pump()
    sent = len(hall.orders())
    hall.kill()
    hall.start()
    assert 0 < sent < 5 and [each for _, _, each in outcomes(hall)] == orders[sent:]
    hall.kill()


def test_message_like_an_earlier_one_was_not_sent_with_it(hall, monkeypatch):
    """The same cancel was sent before; this one was not."""
    cancel = hall.words.cancel(1)
    hall.hand("a", 1, 0, stream(hall.words.enter(1), cancel))
    hall.pump()
    position = hall.gateway.order_position

    def killed(messages, now_ns):
        raise KeyboardInterrupt

    monkeypatch.setattr(hall.session, "send_all", killed)
    with pytest.raises(KeyboardInterrupt):
        hall.hand("a", 1, position, stream(cancel))
    hall.kill()
    hall.start()
    assert outcomes(hall) == [(position, Outcome.GATEWAY_STOPPED, cancel)]


# ---------------------------------------------------------------- nodes


def test_answers_go_on_from_the_number_that_is_asked_for(hall):
    hall.hand("a", 1, 0, stream(*(hall.words.enter(number) for number in range(1, 6))))
    hall.pump()
    last = hall.gateway.answers.next - 1
    node = Node(hall, "b", next_answer=last - 1)
    assert [e.sequence for e in node.take() if isinstance(e, Answer)] == [last - 1, last]
    late = Node(hall, "c", next_answer=0, next_outcome=0)
    welcomed, *rest = late.take()
    assert isinstance(welcomed, Welcomed) and not rest and late.client.next_answer == last + 1


def test_welcome_says_where_everything_stands(hall):
    hall.hand("a", 3, 0, stream(hall.words.enter(1)), number=4)
    hall.pump()
    welcomed, *_ = Node(hall, "b").take()
    position = len(stream(hall.words.enter(1)))
    assert welcomed == Welcomed(
        hall.gateway.answers.first,
        Stands(Session.UP, "DAY1", 3, "a", position, 4, hall.gateway.answers.next, 1, 1),
    )


@pytest.mark.parametrize("name", ["build", "configuration", "strategy", "layout"])
def test_node_that_runs_something_else_is_told_what(hall, name):
    same = {"build": b"b", "configuration": b"c", "strategy": b"s", "layout": b"l"}
    Node(hall, "a", group=Group(**same))
    hall.kill()
    hall.start()  # what the group runs is not forgotten
    declined, lost = Node(hall, "b", group=Group(**{**same, name: b"x"})).take()
    assert isinstance(declined, Declined) and declined.reason is NotWelcome[name.upper()]
    assert declined.detail.startswith(f"{name} 78") and isinstance(lost, Lost)
    welcomed, *_ = Node(hall, "c", group=Group(**same)).take()
    assert isinstance(welcomed, Welcomed)


def declined(node: Node) -> NotWelcome:
    first, last = node.take()
    assert isinstance(first, Declined) and isinstance(last, Lost)
    return first.reason


def test_nodes_that_are_not_welcome(tmp_path):
    settings = GatewaySettings(nodes={"a": "10.0.0.1", "b": "10.0.0.2"}, max_nodes=1)
    hall = Hall(tmp_path, settings=settings).up()
    assert declined(Node(hall, "c", address="10.0.0.1")) is NotWelcome.UNKNOWN_NODE
    assert declined(Node(hall, "b", address="10.0.0.1")) is NotWelcome.UNKNOWN_NODE
    assert declined(Node(hall, "a", address="10.0.0.1", next_answer=99)) is NotWelcome.AHEAD
    assert declined(Node(hall, "a", address="10.0.0.1", next_outcome=2)) is NotWelcome.AHEAD
    Node(hall, "a", address="10.0.0.1")
    assert declined(Node(hall, "b", address="10.0.0.2")) is NotWelcome.TOO_MANY
    hall.kill()


def test_without_names_only_this_machine_is_welcome(hall):
    assert declined(Node(hall, "a", address="10.0.0.1")) is NotWelcome.UNKNOWN_NODE


def test_answers_that_are_gone(tmp_path):
    hall = Hall(tmp_path, settings=GatewaySettings(max_answers=4)).up()
    hall.hand("a", 1, 0, stream(*(hall.words.enter(number) for number in range(1, 9))))
    hall.pump()
    assert hall.gateway.answers.first > 1
    assert declined(Node(hall)) is NotWelcome.ANSWERS_GONE
    hall.kill()


def test_node_that_connects_again_takes_its_place(hall):
    older = Node(hall)
    newer = Node(hall)
    older.take(), newer.take()
    hall.pump()
    assert older.take() == [Lost("REPLACED")] and hall.links.welcome == {"a": newer.link}


def test_slow_node_falls_behind_and_comes_back(tmp_path):
    settings = GatewaySettings(max_answers=4, timeout_ms=10**6, heartbeat_ms=100)
    hall = Hall(tmp_path, settings=settings).up()
    node = Node(hall)
    node.take()
    node.is_reading = False
    hall.hand("a", 1, 0, stream(*(hall.words.enter(number) for number in range(1, 20))))
    hall.pump()
    node.is_reading = True
    hall.pump()
    assert isinstance(node.take()[-1], Lost)
    assert hall.gateway.counters["left_behind"] == 1
    hall.kill()


def test_node_that_takes_nothing_is_left_after_the_timeout(hall):
    node = Node(hall)
    node.is_reading = False
    hall.hand("a", 1, 0, stream(hall.words.enter(1)))
    hall.wait(2 * SECOND, 50 * MILLISECOND)
    assert hall.gateway.counters["left_slow"] == 1 and not hall.links.welcome


def test_silent_node_is_left_and_a_living_one_is_not(hall):
    living, silent = Node(hall, "a"), Node(hall, "b")
    silent.client.tick = lambda now_ns: []
    hall.wait(3 * SECOND, 50 * MILLISECOND)
    assert set(hall.links.welcome) == {"a"} and living.client.lost is None
    assert hall.gateway.counters["left_silent"] == 1


def test_gateway_that_is_silent_is_left(hall):
    node = Node(hall)
    node.take()
    hall.nodes.clear()
    told = node.client.tick(hall.now_ns + SECOND)
    assert told == [Lost("nothing came for 1000 ms")]


def test_refusal_over_the_line(hall):
    node = Node(hall)
    node.take()
    node.hand(1, 99, stream(hall.words.enter(1)))
    assert [e for e in node.take() if isinstance(e, Refused)] == [
        Refused(Refusal.POSITION_AHEAD, 1, 99, 1, 0)
    ]


def test_asking_with_an_epoch_shuts_older_nodes_out(hall):
    a, b = Node(hall, "a"), Node(hall, "b")
    a.hand(1, 0, stream(hall.words.enter(1)), number=8)
    b.take()

    def ask(node: Node, request: int, epoch: int) -> Stands:
        node.client.send(frame("ask", request=request, epoch=epoch), hall.now_ns)
        node.carry()
        (stands,) = [e for e in node.take() if isinstance(e, Stands) and e.request == request]
        return stands

    position = len(stream(hall.words.enter(1)))
    for request, node, epoch, highest, holder in [
        (5, b, 0, 1, "a"),  # only asks
        (6, b, 3, 3, "b"),
        (7, a, 2, 3, "b"),  # stale
        (8, a, 3, 3, "b"),  # of another
    ]:
        stands = ask(node, request, epoch)
        assert (stands.highest_epoch, stands.holder) == (highest, holder)
        assert (stands.order_position, stands.input_number) == (position, 8)
    assert hall.gateway.counters["epochs_refused"] == 2
    a.take()
    a.hand(1, position, stream(hall.words.enter(2)))
    assert [e.reason for e in a.take() if isinstance(e, Refused)] == [Refusal.STALE_EPOCH]
    hall.kill()
    hall.start()
    assert (hall.gateway.epoch, hall.store.holder) == (3, "b")


def test_states_of_the_session_are_told(hall):
    node = Node(hall)
    node.take()
    hall.cut()
    hall.pump()
    hall.up()
    hall.hear(hall.session.stop(hall.now_ns))
    hall.pump()
    states = [e.session_state for e in node.take() if isinstance(e, Stands)]
    assert [each for at, each in enumerate(states) if not at or states[at - 1] is not each] == [
        Session.DOWN,
        Session.UP,
        Session.ENDED,
    ]


def test_dead_man_lets_a_gateway_wait_for_its_first_node(tmp_path):
    hall = Hall(tmp_path, dead_man_ns=2 * SECOND).up()
    hall.wait(10 * SECOND, 50 * MILLISECOND)
    assert hall.session.ended is None
    hall.hand("a", 1, 0, stream(hall.words.enter(1)))
    hall.wait(5 * SECOND, 50 * MILLISECOND)
    assert hall.session.ended.end is End.DEAD_MAN
    hall.kill()


def test_dead_man_hears_the_holder_and_nobody_else(tmp_path):
    hall = Hall(tmp_path, dead_man_ns=2 * SECOND).up()
    active, _standby = Node(hall, "a"), Node(hall, "b")
    active.hand(1, 0, stream(hall.words.enter(1)))
    hall.wait(5 * SECOND, 50 * MILLISECOND)
    assert hall.session.ended is None
    hall.nodes.remove(active)
    hall.wait(5 * SECOND, 50 * MILLISECOND)
    assert hall.session.ended.end is End.DEAD_MAN
    assert hall.orders()[-1] == hall.words.cancel(1)
    hall.kill()

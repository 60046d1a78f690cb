"""Which orders are open, message by message, in both protocols."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures import REPEATABLE
from test_session_ouch import Words
from tickpath.session.open_orders import OpenOrders
from tickpath.session.ouch_message import DIALECTS, Kind
from tickpath.wire.table import WireError

PROTOCOLS = ("ouch50", "ouch42")


class Orders:
    """Open orders fed with whole messages."""

    def __init__(self, protocol: str):
        self.words = Words(protocol)
        self.orders = OpenOrders()
        self.sent_count = 0

    def send(self, message: bytes) -> None:
        self.orders.sent(self.sent_count, self.words.dialect.request(message), message)
        self.sent_count += 1

    def hear(self, name: str, number: int, quantity: int = 0, **values) -> None:
        message = self.words.outbound(name, number, quantity, **values)
        self.orders.received(self.words.dialect.answer(message))

    def leaves(self) -> dict:
        return dict(self.orders.leaves)


@pytest.fixture(params=PROTOCOLS)
def desk(request):
    made = Orders(request.param)
    for number in (1, 2):
        made.send(made.words.enter(number))
        made.hear(made.words.accepted_name, number, 100)
    return made


def names(protocol: str) -> list[str]:
    return [each.name for each in DIALECTS[protocol].outbound.messages]


REDUCING = {
    "canceled",
    "aiq_canceled",
    "aiq_cancelled",
    "order_executed",
    "executed",
    "executed_with_reference_price",
}
OTHERS = {
    "accepted",
    "order_accepted",
    "replaced",
    "rejected_order",
    "order_modified",
}


@pytest.mark.parametrize(
    ("protocol", "name"), [(protocol, name) for protocol in PROTOCOLS for name in names(protocol)]
)
def test_effect_of_every_message(protocol, name):
    """Those that take shares off, those with a test of their own, and all others: nothing."""
    desk = Orders(protocol)
    words = desk.words
    desk.send(words.enter(1))
    desk.hear(words.accepted_name, 1, 100)
    if name in OTHERS:
        return
    layout = words.dialect.outbound[name]
    if "user_ref_num" in layout.by_name or "order_token" in layout.by_name:
        desk.hear(name, 1, 40)
    else:
        desk.orders.received(words.dialect.answer(layout.encode()))
    assert desk.leaves() == {words.key(1): 60 if name in REDUCING else 100}
    if name in REDUCING:
        desk.hear(name, 1, 60)
        assert not len(desk.orders)


def test_unanswered_until_accepted_or_rejected(desk):
    words = desk.words
    for number in (3, 4):
        desk.send(words.enter(number))
    assert list(desk.orders.unanswered) == [words.key(3), words.key(4)]
    desk.hear(words.accepted_name, 3, 100)
    desk.hear("rejected_order", 4)
    assert not desk.orders.unanswered
    assert desk.leaves() == {words.key(n): 100 for n in (1, 2, 3)}


def test_order_that_is_dead_when_accepted(desk):
    desk.send(desk.words.enter(3))
    desk.hear(desk.words.accepted_name, 3, 100, order_state="D")
    assert desk.words.key(3) not in desk.leaves() and not desk.orders.unanswered


def test_replacement(desk):
    words = desk.words
    desk.send(words.replace(1, 3, 70))
    assert words.key(1) in desk.leaves() and words.key(3) in desk.orders.unanswered
    desk.orders.received(words.dialect.answer(words.replaced(1, 3, 70)))
    assert desk.leaves() == {words.key(2): 100, words.key(3): 70}


def test_modification_and_executions(desk):
    words = desk.words
    desk.hear("order_modified", 1, 30)
    assert desk.leaves()[words.key(1)] == 30
    desk.hear(words.executed_name, 1, 30)
    assert desk.leaves() == {words.key(2): 100}
    desk.hear(words.executed_name, 1, 30)  # of an order that is closed: not this class's business
    assert desk.leaves() == {words.key(2): 100}


def test_cancels_wait_for_their_effect(desk):
    words = desk.words
    for number in (1, 2, 9):
        desk.send(words.cancel(number))
    assert list(desk.orders.cancels) == [words.key(1), words.key(2)]
    desk.hear("canceled", 1, 100)
    desk.hear("cancel_reject", 2)
    assert not desk.orders.cancels and desk.leaves() == {words.key(2): 100}


def test_requests_have_the_numbers_of_their_keys():
    for protocol in PROTOCOLS:
        words = Words(protocol)
        enter = words.dialect.request(words.enter(77))
        replace = words.dialect.request(words.replace(77, 2**31, 5))
        assert (enter.kind, enter.key, enter.number) == (Kind.ENTER, words.key(77), 77)
        assert (replace.orig, replace.number) == (words.key(77), 2**31)
        with pytest.raises(WireError):
            words.dialect.request(b"")
        with pytest.raises(WireError):
            words.dialect.answer(words.enter(1)[:5])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(raw=st.binary(max_size=120), code=st.integers(0, 255), length=st.integers(0, 100))
@REPEATABLE
def test_any_bytes_are_a_message_or_an_error(protocol, raw, code, length):
    """Whatever comes, the open orders stay consistent: no order with shares below nothing."""
    dialect, orders = DIALECTS[protocol], OpenOrders()
    for message in (raw, bytes([code]) + raw, bytes([code]) + bytes(length)):
        for read, note in (
            (dialect.request, lambda meaning, message: orders.sent(0, meaning, message)),
            (dialect.answer, lambda meaning, message: orders.received(meaning)),
        ):
            try:
                meaning = read(message)
            except WireError:
                continue
            note(meaning, message)
            assert all(leaves > 0 for leaves in orders.leaves.values())

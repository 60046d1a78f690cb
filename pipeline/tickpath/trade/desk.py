"""What passes between engine and order session, without sockets.

Orders that the engine has encoded go to the session; what the session says comes back as inputs of
the engine: the exchange's answers as they came, and for what was never sent, or was lost, an answer
of our own (rejected, or cancel rejected), so that no order waits for an answer that cannot come.
An order that has ended for the engine meanwhile gets none.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from tickpath.engine import Engine
from tickpath.layout import MAX_INTENTS, OWN_ORDERS
from tickpath.ouch import OrderProtocol, OuchError, order_id_of
from tickpath.own_orders import State
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import (
    DeadMan,
    End,
    Ended,
    LineLost,
    Ready,
    Refused,
    Settled,
)
from tickpath.session.soup_event import Event, Sequenced
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND

WHO = "trade"
MAX_NOTES = 200
_TOKENS = ("replacement_order_token_token_14", "order_token")
_ORDERS, _LESS = ("enter_order", "replace_order"), ("cancel_order", "modify_order")


def joined(messages: list[bytes]) -> bytes:
    """Messages behind their 2-byte lengths, as the engine takes them."""
    return b"".join(len(each).to_bytes(2, "big") + each for each in messages)


class Desk:
    """The engine's orders out, its answers in.

    ``on_note`` is told what an operator should know; ``time_text`` stands before it in `notes`.
    """

    def __init__(
        self,
        engine: Engine,
        session: OrderSession,
        on_note: Callable[[str], None] = lambda text: None,
        time_text: Callable[[], str] = str,
    ) -> None:
        self.engine = engine
        self.session = session
        self.counters: Counter[str] = Counter()
        self.notes: list[str] = []
        """What an operator should know, latest last."""
        self.is_ready = False
        self.was_ready = False
        self.ended: Ended | None = None
        self.answers = Answers(engine)
        self._on_note, self._time_text = on_note, time_text

    def note(self, text: str) -> None:
        """Tell the operator."""
        self.notes.append(f"{self._time_text()} {text}".lstrip())
        del self.notes[:-MAX_NOTES]
        self._on_note(text)

    def flush(self, now_ns: int) -> list[Event]:
        """Send what the engine has encoded; gives the session's events."""
        orders = self.engine.take_orders()
        if not orders:
            self.session.contact(now_ns)
            return []
        self.counters["orders"] += len(orders)
        if self.session.settings.when_throttled != "drop":
            return self.session.send_all(orders, now_ns)
        events: list[Event] = []
        for order in orders:  # what is dropped is only counted, and the engine has to know
            dropped = self.session.counters.dropped
            events += self.session.send(order, now_ns)
            if self.session.counters.dropped > dropped:
                self.counters["dropped"] += 1
                self.engine.feed_responses(joined(self.answers.refusal(order)))
        return events

    def take(self, events: list[Event]) -> list[Event]:
        """Events of the session into the engine; gives those that the loop has to act on."""
        left: list[Event] = []
        answers: list[bytes] = []
        lost: Counter[str] = Counter()
        for event in events:
            if isinstance(event, Sequenced):
                answers.append(event.payload)
                left.append(event)
                continue
            if isinstance(event, Refused | Settled):
                # What came before says whether the order still waits.
                self._feed(answers)
                answers = self.answers.refusal(event.message)
                self._count_lost(event, lost)
            else:
                if isinstance(event, Ended) and event.end is End.END_OF_SESSION:
                    self._feed(answers)
                    self._session_over()
                self._hear(event)
                left.append(event)
        self._feed(answers)
        for what, number in lost.items():
            self.note(what if number == 1 else f"{what} ({number:,} times)")
        return left

    def _feed(self, answers: list[bytes]) -> None:
        if answers:
            self.counters["answers"] += len(answers)
            self.engine.feed_responses(joined(answers))
            answers.clear()

    def _session_over(self) -> None:
        """No order outlives the exchange's session: what it has not answered, it never will."""
        unanswered = self.session.port.orders.unanswered.values()
        for lost in unanswered:
            refusal = self.answers.refusal(lost.message)
            self.counters["unanswered_at_the_end"] += len(refusal)
            self._feed(refusal)

    def _count_lost(self, event: Refused | Settled, lost: Counter[str]) -> None:
        if isinstance(event, Refused):
            self.counters["refused"] += 1
            lost[f"not sent: {event.refusal.value} {event.detail}".rstrip()] += 1
        else:
            self.counters["settled"] += 1
            lost[f"an order without an answer is settled: {event.outcome.value}"] += 1

    def _hear(self, event: Event) -> None:
        if isinstance(event, Ready):
            self.is_ready = self.was_ready = True
            self._go_on_behind(event.next_user_ref_num - 1)
            self.note(f"session {event.session} is ready at message {event.next_sequence:,}")
        elif isinstance(event, LineLost):
            self.is_ready = False
            self.note(f"order session: {event.reason.value} {event.detail}".rstrip())
        elif isinstance(event, DeadMan):
            self.note(f"dead man's handle: {event.open_orders} open orders are canceled")
        elif isinstance(event, Ended):
            self.is_ready = False
            self.ended = event
            self.note(f"order session ended: {event.end.value} {event.detail}".rstrip())

    def _go_on_behind(self, used: int) -> None:
        """Let the engine's next order have a number that the exchange has not seen."""
        block = self.engine.block
        if self.answers.is50:
            if block.get("user_ref_num") < used:
                self.note(f"numbers go on behind {used:,}, which the journal does not have")
                block.set("user_ref_num", used)
        elif (first := used // MAX_INTENTS + 1) > block.get("input_number"):
            self.note(f"tokens go on behind {used:,}, which the journal does not have")
            block.set("input_number", first)


class Answers:
    """Answers that no exchange has given."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is50 = engine.block.get("order_protocol") == OrderProtocol.OUCH50

    def refusal(self, message: bytes) -> list[bytes]:
        """What an exchange would answer to a message that it does not take; [] for none."""
        table = OUCH50_INBOUND if self.is50 else OUCH42_INBOUND
        layout = table.by_type.get(chr(message[0]))
        if layout is None or layout.name not in (*_ORDERS, *_LESS):
            return []
        fields = layout.decode(message)
        own = self._own(fields)
        if own is None:
            return []
        is_order = layout.name in _ORDERS
        if is_order and own["state"] != State.PENDING:
            return []
        if not is_order and not State.PENDING <= own["state"] <= State.PARTIALLY_FILLED:
            return []
        values: dict[str, Any] = {"timestamp": self._engine.block.get("engine_time")}
        values |= self._name(fields)
        outbound = OUCH50_OUTBOUND if self.is50 else OUCH42_OUTBOUND
        if is_order:
            return [outbound["rejected_order"].encode(**values)]
        if layout.name == "cancel_order":
            return [outbound["cancel_reject"].encode(**values)]
        # There is no such answer to a modification: it has what it had.
        leaves = {"quantity" if self.is50 else "shares": int(own["leaves"])}
        return [outbound["order_modified"].encode(**values, **leaves)]

    def _name(self, fields: dict[str, Any]) -> dict[str, Any]:
        if self.is50:
            return {"user_ref_num": fields["user_ref_num"]}
        return {"order_token": next(fields[name] for name in _TOKENS if name in fields)}

    def _own(self, fields: dict[str, Any]) -> np.void | None:
        """The engine's record of the order that a message is about."""
        own = self._engine.block.own
        if self.is50:
            number = fields["user_ref_num"]
            found = own[number % OWN_ORDERS]
            return found if found["user_ref_num"] == number else None
        try:
            order_id = order_id_of(self._name(fields)["order_token"])
        except OuchError:
            return None
        places = np.flatnonzero((own["order_id"] == order_id) & (own["user_ref_num"] > 0))
        return own[places[0]] if len(places) else None

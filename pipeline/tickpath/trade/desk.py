"""What passes between engine and order session, without sockets.

Orders that the engine has encoded go to the session; what the session says comes back as inputs of
the engine: the exchange's answers as they came, and for what was never sent an answer of our own
(rejected, or cancel rejected), so that no order waits for an answer that cannot come.
"""

from collections import Counter
from typing import Any

from tickpath.engine import Engine
from tickpath.ouch import OrderProtocol
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import DeadMan, Ended, LineLost, Ready, Refused, Settled
from tickpath.session.soup_event import Event, Sequenced
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND

WHO = "trade"
MAX_NOTES = 200


class Desk:
    """The engine's orders out, its answers in."""

    def __init__(self, engine: Engine, session: OrderSession) -> None:
        self.engine = engine
        self.session = session
        self.counters: Counter[str] = Counter()
        self.notes: list[str] = []
        """What an operator should know, latest last."""
        self.is_ready = False
        self.ended: Ended | None = None
        self._is50 = engine.block.get("order_protocol") == OrderProtocol.OUCH50

    def note(self, text: str) -> None:
        """Tell the operator."""
        self.notes.append(text)
        del self.notes[:-MAX_NOTES]

    def flush(self, now_ns: int) -> list[Event]:
        """Send what the engine has encoded; gives the session's other events."""
        orders = self.engine.take_orders()
        if not orders:
            self.session.contact(now_ns)
            return []
        self.counters["orders"] += len(orders)
        return self.session.send_all(orders, now_ns)

    def take(self, events: list[Event], now_ns: int) -> list[Event]:
        """Events of the session into the engine; gives those that the loop has to act on."""
        left: list[Event] = []
        answers: list[bytes] = []
        for event in events:
            if isinstance(event, Sequenced):
                answers.append(event.payload)
            elif isinstance(event, Refused):
                answers += self._refusal(event.message)
                self.counters["refused"] += 1
                self.note(f"not sent: {event.refusal.value} {event.detail}".rstrip())
            elif isinstance(event, Settled):
                answers += self._refusal(event.message)
                self.note(f"settled order {event.key}: {event.outcome.value}")
            else:
                self._hear(event)
                left.append(event)
        if answers:
            self.counters["answers"] += len(answers)
            run = b"".join(len(each).to_bytes(2, "big") + each for each in answers)
            self.engine.feed_responses(run)
        return left

    def _hear(self, event: Event) -> None:
        if isinstance(event, Ready):
            self.is_ready = True
            block = self.engine.block
            used = event.next_user_ref_num - 1
            if block.get("user_ref_num") < used:
                self.note(f"numbers go on behind {used}, which the journal does not have")
                block.set("user_ref_num", used)
            self.note(f"session {event.session} is ready at {event.next_sequence}")
        elif isinstance(event, LineLost):
            self.is_ready = False
            self.note(f"connection lost: {event.reason.value} {event.detail}".rstrip())
        elif isinstance(event, DeadMan):
            self.note(f"dead man's handle: {event.open_orders} open orders are canceled")
        elif isinstance(event, Ended):
            self.is_ready = False
            self.ended = event
            self.note(f"session ended: {event}")

    def _refusal(self, message: bytes) -> list[bytes]:
        """The answer that an exchange would give to a message that it does not take."""
        table = OUCH50_INBOUND if self._is50 else OUCH42_INBOUND
        layout = table.by_type.get(chr(message[0]))
        if layout is None:
            return []
        fields = layout.decode(message)
        is_order = layout.name in ("enter_order", "replace_order")
        values: dict[str, Any] = {"timestamp": self.engine.block.get("engine_time")}
        if self._is50:
            values["user_ref_num"] = fields["user_ref_num"]
            out = OUCH50_OUTBOUND["rejected_order" if is_order else "cancel_reject"]
        else:
            tokens = ("replacement_order_token_token_14", "order_token")
            values["order_token"] = next(fields[name] for name in tokens if name in fields)
            out = OUCH42_OUTBOUND["rejected_order" if is_order else "cancel_reject"]
        return [out.encode(**values)]

"""What an earlier process left in the order session's journal, back into an engine.

Sent messages become own orders again and received ones are applied to them, in the order in which
they were written, and what was settled without an answer gets one of our own; so positions, open
orders and numbers go on where they stood.  The books come from the feed, and every symbol in the
journal must have its book by then: an order of another one cannot be taken up, and is told.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tickpath.engine import Engine
from tickpath.layout import MAX_INTENTS, OWN_ORDERS
from tickpath.ouch import OuchError, order_id_of
from tickpath.own_orders import adopt
from tickpath.session.store import Journal
from tickpath.session.store_record import Kind
from tickpath.trade.desk import Answers, joined
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND

_SCALE = 10_000
RUN = 1_000
"""Answers that are applied at a time."""
_OUCH50 = "ouch50"


class Recovered(NamedTuple):
    """What was found."""

    orders: int
    answers: int
    settled: int
    unknown_symbols: tuple[str, ...]
    """Of orders that could not be taken up."""
    without_room: int
    """Orders whose place is taken by an older one that is still open."""


class Sent(NamedTuple):
    """A new order or replacement, as it was sent."""

    symbol: str
    order_id: int
    side: int
    quantity: int
    price: int
    ref: int
    replaces: int


class Recovery:
    """Applies a journal to an engine whose books are known and whose orders are not."""

    def __init__(
        self, engine: Engine, journal: Journal, on_answer: Callable[[bytes], None] | None = None
    ) -> None:
        self._engine, self._journal, self._on_answer = engine, journal, on_answer
        self._books = engine.symbols
        self._waiting: list[bytes] = []  # answers
        self._refs: dict[str, int] = {}  # OUCH 4.2: the engine's own numbers by token
        self._highest_id = self._orders = self._answers = self._without_room = 0
        self._unanswered: dict[int, bytes] = {}  # record in the journal -> new order

    def run(self) -> Recovered:
        """Apply everything; see the module's text."""
        answers, settled = Answers(self._engine), 0
        unknown: dict[str, None] = {}
        for entry in self._journal.entries():
            if entry.kind is Kind.RECEIVED:
                self._answers += 1
                self._waiting.append(entry.payload)
                if self._on_answer is not None:
                    self._on_answer(entry.payload)
                if len(self._waiting) >= RUN:
                    self._apply()
            elif entry.kind is Kind.SENT:
                sent = self._sent(entry.payload, entry.number)
                if sent is not None:
                    self._apply()
                    self._adopt(sent, unknown)
                    self._remember(entry.index, entry.payload)
            elif entry.kind is Kind.SETTLED and entry.number in self._unanswered:
                self._apply()
                refusal = answers.refusal(self._unanswered.pop(entry.number))
                settled += len(refusal)
                self._waiting += refusal
        self._apply()
        self._go_on()
        return Recovered(self._orders, self._answers, settled, tuple(unknown), self._without_room)

    def _apply(self) -> None:
        if self._waiting:
            self._engine.feed_responses(joined(self._waiting))
            self._waiting.clear()

    def _remember(self, index: int, message: bytes) -> None:
        """A new order may still be settled; of those that the engine keeps, that is."""
        self._unanswered[index] = message
        if len(self._unanswered) > OWN_ORDERS:
            del self._unanswered[next(iter(self._unanswered))]

    def _adopt(self, sent: Sent, unknown: dict[str, None]) -> None:
        self._highest_id = max(self._highest_id, sent.order_id)
        b = self._book_of(sent)
        if b is None:
            unknown[sent.symbol or f"of order {sent.replaces}"] = None
            return
        values = (sent.ref, sent.order_id, b, sent.side, sent.quantity, sent.price, sent.replaces)
        was_taken = adopt(self._engine.block.address, *(np.uint64(value) for value in values))
        self._orders += int(was_taken)
        self._without_room += not was_taken

    def _book_of(self, sent: Sent) -> int | None:
        if sent.replaces:
            old = self._engine.block.own[sent.replaces % OWN_ORDERS]
            return int(old["book"]) if old["user_ref_num"] == sent.replaces else None
        return self._books.get(sent.symbol)

    def _sent(self, message: bytes, number: int) -> Sent | None:
        """A message as what it orders; None where it is no new order of ours."""
        is50 = self._journal.protocol == _OUCH50
        table = OUCH50_INBOUND if is50 else OUCH42_INBOUND
        layout = table.by_type.get(chr(message[0]))
        if layout is None or layout.name not in ("enter_order", "replace_order"):
            return None
        fields = layout.decode(message)
        is_new = layout.name == "enter_order"
        if is50:
            token, ref, quantity = fields["clordid"], number, fields["quantity"]
            replaces = 0 if is_new else fields["orig_user_ref_num"]
            side, symbol = fields.get("side", ""), fields.get("symbol", "")
        else:
            token = fields["order_token" if is_new else "replacement_order_token_token_14"]
            replaces = 0 if is_new else self._refs.get(fields["existing_order_token"], 0)
            quantity = fields["shares"]
            side, symbol = fields.get("buy_sell_indicator", ""), fields.get("stock", "")
        try:
            order_id = order_id_of(token)
        except OuchError:
            return None  # not one of ours: another program shares the session
        if not is50:
            ref = self._refs[token] = len(self._refs) + 1
        price = round(fields["price"] * _SCALE)
        code = ord(side) if side else 0
        return Sent(symbol, order_id, code, quantity, price, ref, replaces)

    def _go_on(self) -> None:
        """Orders are named by input numbers, and numbered on: none may be used again."""
        block = self._engine.block
        first = self._highest_id // MAX_INTENTS + 1
        block.set("input_number", max(block.get("input_number"), first))
        if self._journal.protocol == _OUCH50:
            numbers = self._journal.highest_user_ref_num
        else:
            numbers = len(self._refs)
        block.set("user_ref_num", max(block.get("user_ref_num"), numbers))

"""What an earlier process left in the order session's journal, back into an engine.

Sent messages become own orders again and received ones are applied to them, in the order in which
they were written; so positions, open orders and numbers go on where they stood.  The books come
from the feed, and every symbol in the journal must have its book by then.
"""

from typing import NamedTuple

import numpy as np

from tickpath.engine import Engine
from tickpath.layout import MAX_INTENTS
from tickpath.ouch import OuchError, order_id_of
from tickpath.own_orders import adopt
from tickpath.session.store import Journal
from tickpath.session.store_record import Kind
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND

_SCALE = 10_000


class Recovered(NamedTuple):
    """What was found."""

    orders: int
    answers: int
    unknown_symbols: tuple[str, ...]


def _block(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


def recover(engine: Engine, journal: Journal) -> Recovered:
    """Apply a journal to an engine whose books are known and whose orders are not."""
    orders = answers = 0
    unknown: dict[str, None] = {}
    highest = 0
    refs: dict[str, int] = {}  # OUCH 4.2: by token
    for entry in journal.entries(Kind.SENT, Kind.RECEIVED):
        if entry.kind is Kind.RECEIVED:
            engine.feed_responses(_block(entry.payload))
            answers += 1
            continue
        found = _order(journal.protocol, entry.payload, entry.number, refs)
        if found is None:
            continue
        symbol, order_id, side, quantity, price, ref, replaces = found
        highest = max(highest, order_id)
        b = _book_of(engine, symbol, replaces)
        if b is None:
            unknown[symbol] = None
            continue
        values = (ref, order_id, b, side, quantity, price, replaces)
        adopt(engine.block.address, *(np.uint64(value) for value in values))
        orders += 1
    # Orders are named by input numbers: none may be used again.
    first = highest // MAX_INTENTS + 1
    engine.block.set("input_number", max(engine.block.get("input_number"), first))
    numbers = max(engine.block.get("user_ref_num"), journal.highest_user_ref_num)
    engine.block.set("user_ref_num", numbers)
    return Recovered(orders, answers, tuple(unknown))


def _book_of(engine: Engine, symbol: str, replaces: int) -> int | None:
    if replaces:
        old = engine.block.own[replaces % len(engine.block.own)]
        return int(old["book"]) if old["user_ref_num"] == replaces else None
    return engine.symbols.get(symbol)


def _order(
    protocol: str, message: bytes, ref: int, refs: dict[str, int]
) -> tuple[str, int, int, int, int, int, int] | None:
    """(symbol, order_id, side, quantity, price, ref, replaces) of a new order or replacement."""
    table = OUCH50_INBOUND if protocol == "ouch50" else OUCH42_INBOUND
    layout = table.by_type.get(chr(message[0]))
    if layout is None or layout.name not in ("enter_order", "replace_order"):
        return None
    fields = layout.decode(message)
    is_new = layout.name == "enter_order"
    if protocol == "ouch50":
        token = fields["clordid"]
        replaces = 0 if is_new else fields["orig_user_ref_num"]
        ref, quantity = fields["user_ref_num"], fields["quantity"]
        side, symbol = fields.get("side", ""), fields.get("symbol", "")
    else:
        token = fields["order_token" if is_new else "replacement_order_token_token_14"]
        replaces = 0 if is_new else refs.get(fields["existing_order_token"], 0)
        quantity = fields["shares"]
        side, symbol = fields.get("buy_sell_indicator", ""), fields.get("stock", "")
        refs[token] = ref
    try:
        order_id = order_id_of(token)
    except OuchError:
        return None  # not one of ours: another program shares the session
    price = int(fields["price"] * _SCALE)
    code = ord(side) if side else 0
    return symbol, order_id, code, quantity, price, ref, replaces

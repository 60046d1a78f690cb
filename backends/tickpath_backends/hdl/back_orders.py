"""A session's orders as the hardware writes them, by the wire tables: template, and the reference.

`Session.encode` is what `back_reference.Reference` takes.  OUCH is the tables' own encoder; FIX is
put together from the tables of its parts, BodyLength and CheckSum counted over the bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from tickpath import fix, ouch
from tickpath.config import Fix44Orders
from tickpath.order_template import OrderMessage
from tickpath.order_text import cl_ord_id_of
from tickpath.wire.fix44 import HEAD, TAIL
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND
from tickpath.wire.table import Message
from tickpath_backends.hdl import fix_order
from tickpath_backends.hdl.back_reference import Intent, order_id_of
from tickpath_backends.hdl.profile import PROFILE
from tickpath_backends.hdl.registers import Protocol

_FIX_SIDES = {"B": "1", "S": "2", "T": "5"}


def _side(intent: Intent, is_short: bool) -> str:
    return "B" if not intent.is_sell else "T" if is_short else "S"


@dataclass
class Session:
    """``constants`` is the message with nothing filled in; for FIX the head."""

    protocol: Protocol
    constants: bytes
    names: Mapping[int, str]

    @property
    def template(self) -> int:
        """The entry of `Table.TEMPLATE`."""
        number = int.from_bytes(self.constants, "big")
        if self.protocol is Protocol.FIX44:
            number |= fix_order.constant_sum(self.constants) << 8 * len(self.constants)
        return number

    def encode(self, intent: Intent, is_short: bool, user_ref_num: int) -> bytes:
        """The bytes of an accepted intent's order."""
        if self.protocol is Protocol.FIX44:
            return self._fix44(intent, is_short)
        name = self.names.get(intent.symbol, "")
        price = Decimal(intent.price).scaleb(-4)
        side = _side(intent, is_short)
        if self.protocol is Protocol.OUCH50:
            changed = {
                "user_ref_num": user_ref_num,
                "side": side,
                "quantity": intent.quantity,
                "symbol": name,
                "price": price,
            }
            return self._ouch(OUCH50_INBOUND["enter_order"], "clordid", intent, changed)
        changed = {
            "buy_sell_indicator": side,
            "shares": intent.quantity,
            "stock": name,
            "price": price,
        }
        return self._ouch(OUCH42_INBOUND["enter_order"], "order_token", intent, changed)

    def _ouch(
        self, layout: Message, token: str, intent: Intent, changed: Mapping[str, object]
    ) -> bytes:
        fields = layout.decode(self.constants)
        name = ouch.token_of(order_id_of(intent), fields[token])
        return layout.encode(**{**fields, **changed, token: name})

    def _fix44(self, intent: Intent, is_short: bool) -> bytes:
        at = fix_order.TERMS
        terms = bytearray(fix_order.terms())
        named = {
            "cl_ord_id": cl_ord_id_of(order_id_of(intent), intent.quantity),
            "side": _FIX_SIDES[_side(intent, is_short)],
            "order_qty": f"{intent.quantity:06}",
        }
        for name, text in named.items():
            field = at[name]
            terms[field.offset : field.offset + field.size] = text.encode("ascii")
        whole, decimals = divmod(intent.price, 10_000)
        price = fix_order.SOH + fix.tag("price") + b"%06d.%04d" % (whole, decimals)
        behind = terms + self.names.get(intent.symbol, "").encode("ascii") + price
        head, tail = bytearray(self.constants), bytearray(fix.tail())
        first = HEAD["msg_type_tag"].offset + len(fix_order.SOH)
        last = TAIL["check_sum_tag"].offset + len(fix_order.SOH)
        length = len(head) - first + len(behind) + last
        numbers = {"body_length": f"{length:03}", "msg_seq_num": "0" * HEAD["msg_seq_num"].size}
        for name, text in {**numbers, "sending_time": fix.NO_TIME}.items():
            head[HEAD[name].offset : HEAD[name].offset + HEAD[name].size] = text.encode("ascii")
        summed = sum(head + behind + tail[:last]) & 0xFF
        place = TAIL["check_sum"]
        tail[place.offset : place.offset + place.size] = b"%03d" % summed
        return bytes(head + behind + tail)


def session(protocol: Protocol, names: Mapping[int, str]) -> Session:
    """An ordinary session of a protocol.  Raises what the software's templates raise."""
    if protocol is Protocol.FIX44:
        options: dict[str, str | int | float] = {"text": "x"}
        settings = Fix44Orders(sender_comp_id="US", target_comp_id="THEM", options=options)
        record = fix.fix44_templates(settings)[OrderMessage.ENTER]
        given = int(record["ord_type"]) - len(fix.tag("ord_type"))
        options["text"] = "x" * (PROFILE.fix_head_bytes - given + 1)
        settings = Fix44Orders(sender_comp_id="US", target_comp_id="THEM", options=options)
        return Session(protocol, fix_order.head(settings), names)
    if protocol is Protocol.OUCH50:
        layout, records = OUCH50_INBOUND, ouch.templates(ouch.Ouch50Session(clordid_prefix="Q"))[1]
    else:
        given42 = ouch.Ouch42Session(firm="LIME", minimum_quantity=7, order_token_prefix="Z")
        layout, records = OUCH42_INBOUND, ouch.templates(given42)[1]
    length = layout["enter_order"].length
    return Session(protocol, bytes(records[OrderMessage.ENTER]["bytes"])[:length], names)

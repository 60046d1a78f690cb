"""ITCH as the DSLX function ``itch_fields`` reads it, for an engine to apply.

Lent packets are copied, and in the copy each message's type and every field that the function
gives are written anew from what it gave: a field that it takes from a wrong place, a length or a
letter that it takes for another are a wrong message to the engine.  What the function knows
nothing of (attributions, match numbers, messages that are nothing to the hardware but their locate
and time) stays as it came, and so does every byte that is not of a message.

What it calls unknown becomes a type that there is not, what it calls malformed a type of another
length, so that the engine counts them as such.  An answer that cannot be, of a type that the
message is too short for, is one of these too.

Of packets the copy is walked as the engine walks them, in a block of state whose counters nobody
reads: the engine counts the same packets behind it.  Sequenced Unit packets and all that is no
market data are lent on unchanged.
"""

from typing import Any

import msgspec
import numpy as np
from numba import njit

from tickpath import frame, itch, span, unit
from tickpath.config import Capacity, Config
from tickpath.jit import INNER, leaf
from tickpath.layout import FeedFormat, engine
from tickpath.lent import packet
from tickpath.memory import copy_bytes, lend_run, load_u8, store_u8, wire_store
from tickpath.packet import LINK_DATAGRAM, LINK_MESSAGES, PACKET
from tickpath.state import Block
from tickpath.wire import moldudp64
from tickpath.wire.hot import peek
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath_backends.hdl.compiled import Compiled
from tickpath_backends.hdl.profile import PROFILE, Kind, Op

_SMALLEST = Capacity(symbols=2, orders=2048, sparse_orders=1024, overflow_levels=2048, trades=1024)
ZERO, ONE = np.uint64(0), np.uint64(1)
_LONGEST = np.uint64(PROFILE.message_bytes)
_TIME = ITCH50["system_event"]["timestamp"].offset
_set_time_high = wire_store(16, _TIME, True)
_set_time_low = wire_store(32, _TIME + 2, True)
_SHIFT, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_message_count = peek(MOLDUDP64["downstream_packet"], "message_count")
_END = np.uint64(moldudp64.END_OF_SESSION)
_MESSAGES, _DATAGRAM = np.uint64(LINK_MESSAGES), np.uint64(LINK_DATAGRAM)
_AUTO, _PITCH = np.uint64(FeedFormat.AUTO), np.uint64(FeedFormat.PITCH)
_ENDLESS = np.uint64((1 << 64) - 1)

_LENGTHS = np.array(
    [ITCH50.by_type[chr(n)].length if chr(n) in ITCH50.by_type else 0 for n in range(256)],
    np.uint64,
)
_NO_TYPE = ZERO
assert _LENGTHS[0] == 0
_OPERATION, _ACTION = np.uint64(Kind.OPERATION), np.uint64(Kind.TRADING_ACTION)
_DIRECTORY, _EVENT = np.uint64(Kind.DIRECTORY), np.uint64(Kind.SYSTEM_EVENT)
_OTHER, _MALFORMED = np.uint64(Kind.OTHER), np.uint64(Kind.MALFORMED)
_UNKNOWN, _SIDE_INVALID = np.uint64(Kind.UNKNOWN), np.uint64(Kind.SIDE_INVALID)
_ADD, _EXECUTE, _CANCEL = np.uint64(Op.ADD), np.uint64(Op.EXECUTE), np.uint64(Op.CANCEL)
_DELETE, _REPLACE = np.uint64(Op.DELETE), np.uint64(Op.REPLACE)
_BUY, _SELL = np.uint64(ord("B")), np.uint64(ord("S"))
_YES, _NO = np.uint64(ord("Y")), np.uint64(ord("N"))
_HARDWARES = np.zeros(256, np.bool_)
"""Types that are more to the hardware than `Kind.OTHER`."""
for _each in (
    *(itch.add_order, itch.add_order_mpid, itch.executed, itch.executed_price, itch.cancel),
    *(itch.delete, itch.replace, itch.trading_action, itch.stock_directory, itch.system_event),
):
    _HARDWARES[_each.TYPE] = True


@leaf
def _type_of_operation(op, length):
    """Of the types with one operation, the one of this length; none fits: the engine will say."""
    if op == _ADD:
        is_plain = length == itch.add_order.LENGTH
        return itch.add_order.TYPE if is_plain else itch.add_order_mpid.TYPE
    if op == _EXECUTE:
        is_plain = length == itch.executed.LENGTH
        return itch.executed.TYPE if is_plain else itch.executed_price.TYPE
    if op == _CANCEL:
        return itch.cancel.TYPE
    if op == _DELETE:
        return itch.delete.TYPE
    return itch.replace.TYPE if op == _REPLACE else _NO_TYPE


@njit(**INNER)
def _type_of(kind, op, given, length):
    """The type that says to the engine what the function said."""
    if kind == _OPERATION:
        return _type_of_operation(op, length)
    if kind == _SIDE_INVALID:
        return _type_of_operation(_ADD, length)
    if kind == _ACTION:
        return itch.trading_action.TYPE
    if kind == _DIRECTORY:
        return itch.stock_directory.TYPE
    if kind == _EVENT:
        return itch.system_event.TYPE
    if kind == _OTHER:
        return _NO_TYPE if _HARDWARES[given] else given
    if kind == _MALFORMED:
        is_it = length == itch.delete.LENGTH
        return itch.system_event.TYPE if is_it else itch.delete.TYPE
    return _NO_TYPE


def _fields_with(function: Compiled) -> Any:
    """``fields(m, kind, type)``: what the function gave, into a message of a type."""
    out, at = function.output, function.result

    @njit(**INNER)
    def add(m, kind):
        side = _SELL if out.is_sell(at) != ZERO else _BUY
        itch.add_order.set_buy_sell_indicator(m, ZERO if kind == _SIDE_INVALID else side)
        itch.add_order.set_order_reference_number(m, out.order_ref(at))
        itch.add_order.set_price(m, out.price(at))
        itch.add_order.set_shares(m, out.shares(at))
        itch.add_order.set_stock(m, out.stock(at))

    @njit(**INNER)
    def operation(m, type_code):
        reference, shares = out.order_ref(at), out.shares(at)
        if type_code == itch.executed.TYPE:
            itch.executed.set_order_reference_number(m, reference)
            itch.executed.set_executed_shares(m, shares)
        elif type_code == itch.executed_price.TYPE:
            itch.executed_price.set_order_reference_number(m, reference)
            itch.executed_price.set_executed_shares(m, shares)
            itch.executed_price.set_execution_price(m, out.price(at))
            printable = _YES if out.is_print(at) != ZERO else _NO
            itch.executed_price.set_printable(m, printable)
        elif type_code == itch.cancel.TYPE:
            itch.cancel.set_order_reference_number(m, reference)
            itch.cancel.set_canceled_shares(m, shares)
        elif type_code == itch.delete.TYPE:
            itch.delete.set_order_reference_number(m, reference)
        elif type_code == itch.replace.TYPE:
            itch.replace.set_original_order_reference_number(m, reference)
            itch.replace.set_new_order_reference_number(m, out.new_order_ref(at))
            itch.replace.set_price(m, out.price(at))
            itch.replace.set_shares(m, shares)

    @njit(**INNER)
    def fields(m, kind, type_code):
        itch.system_event.set_stock_locate(m, out.stock_locate(at))
        _set_time_high(m, out.ts_event(at) >> _SHIFT)
        _set_time_low(m, out.ts_event(at) & _LOW)
        if type_code == itch.add_order.TYPE or type_code == itch.add_order_mpid.TYPE:
            add(m, kind)
        elif kind == _OPERATION:
            operation(m, type_code)
        elif kind == _ACTION:
            itch.trading_action.set_stock(m, out.stock(at))
            itch.trading_action.set_trading_state(m, out.state(at))
        elif kind == _DIRECTORY:
            itch.stock_directory.set_stock(m, out.stock(at))
        elif kind == _EVENT:
            itch.system_event.set_event_code(m, out.state(at))

    return fields


def _message_with(function: Compiled) -> Any:
    """``message(m, length)``: one message in place, as the function reads it."""
    vector, length_in = function.inputs[0], function.inputs[1]
    del vector  # longer than a number: its bytes are stored one by one
    size = function.frame.inputs[0].dtype["value"].itemsize
    assert size >= PROFILE.message_bytes
    # A message stands in its vector backwards: its first byte is the highest.
    first = function.at[0] + _LONGEST - ONE
    a_length, call, out, a_out = function.at[1], function.call, function.output, function.result
    arguments = function.arguments
    fields = _fields_with(function)
    zero, last = np.uint64(0), np.int64(0)

    @njit(**INNER)
    def message(m, length):
        for n in range(_LONGEST):
            store_u8(first - n, load_u8(m + n) if n < length else zero)
        length_in.set_value(a_length, length)
        call(arguments[0], arguments[1], arguments[2], zero, zero, zero, last)
        kind = out.kind(a_out)
        type_code = _type_of(kind, out.op(a_out), load_u8(m), length)
        itch.system_event.set_message_type(m, type_code)
        is_said = (kind != _UNKNOWN) & (kind != _MALFORMED)
        if is_said and _LENGTHS[type_code] == length:
            fields(m, kind, type_code)

    return message


def decoder(function: Compiled) -> Any:
    """``decode(eng, packets, number, copy)``, which `Decoder` calls: see the module's head."""
    message = _message_with(function)

    @njit(**INNER)
    def run(at, end, left):
        while left != ZERO and at + span.PREFIX <= end:
            length = span.mold_length(at)
            following = at + span.PREFIX + length
            if following > end:
                return
            if length != ZERO:
                message(at + span.PREFIX, length)
            at = following
            left -= ONE

    @njit(**INNER)
    def datagram(eng, start, end):
        chosen = engine.feed_format(eng)
        is_pitch = unit.is_unit(start, end) if chosen == _AUTO else chosen == _PITCH
        begin = start + span.MOLD_HEADER
        if is_pitch or begin > end:
            return
        number = _message_count(start)
        run(begin, end, ZERO if number == _END else number)

    @njit(**{**INNER, "no_cpython_wrapper": False})
    def decode(eng, packets, number, copy):
        for _ in range(number):
            address, length = packet.address(packets), packet.length(packets)
            link = packet.link(packets)
            copy_bytes(copy, address, length)
            packet.set_address(packets, copy)
            lend_run(copy, copy + length)
            if link == _MESSAGES:
                run(copy, copy + length, _ENDLESS)
            elif link == _DATAGRAM:
                datagram(eng, copy, copy + length)
            else:
                start, end, _, _ = frame.payload(eng, link, copy, length)
                if start != ZERO:
                    datagram(eng, start, end)
            packets += packet.SIZE
            copy += length

    return decode


class Decoder:
    """Makes lent packets into decoded ones, in memory of its own."""

    def __init__(self, function: Compiled, config: Config) -> None:
        """``function`` is ``itch_fields``; of the configuration the feed's format counts."""
        self._function = function
        self._decode = decoder(function)
        self._block = Block(msgspec.structs.replace(Config(), capacity=_SMALLEST, feed=config.feed))
        self._copy = np.zeros(0, np.uint8)
        self._made = np.zeros(0, PACKET)
        self._of = (0, 0, 0)
        """The lent packets that the decoded ones are of: address, number, and where to go on."""

    def packets(self, lent: np.ndarray, first: int) -> np.ndarray:
        """``lent`` with packets from number ``first`` on decoded; valid until the next call."""
        if (lent.ctypes.data, len(lent), first) == self._of:
            return self._made
        made = lent.copy()
        rest = made[first:]
        length = int(rest["length"].sum(dtype=np.uint64))
        if length > len(self._copy):
            self._copy = np.zeros(length, np.uint8)
        self._decode(
            self._block.address,
            np.uint64(rest.ctypes.data),
            np.uint64(len(rest)),
            np.uint64(self._copy.ctypes.data),
        )
        self._made = made
        return made

    def stopped_at(self, lent: np.ndarray, reached: int) -> None:
        """Where the engine went to: the rest of the same packets will be asked for again."""
        goes_on = 0 < reached < len(lent)
        self._of = (lent.ctypes.data, len(lent), reached) if goes_on else (0, 0, 0)

"""The market's ITCH messages said in PITCH 2.41, one by one: the same market on another venue.

`convert` writes at most one PITCH message for one of ITCH; `translate` makes runs of them,
`pitch_packets` packets.  PITCH has no directory, market makers, circuit breakers, collars or IPO
notices: nothing is said of them.  In a pause orders are accepted for queuing, an operational halt
is a suspension by the exchange, and a status says both trading status and Reg SHO.
"""

import numpy as np

from tickpath.generate import pitch_live
from tickpath.generate.pace import SECOND
from tickpath.generate.pitch_forms import LARGEST_32, begin
from tickpath.generate.pitch_orders import say_add, say_cancel, say_delete, say_replace
from tickpath.generate.pitch_state import issue, live, translation
from tickpath.generate.pitch_trades import say_break, say_cross, say_executed, say_trade
from tickpath.generate.state import inner
from tickpath.generate.templates import HEADER, PREFIX
from tickpath.jit import entry, leaf
from tickpath.memory import lend_message, lend_run
from tickpath.wire import hot
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath.wire.pitch241 import PITCH241

block = hot.message(MOLDUDP64["message_block"])
header = hot.message(HEADER)
system_event = hot.message(ITCH50["system_event"])
_add = hot.message(ITCH50["add_order_no_mpid_attribution"])
_attributed = hot.message(ITCH50["add_order_with_mpid_attribution"])
_executed = hot.message(ITCH50["order_executed"])
_priced = hot.message(ITCH50["order_executed_with_price"])
_cancel = hot.message(ITCH50["order_cancel"])
_delete = hot.message(ITCH50["order_delete"])
_replace = hot.message(ITCH50["order_replace"])
_hidden = hot.message(ITCH50["non_cross_trade"])
_cross = hot.message(ITCH50["cross_trade"])
_broken = hot.message(ITCH50["broken_trade"])
_imbalance = hot.message(ITCH50["net_order_imbalance_indicator"])
_retail = hot.message(ITCH50["retail_interest"])
_action = hot.message(ITCH50["stock_trading_action"])
_reg_sho = hot.message(ITCH50["reg_sho_short_sale_price_test_restricted_indicator"])
_operational = hot.message(ITCH50["operational_halt"])
time_message = hot.message(PITCH241["time"])
end_of_session = hot.message(PITCH241["end_of_session"])
_trading_status = hot.message(PITCH241["trading_status"])
_auction_update = hot.message(PITCH241["auction_update"])
_rpi = hot.message(PITCH241["retail_price_improvement"])

_TWO_BLANKS = np.uint64(0x2020)
_HALTED = np.uint64(ord("H"))
_PAUSED = np.uint64(ord("P"))
_QUEUING = np.uint64(ord("A"))
_SUSPENDED = np.uint64(ord("S"))
_NO_TEST = np.uint64(ord("0"))
_TEST = np.uint64(ord("1"))
_BUY = np.uint64(ord("B"))
_SELL = np.uint64(ord("S"))
_SECOND = np.uint64(SECOND)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_END_OF_MESSAGES = np.uint64(ord("C"))
LONGEST = max(each.length for each in PITCH241.messages)
"""Bytes of the longest message."""


@inner
def _say_imbalance(t, y, m, out, offset):
    paired, more = _imbalance.paired_shares(m), _imbalance.imbalance_shares(m)
    direction = _imbalance.imbalance_direction(m)
    buys = paired + (more if direction == _BUY else _ZERO)
    sells = paired + (more if direction == _SELL else _ZERO)
    length = begin(t, out, _auction_update.LENGTH, _auction_update.TYPE, offset)
    _auction_update.set_symbol_extended(out, issue.stock(y))
    _auction_update.set_auction_type(out, _imbalance.cross_type(m))
    _auction_update.set_reference_price(out, _imbalance.current_reference_price(m))
    _auction_update.set_buy_shares(out, min(buys, LARGEST_32))
    _auction_update.set_sell_shares(out, min(sells, LARGEST_32))
    _auction_update.set_indicative_price(out, _imbalance.near_price(m))
    _auction_update.set_auction_only_price(out, _imbalance.far_price(m))
    return length


@inner
def _say_status(t, y, out, offset):
    status = issue.trading_state(y) if issue.operational(y) == _ZERO else _SUSPENDED
    issue.set_trading_status(y, status)
    length = begin(t, out, _trading_status.LENGTH, _trading_status.TYPE, offset)
    _trading_status.set_symbol_extended(out, issue.stock(y))
    _trading_status.set_trading_status(out, status)
    _trading_status.set_reg_sho_action(out, issue.reg_sho_action(y))
    _trading_status.set_padding(out, _TWO_BLANKS)
    return length


@inner
def _say_about_symbol(t, y, m, out, offset, code):
    if code == _action.TYPE:
        state = _action.trading_state(m)
        issue.set_trading_state(y, _QUEUING if state == _PAUSED else state)
        return _say_status(t, y, out, offset)
    if code == _operational.TYPE:
        halts = _operational.operational_halt_action(m) == _HALTED
        issue.set_operational(y, _ONE if halts else _ZERO)
        return _say_status(t, y, out, offset)
    if code == _reg_sho.TYPE:
        tested = _TEST if _reg_sho.reg_sho_action(m) != _NO_TEST else _NO_TEST
        if tested == issue.reg_sho_action(y):
            return _ZERO
        issue.set_reg_sho_action(y, tested)
        return _say_status(t, y, out, offset)
    if code == _imbalance.TYPE:
        return _say_imbalance(t, y, m, out, offset)
    if code == _retail.TYPE:
        length = begin(t, out, _rpi.LENGTH, _rpi.TYPE, offset)
        _rpi.set_symbol(out, issue.stock(y))
        _rpi.set_retail_price_improvement(out, _retail.interest_flag(m))
        return length
    return _ZERO


@inner
def convert(t, m, out, offset):
    """Say the ITCH message at ``m`` at ``out``, ``offset`` ns into its second; its length or 0.

    The message is one about a symbol.
    """
    code, locate = header.message_type(m), header.stock_locate(m)
    y = issue.at(t, locate - _ONE)
    if code == _add.TYPE or code == _attributed.TYPE:
        return say_add(t, y, m, out, offset, code)
    if code == _delete.TYPE:
        return say_delete(t, m, out, offset)
    if code == _replace.TYPE:
        return say_replace(t, m, out, offset)
    if code == _executed.TYPE or code == _priced.TYPE:
        return say_executed(t, y, locate, m, out, offset, code)
    if code == _cancel.TYPE:
        return say_cancel(t, m, out, offset)
    if code == _hidden.TYPE:
        return say_trade(t, y, locate, m, out, offset)
    if code == _cross.TYPE:
        return say_cross(t, y, locate, m, out, offset)
    if code == _broken.TYPE:
        return say_break(t, m, out, offset)
    return _say_about_symbol(t, y, m, out, offset, code)


@inner
def say_time(t, out, second):
    """A time message; its length."""
    length = begin(t, out, time_message.LENGTH, time_message.TYPE, _ZERO)
    time_message.set_time(out, second)
    return length


@inner
def say_end(t, out, offset):
    """The end of the session; its length."""
    return begin(t, out, end_of_session.LENGTH, end_of_session.TYPE, offset)


@leaf
def is_end(m):
    """True for the ITCH message that ends the session."""
    return (header.message_type(m) == system_event.TYPE) & (
        system_event.event_code(m) == _END_OF_MESSAGES
    )


# ---------------------------------------------------------------- runs


@entry
def translate(t, at, end, out):
    """The ITCH messages in ``[at, end)`` as one run of PITCH at ``out``; the run's end.

    A time message stands wherever the second changes, as if all symbols were one unit's.
    """
    lend_message(at, end)
    lend_run(at, end)
    while at < end:
        m = at + PREFIX
        at = m + block.message_length(at)
        time = header.timestamp(m)
        second = time // _SECOND
        offset, is_last = time - second * _SECOND, is_end(m)
        if header.stock_locate(m) == _ZERO and not is_last:
            continue
        lead = _ZERO if second == translation.second(t) else time_message.LENGTH
        if is_last:
            length = say_end(t, out + lead, offset)
        else:
            length = convert(t, m, out + lead, offset)
        if length == _ZERO:
            continue
        if lead != _ZERO:
            say_time(t, out, second)
            translation.set_second(t, second)
        out += lead + length
    return out


@entry
def order_ids(t, references):
    """Replace the market's references, ``int64[n]``, by the identifiers that PITCH says."""
    for index in range(references.size):
        o = pitch_live.find(t, np.uint64(references[index]))
        references[index] = -1 if o == _ZERO else np.int64(live.order_id(o))

"""Executor ``fpga-hls``: decode, trigger, gate and encoder are the DSLX functions, compiled.

Packets and books are the engine's.  Messages of ITCH come to it as the DSLX function
``itch_fields`` reads them (`hdl.dslx_decode`).  In the place of the profile's strategy stands one
that takes each new top of book through the DSLX functions ``trigger_step``, ``risk_step`` and
``ouch50_encode``, ``ouch42_encode`` or ``fix44_encode`` (`hdl.aot`) and writes the order into the
engine's send buffer itself: neither the engine's gate nor its encoder sees it.  What the functions
hand from one message to the next (exposures, buckets) stands in the strategy's cells behind the
profile's own, so that snapshots have it; nothing is released, because nobody answers orders.
Beside that every operation on a book of the profile goes through the DSLX book steps, and every
print through the DSLX indicators; best prices, sizes and indicators are compared with the engine's
(`hdl.dslx_book`, `hdl.dslx_indicators`), and one that differs is a finding.

The same profile gives the same orders, byte for byte, and the same refusals by check as on the
software executor.  Not equal are the state digest (own orders and the gate's state are in other
places), which of a check's codes a refusal is counted under, numbers in FIX, which have leading
zeros (`hdl.fix_order`), and what is not there: an audit, soft levels.
"""

from typing import Any

import msgspec
import numpy as np
from numba import njit

from tickpath import event, fix, stamps, view
from tickpath.backend import BackendError
from tickpath.config import Config
from tickpath.counters import Counter
from tickpath.engine import Engine
from tickpath.jit import leaf
from tickpath.layout import MAX_INTENTS, count, egress, engine, reject
from tickpath.layout import book as book_record
from tickpath.memory import load_u8, store_u8, store_u64
from tickpath.order_template import OrderMessage
from tickpath.profile import (
    CAPACITIES,
    Check,
    Profile,
    gate_limits,
    symbol_limits,
    trigger_parameters,
)
from tickpath.profile_config import CHECKS, ORDER
from tickpath.profile_trigger import (
    CELLS,
    ROW,
    ROWS,
    Row,
    note_overflows,
    row_of_message,
)
from tickpath.risk import MAX_PRICE, Reject
from tickpath.wire import hot
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath_backends.hdl import dslx_book, dslx_indicators, fix_order, xls
from tickpath_backends.hdl.compiled import Compiled, compiled
from tickpath_backends.hdl.dslx_decode import Decoder
from tickpath_backends.hdl.error import HdlError

_block = hot.message(MOLDUDP64["message_block"])
ZERO, ONE = np.uint64(0), np.uint64(1)
_HELD, _FIRED, _FLAGS = int(Row.HELD), int(Row.FIRED), int(Row.FLAGS)
_GATE_ARRIVAL = CELLS
"""The cell behind the profile's own."""
_LONG, _SHORT, _ARRIVAL = 0, 1, 2
_STATE = 4
"""Cells of a symbol's state, behind the gate's."""
_SIZE = np.uint64((1 << CAPACITIES.level_bits) - 1)
"""Of what is larger only the overflow counts."""
_EXPOSURE = np.uint64((1 << 40) - 1)
_SIGN_SHIFT = np.int64(24)
_INTENTS = np.uint64(MAX_INTENTS)
_MAX_PRICE, _MALFORMED = np.uint64(MAX_PRICE), np.uint64(Reject.MALFORMED)
_COUNT_INTENTS = np.uint64(Counter.INTENTS)
_SENT, _REJECTED = np.uint64(Counter.ORDERS_SENT), np.uint64(Counter.ORDERS_REJECTED)
_TRADING, _TRADING_LATER = ord("T"), 0
_COLLAR = int(Check.PRICE_COLLAR)
_DECIDES = np.array([int(each) for each in ORDER], np.int64)
_CODES = np.array(
    [min(int(code) for code, check in CHECKS.items() if check == each) for each in Check], np.uint64
)
"""The first of the engine's codes for each check, and the checks in the engine's order."""
_ENCODERS = {
    "ouch50": ("ouch", "ouch50_encode"),
    "ouch42": ("ouch", "ouch42_encode"),
    "fix44": ("fix44", "fix44_encode"),
}


def _records(dtype: np.dtype, rows: list[dict[str, int]]) -> np.ndarray:
    records = np.zeros(len(rows), dtype)
    for record, row in zip(records, rows, strict=True):
        for name, value in row.items():
            record[name] = value
    return records


@leaf
def _signed(exposure):
    """An exposure of 40 bits as a number."""
    return (np.int64(exposure) << _SIGN_SHIFT) >> _SIGN_SHIFT


@leaf
def _code_of(failed, price):
    """The engine's code for a verdict: of the first check in the engine's order."""
    if (price == ZERO) | (price > _MAX_PRICE):
        return _CODES[_COLLAR]
    for n in range(len(_DECIDES)):
        if (failed >> np.uint64(_DECIDES[n])) & ONE != ZERO:
            return _CODES[_DECIDES[n]]
    return ZERO


def _judge_with(risk: Compiled, limits: np.ndarray, unknown_trades: bool) -> Any:
    """``judge(eng, book, cells, n, ...)``: the gate; gives (failed, short)."""
    intent, now_in, reference_in, _, _, gate_in, state_in = risk.inputs
    a_intent, a_now, a_reference, _, _, a_gate, a_state = risk.at
    call, out, a_out, table = risk.call, risk.output, risk.result, risk.table
    arguments = risk.arguments
    limits_at, limits_size = np.uint64(limits.ctypes.data), np.uint64(limits.itemsize)
    limits_entry = table + np.uint64(4 * 8)
    zero, last = np.uint64(0), np.int64(0)

    @njit
    def judge(eng, book, cells, n, is_sell, price, quantity, reference):
        at = _GATE_ARRIVAL + 1 + _STATE * n
        state = view.trading_state(eng, book)
        halted = state != _TRADING and not (unknown_trades and state == _TRADING_LATER)
        intent.set_is_sell(a_intent, is_sell)
        intent.set_price(a_intent, price)
        intent.set_quantity(a_intent, quantity)
        now_in.set_value(a_now, engine.engine_time(eng))
        reference_in.set_value(a_reference, reference)
        store_u64(limits_entry, limits_at + np.uint64(n) * limits_size)
        gate_in.set_rate_arrival(a_gate, np.uint64(cells[_GATE_ARRIVAL]))
        state_in.set_is_halted(a_state, np.uint64(halted))
        state_in.set_long_exposure(a_state, np.uint64(cells[at + _LONG]) & _EXPOSURE)
        state_in.set_short_exposure(a_state, np.uint64(cells[at + _SHORT]) & _EXPOSURE)
        state_in.set_rate_arrival(a_state, np.uint64(cells[at + _ARRIVAL]))
        call(arguments[0], arguments[1], arguments[2], zero, zero, zero, last)
        cells[_GATE_ARRIVAL] = np.int64(out.gate_rate_arrival(a_out))
        cells[at + _LONG] = _signed(out.state_long_exposure(a_out))
        cells[at + _SHORT] = _signed(out.state_short_exposure(a_out))
        cells[at + _ARRIVAL] = np.int64(out.state_rate_arrival(a_out))
        return out.verdict_failed(a_out), out.verdict_is_short(a_out)

    return judge


def _length_with(encoder: Compiled, is_fix: bool) -> Any:
    """``length_of()``: of the message that was made last."""
    if is_fix:
        output, a_out = encoder.output, encoder.result

        @njit
        def length_of():
            return np.uint64(output.length(a_out))

        return length_of
    length = np.uint64(len(encoder.frame.output["value"][0]))

    @njit
    def fixed_length():
        return length

    return fixed_length


def _write_with(encoder: Compiled, is_fix: bool) -> Any:
    """``write(eng, book, ...)``: the order's message into the send buffer; False: it has none."""
    order, a_order = encoder.inputs[-2 if is_fix else -1], encoder.at[-2 if is_fix else -1]
    call, a_out = encoder.call, encoder.result
    arguments = encoder.arguments
    length_of = _length_with(encoder, is_fix)
    made = encoder.frame.output
    message = "message" if is_fix else "value"
    assert made.dtype.fields is not None
    # A message stands in its vector backwards: its first byte is the last.
    first = a_out + np.uint64(made.dtype.fields[message][1] + made.dtype[message].itemsize - 1)
    buy, sell, short = np.uint64(ord("B")), np.uint64(ord("S")), np.uint64(ord("T"))
    zero, last = np.uint64(0), np.int64(0)

    @njit
    def write(eng, book, is_sell, is_short, price, quantity):
        side = buy if is_sell == ZERO else (short if is_short != ZERO else sell)
        order.set_order_id(a_order, engine.input_number(eng) * _INTENTS)
        order.set_user_ref_num(a_order, engine.user_ref_num(eng))
        order.set_side(a_order, side)
        order.set_quantity(a_order, quantity)
        order.set_symbol(a_order, book_record.symbol(book_record.at(eng, np.uint64(book))))
        order.set_price(a_order, price)
        call(arguments[0], arguments[1], arguments[2], zero, zero, zero, last)
        length = length_of()
        if length == zero:
            return False
        out = egress.at(eng, engine.egress_used(eng))
        _block.set_message_length(out, length)
        out += _block.LENGTH
        for n in range(length):
            store_u8(out + n, load_u8(first - n))
        stamps.order_sent(eng)
        count(eng, _SENT)
        if engine.orders_wanted(eng) != ZERO:
            used = engine.egress_used(eng) + length + _block.LENGTH
            engine.set_egress_used(eng, used)
            if used > engine.egress_limit(eng):
                engine.set_pause(eng, ONE)
        return True

    return write


def _strategy_with(
    trigger: Compiled, parameters: np.ndarray, judge: Any, write: Any, indicators: Any, follow: Any
) -> Any:
    """The strategy: see the module's head."""
    top, _, held = trigger.inputs
    a_top, _, a_held = trigger.at
    call, fired, a_fired, table = trigger.call, trigger.output, trigger.result, trigger.table
    arguments = trigger.arguments
    rows_at, row_size = np.uint64(parameters.ctypes.data), np.uint64(parameters.itemsize)
    parameters_entry = table + np.uint64(8)
    zero, last = np.uint64(0), np.int64(0)

    @njit
    def hls(eng, book, kind, flags):
        cells = view.state(eng)
        at = row_of_message(eng, cells, book, kind)
        if at == 0:
            return
        n = (at - ROWS) // ROW
        follow(eng, book, cells, n)
        if kind == event.TRADE:
            indicators(eng, book, cells, n)
        bid_px, bid_sz = view.bid_px(eng, book), view.bid_sz(eng, book)
        ask_px, ask_sz = view.ask_px(eng, book), view.ask_sz(eng, book)
        note_overflows(cells, at, bid_px, bid_sz, ask_px, ask_sz)
        top.set_bid_px(a_top, np.uint64(bid_px))
        top.set_bid_sz(a_top, np.uint64(bid_sz) & _SIZE)
        top.set_ask_px(a_top, np.uint64(ask_px))
        top.set_ask_sz(a_top, np.uint64(ask_sz) & _SIZE)
        top.set_orders_overflow(a_top, np.uint64(cells[at + _FLAGS] != 0))
        top.set_window_overflow(a_top, np.uint64(view.is_stale(eng, book)))
        store_u64(parameters_entry, rows_at + np.uint64(n) * row_size)
        held.set_value(a_held, np.uint64(cells[at + _HELD]))
        call(arguments[0], arguments[1], arguments[2], zero, zero, zero, last)
        cells[at + _HELD] = np.int64(fired.holds(a_fired))
        if fired.fires(a_fired) == ZERO:
            return
        cells[at + _FIRED] += 1
        count(eng, _COUNT_INTENTS)
        engine.set_user_ref_num(eng, engine.user_ref_num(eng) + ONE)
        is_sell, price = fired.intent_is_sell(a_fired), fired.intent_price(a_fired)
        quantity, reference = fired.intent_quantity(a_fired), fired.reference_px(a_fired)
        failed, short = judge(eng, book, cells, n, is_sell, price, quantity, reference)
        if failed == ZERO:
            if write(eng, book, is_sell, short, price, quantity):
                return
            code = _MALFORMED  # text cannot say it
        else:
            code = _code_of(failed, price)
        count(eng, _REJECTED)
        r = reject.at(eng, code)
        reject.set_value(r, reject.value(r) + ONE)

    return hls


class HlsExecutor:
    """Runs lent packets through one `Engine` whose orders the DSLX functions make."""

    def __init__(self, config: Config, *, profile: Profile | None = None, **options: Any) -> None:
        """``options`` as `Engine` has them.  Raises `BackendError`, `ConfigError`."""
        if profile is None:
            raise BackendError("fpga-hls runs a hardware profile and nothing else: give --profile")
        if options.get("on_audit") is not None:
            raise BackendError("fpga-hls: the DSLX gate writes no audit, leave --audit out")
        if config.orders.protocol not in _ENCODERS:
            known = ", ".join(_ENCODERS)
            raise BackendError(f"fpga-hls: orders.protocol: the DSLX encoders write {known}")
        behind = CELLS + 1 + _STATE * len(profile.symbols)
        self._indicators_at = behind
        self._book_at = behind + dslx_indicators.cells_of(len(profile.symbols))
        cells = self._book_at + dslx_book.cells_of(len(profile.symbols))
        strategy = msgspec.structs.replace(config.strategy, cells=cells)
        config = msgspec.structs.replace(config, strategy=strategy)
        try:
            fields = compiled("itch_fields", "itch_fields")
            trigger = compiled("trigger", "trigger_step")
            risk = compiled("risk", "risk_step")
            encoder = compiled(*_ENCODERS[config.orders.protocol])
            vwap, undo = compiled("indicators", "vwap_step"), compiled("indicators", "vwap_undo")
            average = compiled("indicators", "ema_step")
            self._shadow = dslx_book.Shadow(len(profile.symbols), self._book_at)
        except HdlError as error:
            raise BackendError(f"fpga-hls: {error}") from None
        self._functions = trigger, risk, encoder, vwap, undo, average
        """Their memory, which lives as long as the executor does."""
        names = [*profile.symbols]
        self._parameters = _records(
            trigger.frame.inputs[1].dtype, [trigger_parameters(profile, each) for each in names]
        )
        self._limits = _records(
            risk.frame.inputs[4].dtype, [symbol_limits(profile, each) for each in names]
        )
        for name, value in gate_limits(profile).items():
            risk.frame.inputs[3][name] = value
        unknown_trades = profile.gate.unknown_trading_state == "trade"
        judge = _judge_with(risk, self._limits, unknown_trades)
        is_fix = config.orders.protocol == "fix44"
        write = _write_with(encoder, is_fix)
        for name, value in dslx_indicators.divisor_of(config.indicators.ema_window).items():
            average.frame.inputs[1][name] = value
        indicators = dslx_indicators.indicators_with(vwap, undo, average, behind)
        options["strategy"] = _strategy_with(
            trigger, self._parameters, judge, write, indicators, self._shadow.follow
        )
        self.engine = Engine(config, **options)
        self._decoder = Decoder(fields, config)
        template = encoder.frame.inputs[0]["value"][0]
        raw = bytes(self.engine.block.template[OrderMessage.ENTER]["bytes"])[: len(template)]
        if is_fix:
            raw = self._constants(encoder, config)
        template[:] = np.frombuffer(raw[::-1], np.uint8)

    @staticmethod
    def _constants(encoder: Compiled, config: Config) -> bytes:
        """A FIX session's head; its sum, and the time that no session has stamped, are set."""
        try:
            head = fix_order.head(config.orders.fix44)
        except HdlError as error:
            raise BackendError(f"fpga-hls: {error}") from None
        _, constant_sum, _, stamp = encoder.frame.inputs
        constant_sum["value"] = fix_order.constant_sum(head)
        stamp["sending_time"][0] = np.frombuffer(fix.NO_TIME.encode()[::-1], np.uint8)
        return head

    def add_result(self, result: dict[str, Any]) -> None:
        """What went through book steps and indicators, and whether anything came out another."""
        cells = self.engine.block.cell["value"]
        seen = dslx_indicators.result_of(cells, self._indicators_at)
        result["indicators"] = seen
        book = result["book_steps"] = dslx_book.result_of(cells, self._book_at)
        if book["different"]:
            result["findings"].append(
                f"fpga-hls: best prices or sizes of {book['different']:,} symbols by the book "
                "steps of DSLX were others than the engine's"
            )
        if seen["different"]:
            result["findings"].append(
                f"fpga-hls: after {seen['different']:,} of {seen['prints'] + seen['broken']:,} "
                "prints the indicators of DSLX were others than the engine's"
            )

    @staticmethod
    def why_not() -> str | None:
        """It needs what compiles DSLX."""
        return xls.why_not()

    def run(self, packets: np.ndarray, first: int) -> int:
        """Take lent packets from number ``first`` on; gives the number to go on with."""
        reached = self.engine.advance(self._decoder.packets(packets, first), first)
        self._decoder.stopped_at(packets, reached)
        return reached

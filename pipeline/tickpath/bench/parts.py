"""Single parts of the pipeline as contestants: encoding an order, and the risk gate.

They run in a small loop over the pipeline's own functions, with everything in the nearest caches,
so they say what the instructions cost; in the pipeline an order also pays for cache misses.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import partial

import numpy as np

from tickpath import boe, fix, view
from tickpath.bench import kernels
from tickpath.bench.error import BenchError
from tickpath.bench.held import HeldSession
from tickpath.bench.lines import Lines
from tickpath.bench.turns import Outcome, timed
from tickpath.config import Boe23Orders, Config, Fix44Orders, Risk
from tickpath.engine import Engine
from tickpath.order_text import cl_ord_id_of
from tickpath.ouch import (
    NAMES,
    OrderMessage,
    OrderProtocol,
    Ouch50Session,
    ouch50_templates,
    token_of,
)
from tickpath.risk import Reject
from tickpath.wire import appendage, fix44
from tickpath.wire import boe as boe_wire
from tickpath.wire.ouch50 import OUCH50_INBOUND

ORDERS = 1_000_000
"""Messages encoded, or verdicts given, in one run."""
CASES = 1_024
SHARES = 100
SYMBOL = "AAPL"
OUTSIDE_COLLAR = 2
"""A buy at so many times the best offer is beyond the collar, for offers above its least width."""


def _changing(kind: OrderMessage, n: int) -> dict[str, object]:
    """What the n-th message of a kind says, as `kernels` has it."""
    about: dict[OrderMessage, dict[str, object]] = {
        OrderMessage.ENTER: {"user_ref_num": n + 1, "clordid": token_of(16 * n)},
        OrderMessage.REPLACE: {
            "orig_user_ref_num": n + 1,
            "user_ref_num": n + 2,
            "clordid": token_of(16 * (n + 1)),
        },
        OrderMessage.CANCEL: {"user_ref_num": n + 1},
    }
    return {
        **about[kind],
        "side": "B" if n % 2 == 0 else "S",
        "quantity": kernels.FIRST_QUANTITY + n % kernels.QUANTITIES,
        "symbol": SYMBOL,
        "price": Decimal(kernels.FIRST_PRICE + n % kernels.PRICES * kernels.TICK).scaleb(-4),
    }


class Encode:
    """OUCH 5.0 messages from templates, one after another into a ring that stays in cache."""

    warm_ups = 1

    def __init__(self, kind: OrderMessage, kernel: Callable[..., int], orders: int = ORDERS):
        self._kind, self._kernel = kind, kernel
        self._message = OUCH50_INBOUND[NAMES[kind]]
        self.messages = orders
        self.name = f"encode {self._message.name}"
        self.note = "OUCH 5.0 alone, in cache; compared with the tables' encoder"

    def run(self) -> Outcome:
        session = Ouch50Session()
        templates = ouch50_templates(session)
        ring = np.zeros(kernels.SLOTS * kernels.SLOT_BYTES, np.uint8)
        total, timing = timed(
            self._kernel,
            np.uint64(OrderProtocol.OUCH50),
            np.uint64(templates.ctypes.data),
            np.uint64(ring.ctypes.data),
            np.uint64(self.messages),
            np.uint64(int.from_bytes(SYMBOL.encode().ljust(8), "big")),
        )
        problems = []
        if int(total) != self.messages * int(templates["length"][self._kind]):
            problems.append("not every message was written")
        rows = ring.reshape(kernels.SLOTS, kernels.SLOT_BYTES)
        for n in range(max(0, self.messages - kernels.SLOTS), self.messages):
            expected = self._expected(session, n)
            if rows[n % kernels.SLOTS][: len(expected)].tobytes() != expected:
                problems.append("bytes differ from the tables' encoder")
                break
        return Outcome(timing, ring.tobytes(), tuple(problems))

    def _expected(self, session: Ouch50Session, n: int) -> bytes:
        """The n-th message from the tables."""
        values = {**vars(session), **_changing(self._kind, n)}
        names = [name for name in self._message.by_name if name in values]
        return appendage.encode_message(self._message, {}, **{name: values[name] for name in names})


def _names(n: int) -> dict[str, str]:
    """ClOrdIDs of the n-th new order, and of its replacement by the next one."""
    quantity = kernels.FIRST_QUANTITY + n % kernels.QUANTITIES
    return {
        "enter": cl_ord_id_of(16 * n, quantity),
        "replace": cl_ord_id_of(16 * (n + 1), quantity),
    }


def _boe_expected(kind: OrderMessage, n: int) -> bytes:
    """The n-th BOE message from the tables."""
    says, names = _changing(OrderMessage.ENTER, n), _names(n)
    terms = {"order_qty": says["quantity"], "price": says["price"], "ord_type": "2"}
    if kind is OrderMessage.REPLACE:
        chain = {"cl_ord_id": names["replace"], "orig_cl_ord_id": names["enter"]}
        return boe_wire.encode("modify_order", {**terms, **chain})
    constant = {"capacity": _BOE.capacity, "time_in_force": _BOE.time_in_force}
    said = {"side": "1" if says["side"] == "B" else "2", "symbol": says["symbol"]}
    return boe_wire.encode("new_order", {**terms, **constant, **said, "cl_ord_id": names["enter"]})


def _fix_expected(kind: OrderMessage, n: int) -> bytes:
    """The n-th FIX message from the tables."""
    says, names = _changing(OrderMessage.ENTER, n), _names(n)
    is_new = kind is OrderMessage.ENTER
    chain = {"cl_ord_id": names["enter"]}
    if not is_new:
        chain = {"orig_cl_ord_id": names["enter"], "cl_ord_id": names["replace"]}
    return fix44.encode(
        "new_order_single" if is_new else "order_cancel_replace_request",
        msg_seq_num=fix.NO_SEQ_NUM,
        sending_time=fix.NO_TIME,
        sender_comp_id=_FIX.sender_comp_id,
        target_comp_id=_FIX.target_comp_id,
        handl_inst=_FIX.handl_inst,
        order_capacity=_FIX.order_capacity,
        time_in_force=_FIX.time_in_force,
        ord_type="2",
        **chain,
        side="1" if says["side"] == "B" else "2",
        order_qty=says["quantity"],
        symbol=says["symbol"],
        price=says["price"],
        transact_time=fix.NO_TIME,
    )


_BOE = Boe23Orders()
_FIX = Fix44Orders(sender_comp_id="TICKPATH", target_comp_id="EXCHANGE")
_NAMED = {
    "BOE": (partial(boe.boe23_templates, _BOE), _boe_expected, boe.NAMES),
    "FIX": (partial(fix.fix44_templates, _FIX), _fix_expected, fix.NAMES),
}


class EncodeNamed:
    """BOE or FIX messages from templates, one after another into a ring that stays in cache."""

    warm_ups = 1

    def __init__(
        self, protocol: str, kind: OrderMessage, kernel: Callable[..., int], orders: int = ORDERS
    ):
        self._kind, self._kernel = kind, kernel
        self._templates, self._expected, names = _NAMED[protocol]
        self.messages = orders
        self.name = f"encode {protocol} {names[kind]}"
        self.note = f"{protocol} alone, in cache; compared with the tables' encoder"

    def run(self) -> Outcome:
        templates = self._templates()
        ring = np.zeros(kernels.SLOTS * kernels.NAMED_SLOT_BYTES, np.uint8)
        total, timing = timed(
            self._kernel,
            np.uint64(0),
            np.uint64(templates.ctypes.data),
            np.uint64(ring.ctypes.data),
            np.uint64(self.messages),
            np.uint64(int.from_bytes(SYMBOL.encode().ljust(8), "big")),
        )
        problems = []
        last = range(max(0, self.messages - kernels.SLOTS), self.messages)
        expected = {n: self._expected(self._kind, n) for n in last}
        if int(total) != self._length():
            problems.append("not every message was written")
        rows = ring.reshape(kernels.SLOTS, kernels.NAMED_SLOT_BYTES)
        if any(rows[n % kernels.SLOTS][: len(raw)].tobytes() != raw for n, raw in expected.items()):
            problems.append("bytes differ from the tables' encoder")
        return Outcome(timing, int(total), tuple(problems))

    def _length(self) -> int:
        """Bytes of all messages: quantities go round, and prices have as many digits each."""
        lengths = [len(self._expected(self._kind, n)) for n in range(kernels.QUANTITIES)]
        rounds, rest = divmod(self.messages, kernels.QUANTITIES)
        return rounds * sum(lengths) + sum(lengths[:rest])


class Gate:
    """The risk gate on books as they stand after a session; three quarters of orders pass it."""

    name = "risk check"
    note = "the gate alone, all checks, in cache; verdicts compared with those expected"
    warm_ups = 1

    def __init__(self, held: HeldSession, checks: int = ORDERS) -> None:
        # So many orders arrive at one moment that the rates must let them; the day is over by then.
        self._config = Config(
            risk=Risk(
                orders_per_second=1_000_000_000,
                order_burst=1 << 40,
                symbol_orders_per_second=1_000_000_000,
                symbol_order_burst=1 << 40,
                duplicate_window_ms=0,
                trading_hours="any",
            )
        )
        self._engine = Engine(self._config)
        self._engine.process(held.run)
        self._cases, self._expected = self._make_cases()
        self._times = max(1, checks // len(self._cases))
        self.messages = self._times * len(self._cases)

    def _make_cases(self) -> tuple[np.ndarray, np.ndarray]:
        """(orders, the verdict that each must get)."""
        risk, block = self._config.risk, self._engine.block
        best = block.side["best_px"].reshape(-1, 2)
        quoted = (block.side["best"] > 0).reshape(-1, 2).all(axis=1)
        dearest = risk.max_notional * 10_000 / SHARES / OUTSIDE_COLLAR
        within = (best[:, 1] > risk.collar_price * 10_000) & (best[:, 1] <= dearest)
        trading = (block.book["trading_state"] == view.TRADING) & (
            block.book["operational_halt"] == 0
        )
        tight = (best[:, 1].astype(np.int64) - best[:, 0]) * 20 <= best[:, 1]
        after_halt = np.isin(block.book["auction"], (ord("H"), ord("I")))
        free = ~after_halt & ~np.isin(block.book["reg_sho"], (ord("1"), ord("2")))
        books = np.flatnonzero(quoted & within & trading & tight & free)[:CASES]
        if not len(books):
            raise BenchError(
                "no symbol of the session can be traded at its end: take more messages"
            )
        cases = np.zeros(len(books), kernels.CASE)
        cases["book"] = books
        cases["side"] = np.where(books % 2, ord("B"), ord("S"))
        cases["quantity"] = SHARES
        # At the touch of the other side: what a taker sends.
        cases["price"] = np.where(books % 2, best[books, 1], best[books, 0])
        expected = np.full(len(books), int(Reject.ACCEPTED))
        cases["quantity"][1::8] = risk.max_quantity + 1
        expected[1::8] = int(Reject.QUANTITY)
        cases["side"][5::8] = ord("B")
        cases["price"][5::8] = best[books, 1][5::8] * OUTSIDE_COLLAR
        expected[5::8] = int(Reject.PRICE_COLLAR)
        return cases, expected

    def run(self) -> Outcome:
        accepted, timing = timed(
            kernels.check_cases,
            self._engine.block.address,
            np.uint64(self._cases.ctypes.data),
            np.uint64(len(self._cases)),
            np.uint64(self._times),
        )
        problems = []
        wrong = int(np.count_nonzero(self._cases["verdict"] != self._expected))
        if wrong:
            problems.append(f"{wrong} verdicts are not those expected")
        passed = int(np.count_nonzero(self._expected == int(Reject.ACCEPTED)))
        if int(accepted) != passed * self._times:
            problems.append(f"{accepted} orders passed, {passed * self._times} expected")
        return Outcome(timing, int(accepted), tuple(problems))


def parts(held: HeldSession, orders: int = ORDERS) -> list[Encode | EncodeNamed | Gate | Lines]:
    """All of them."""
    return [
        Encode(OrderMessage.ENTER, kernels.encode_enters, orders),
        Encode(OrderMessage.REPLACE, kernels.encode_replaces, orders),
        Encode(OrderMessage.CANCEL, kernels.encode_cancels, orders),
        EncodeNamed("BOE", OrderMessage.ENTER, kernels.encode_boe_news, orders),
        EncodeNamed("BOE", OrderMessage.REPLACE, kernels.encode_boe_replaces, orders),
        EncodeNamed("FIX", OrderMessage.ENTER, kernels.encode_fix_news, orders),
        EncodeNamed("FIX", OrderMessage.REPLACE, kernels.encode_fix_replaces, orders),
        Gate(held, orders),
        Lines(False, orders),
        Lines(True, orders),
    ]

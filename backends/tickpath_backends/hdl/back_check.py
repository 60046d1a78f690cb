"""The back of the chain against its reference: every verdict, every order, every counter.

What the host writes while traffic runs takes effect in one cycle, which its answer tells; so the
reference is exact however accesses and traffic meet.  Effects are applied in the order of the
cycles in which a top, an intent or an order comes to where they count (`_DELAY`).

Which intents the gate's queue drops is foreseen (`Queue`); which orders find no room follows from
when the stream is taken, and is seen by what is missing.  Either stops its symbol's trigger.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from tickpath.layout import MAX_INTENTS
from tickpath.ouch import token_of
from tickpath_backends.hdl import registers
from tickpath_backends.hdl.back_model import Access, Back, Order, Verdict, top_ports
from tickpath_backends.hdl.back_reference import Intent, Reference
from tickpath_backends.hdl.back_reference import Verdict as Expected
from tickpath_backends.hdl.profile import Check
from tickpath_backends.hdl.registers import Protocol, Table

KILL, REF, CLEAR = "kill", "ref", "clear"
_TOPS, _INTENTS, _ORDERS = range(3)
_DELAY: dict[Table | str, tuple[int, int]] = {
    Table.TRIGGER: (_TOPS, 1),
    CLEAR: (_TOPS, 1),
    Table.LIMITS: (_INTENTS, 5),
    Table.GATE: (_INTENTS, 4),
    Table.RELEASE: (_INTENTS, 3),
    Table.TRADING: (_INTENTS, 5),
    KILL: (_INTENTS, 4),
    Table.NAME: (_ORDERS, 1),
    Table.TEMPLATE: (_ORDERS, 0),
    REF: (_ORDERS, 1),
}
"""From the cycle of an access' answer to the first top, verdict or order that it concerns."""
_CAUSES = {"WINDOW_OVERFLOW": "window", "ORDERS_OVERFLOW": "orders", "STALE": "stale"}


class DifferenceError(AssertionError):
    """The hardware and the reference differ; the message says where."""


@dataclass
class Queue:
    """The gate's: one intent in four cycles is checked, up to 64 wait."""

    depth: int = 64
    waiting: int = 0
    last: int = -4
    """Cycle in which one was taken last."""

    def takes(self, cycle: int) -> bool:
        """Whether there is room for an intent of a cycle."""
        while self.waiting and self.last + 4 < cycle:
            self.last += 4
            self.waiting -= 1
        is_free = cycle >= self.last + 4
        if is_free:
            self.last = cycle
            return True  # it, or the first of those that wait, whose place it takes
        if self.waiting == self.depth:
            return False
        self.waiting += 1
        return True


@dataclass
class Session:
    """One run: what is given is noted, what comes out compared by `check`."""

    back: Back
    reference: Reference
    tops: list[tuple[int, Mapping[str, int]]] = field(default_factory=list)
    gaps: list[tuple[int, int | None]] = field(default_factory=list)
    actions: list[tuple[int, int, int, int]] = field(default_factory=list)
    stamps: dict[int, int] = field(default_factory=dict)
    dropped: int = 0
    refused: int = 0
    intents: int = 0
    rescanned: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    latencies: list[int] = field(default_factory=list)
    queue: Queue = field(default_factory=Queue)
    _foreseen: int = 0
    _told: list[tuple[Access, Table | str, Callable[[], None]]] = field(default_factory=list)

    # ------------------------------------------------------------ what is given

    def top(self, at: int, top: Mapping[str, int], stamped: int = 0) -> None:
        """A top of book in so many cycles, 1 or more; its message came ``stamped`` before it."""
        back = self.back
        self.tops.append((back.cycle + at, dict(top)))
        back.at(at - 1, in_next_symbol=top["symbol"])
        back.at(at, **top_ports(top))
        if stamped:
            came = back.cycle + at - stamped & 0xFFFFFFFF
            self.stamps[top["input_number"]] = came
            tag = top["tag"]
            back.at(at - 1, stamp_valid=1, stamp_tag=tag, stamp_cycle=came)

    def gap(self, at: int, symbol: int | None = None) -> None:
        """A declared gap, of a symbol or of all."""
        self.gaps.append((self.back.cycle + at, symbol))
        self.back.at(at, gap_valid=1, gap_all=int(symbol is None), gap_symbol=symbol or 0)

    def action(self, at: int, symbol: int, state: int, number: int) -> None:
        """A trading action of the venue, in front of what its message's successors make."""
        self.actions.append((self.back.cycle + at, symbol, state, number))
        self.back.at(
            at, action_valid=1, action_symbol=symbol, action_state=state, action_number=number
        )

    def tell(self, table: Table, entry: int = 0, **values: int) -> None:
        """Let the host write an entry, beside the traffic."""
        vector = registers.packed(table, values)
        accesses = self.back.access(*self.back.committing(table, entry, vector))
        self._told.append((accesses[-1], table, self._effect(table, entry, values)))

    def kill(self, is_on: bool) -> None:
        """Let the host throw the switch."""
        offset = registers.BY_REGISTER["CONTROL"].offset
        (access,) = self.back.access(Access(offset, int(is_on), True))
        self._told.append((access, KILL, lambda: setattr(self.reference, "killed", is_on)))

    def clear(self, name: str) -> None:
        """Let the host clear a cause of all symbols: a word, then the other."""
        offset, cause = registers.BY_REGISTER[name].offset, _CAUSES[name]
        for word in range(2):
            (access,) = self.back.access(Access(offset + 4 * word, 0xFFFFFFFF, True))
            symbols = slice(32 * word, 32 * word + 32)
            self._told.append((access, CLEAR, partial(self._clear, access, cause, symbols)))

    def _clear(self, access: Access, cause: str, symbols: slice) -> None:
        self.reference.clear(cause, symbols, access.ended)

    def _gap(self, at: int, symbol: int | None) -> None:
        self.reference.now = at
        self.reference.gap(symbol)

    def _effect(self, table: Table, entry: int, values: Mapping[str, int]) -> Callable[[], None]:
        ref = self.reference
        if table is Table.TRIGGER:
            return lambda: ref.trigger(entry, values)
        if table is Table.LIMITS:
            return lambda: ref.limit(entry, values)
        if table is Table.GATE:
            return lambda: ref.gate.update(values)
        if table is Table.TRADING:
            return lambda: ref.action(entry, values["state"])
        if table is Table.RELEASE:
            changes = values.get("long_change", 0), values.get("short_change", 0)
            return lambda: ref.release(entry, *changes)
        raise AssertionError(table)

    # ------------------------------------------------------------ what came out

    def check(self) -> None:
        """Compare all that came out.  Raises `DifferenceError`."""
        made = self._intents()
        verdicts = self.back.verdicts
        self.intents += len(made)
        self._orders(self._verdicts(made, verdicts))
        self.counted["TRADING_ACTIONS"] += len(self.actions)
        self.counted["GAPS"] += len(self.gaps)
        self.tops, self.gaps, self.actions, self._told = [], [], [], []
        verdicts.clear()
        self.back.orders.clear()

    def _effects(self, place: int) -> list[tuple[int, Callable[[], None]]]:
        found = [
            (access.ended + _DELAY[what][1], apply)
            for access, what, apply in self._told
            if _DELAY[what][0] == place
        ]
        assert all(access.response == 0 for access, _, _ in self._told)
        return found

    def _intents(self) -> list[tuple[int, Intent]]:
        # A gap counts for the top of its own cycle.
        due = [*self._effects(_TOPS)]
        due += [(at, partial(self._gap, at, symbol)) for at, symbol in self.gaps]
        due += [(at, partial(self._no_room, at, symbol)) for at, symbol in self._missing()]
        due.sort(key=lambda each: each[0])
        made = []
        full: list[tuple[int, int]] = []
        for at, top in self.tops:
            while due and due[0][0] <= at:
                due.pop(0)[1]()
            while full and full[0][0] <= at:
                self._no_room(*full.pop(0))
            self.reference.now = at
            intent = self.reference.top(top)
            self._count_top(top)
            if intent is not None:
                made.append((at, intent))
                if not self.queue.takes(at + 1):
                    full.append((at + 3, intent.symbol))
                    self._foreseen += 1
        for _, apply in due:
            apply()
        for each in full:
            self._no_room(*each)
        return made

    def _no_room(self, at: int, symbol: int) -> None:
        self.reference.now = at - 1
        self.reference.no_room(symbol)

    def _missing(self) -> list[tuple[int, int]]:
        """Accepted intents without an order: the first cycle that knows, and the symbol."""
        found, orders = [], iter(self.back.orders)
        order = next(orders, None)
        late = 11 if self.back.protocol is Protocol.FIX44 else 2
        for each in self.back.verdicts:
            if not each.is_accepted:
                continue
            number = each.intent >> 16 & (1 << 64) - 1
            if order is not None and token_of(number * MAX_INTENTS)[1:].encode() in order.data:
                order = next(orders, None)
            else:
                found.append((each.cycle + late, each.intent >> 193))
        return found

    def _count_top(self, top: Mapping[str, int]) -> None:
        self.counted["TOPS_RESCANNED"] += top.get("rescanned", 0)
        state = self.reference.symbols[top["symbol"]]
        self.counted["TOPS"] += 1
        self.counted["TOPS_UNUSABLE"] += bool(state.flags) or state.parameters is None

    def _verdicts(
        self, made: list[tuple[int, Intent]], verdicts: list[Verdict]
    ) -> list[tuple[int, Intent, Expected]]:
        due = [*self._effects(_INTENTS)]
        due += [
            (at + _DELAY[Table.TRADING][1] + 1, partial(self.reference.action, *action))
            for at, *action in self.actions
        ]
        due.sort(key=lambda each: each[0])
        judged, waiting = [], iter(made)
        self.counted["INTENTS"] += len(made)
        for got in verdicts:
            while due and due[0][0] <= got.cycle:
                due.pop(0)[1]()
            at, intent = next(waiting, (0, None))
            while intent is not None and intent.vector != got.intent:
                self.dropped += 1
                at, intent = next(waiting, (0, None))
            if intent is None:
                raise DifferenceError(f"cycle {got.cycle}: a verdict on what was no intent")
            expected = self.reference.verdict(intent)
            if got.verdict != expected.vector or got.cycle < at + 7:
                raise DifferenceError(
                    f"cycle {got.cycle}: {intent} of cycle {at}\n  expected {expected}\n"
                    f"  got      {got.verdict:010b}"
                )
            for check in expected.failed:
                self.counted[f"FAILED_{Check(check).name}"] += 1
            self.counted["REFUSED" if expected.failed else "ACCEPTED"] += 1
            judged.append((got.cycle, intent, expected))
        self.dropped += sum(1 for _ in waiting)
        if self.dropped != self._foreseen:
            raise DifferenceError(f"{self.dropped} intents dropped, not {self._foreseen}")
        for _, apply in due:
            apply()
        return judged

    def _orders(self, judged: list[tuple[int, Intent, Expected]]) -> None:
        orders = iter(self.back.orders)
        order: Order | None = next(orders, None)
        lead = 1 + (9 if self.back.protocol is Protocol.FIX44 else 0)
        for at, intent, verdict in judged:
            number = self.reference.user_ref_num
            if verdict.failed:
                self.reference.take_number()
                continue
            expected = self.reference.order(intent, verdict.is_short)
            if order is not None and order.data == expected:
                if order.shown < at + lead:
                    raise DifferenceError(f"cycle {order.shown}: {expected!r} before its verdict")
                self._measure(order, intent)
                order = next(orders, None)
            else:
                self.refused += 1
                self.reference.user_ref_num = number
        if order is not None:
            raise DifferenceError(f"cycle {order.shown}: nobody ordered {order.data!r}")

    def _measure(self, order: Order, intent: Intent) -> None:
        self.counted["ORDERS"] += 1
        self.counted["ORDERS_SENT"] += 1
        self.counted["WORDS_SENT"] += len(order.taken)
        if intent.input_number in self.stamps:
            self.latencies.append(order.taken[0] - self.stamps[intent.input_number])

    def check_counters(self) -> None:
        """Compare the counters and what was measured.  Raises `DifferenceError`."""
        found = self.back.counters()
        expected = {
            **self.counted,
            "INTENTS_DROPPED": self.dropped,
            "ORDERS_DROPPED": self.refused,
        }
        wrong = {
            name: (expected.get(name, 0), value)
            for name, value in found.items()
            if name not in ("CYCLES_HELD", "BUS_ERRORS", "ORDERS_TEXTLESS")
            and value != expected.get(name, 0)
        }
        if wrong:
            raise DifferenceError(f"counters (expected, got): {wrong}")

    def check_states(self) -> None:
        """Compare what is left of every symbol that had limits.  Raises `DifferenceError`."""
        for symbol, state in enumerate(self.reference.symbols):
            if not state.limits:
                continue
            found = self.back.fetch(Table.STATE, symbol)
            got = [found[f"{name}_exposure"] for name in ("long", "short")]
            if [*got, found["rate_arrival"]] != [state.long, state.short, state.arrival]:
                raise DifferenceError(f"symbol {symbol}: expected {state}\n  got {found}")

    def check_latencies(self) -> None:
        """Compare the histogram, all orders having had a stamp.  Raises `DifferenceError`."""
        value, taken = self.back.value, self.latencies
        buckets = registers.HISTOGRAM_BUCKETS
        got = [value("HISTOGRAM", n) for n in range(buckets)]
        sums = [value(f"LATENCY_{name}") for name in ("COUNT", "SUM", "LEAST", "MOST", "OVER")]
        over = sum(each >= buckets for each in taken)
        expected = [len(taken), sum(taken), min(taken), max(taken), over]
        if got != [taken.count(n) for n in range(buckets)] or sums != expected:
            raise DifferenceError(f"latencies: expected {expected}, got {sums}")

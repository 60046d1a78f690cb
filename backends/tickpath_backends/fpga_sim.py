"""Executor ``fpga-sim``: the chain of hdl/rtl in Verilator trades a profile, cycle by cycle.

Orders, refusals and best prices are what came out of the chain; the engine beside it is the chain's
host: it reads the same packets first, tells the chain which stock locate is which symbol and which
groups its lines have, and keeps what only software counts (messages, books, lines, digests).  Words
follow each other without the wire's idle time, at twice the rate of 10 Gb/s, but no frame begins
while many operations wait (`chain_model.MOST_WAITING`); so latencies have the waits behind repairs,
sweeps and rescans, but no longer ones than that many operations make.

The same profile gives the same orders, byte for byte, the same refusals by check, and the same best
prices of the profile's symbols, as long as no book left the hardware: each that did is a finding.
Equal too are the profile's counts.  Orders in FIX have numbers of fixed widths, with leading zeros
(`hdl.fix_order`), where software writes none: the same fields and values.  Rows of best prices are
numbered by inputs, which are messages where no line has a gap.  Frames that are cut are passed on
by the chain before their end is seen, and then stop all triggers; the engine takes nothing of them,
and sees a gap behind them.  So the orders are the same up to the first such frame, which is a
finding.  Not here: an audit, symbols that the profile does not have, latencies in software's
nanoseconds; ``latency_cycles`` has those of the chain.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from tickpath import jit, profile_config, view
from tickpath.backend import BackendError
from tickpath.config import Config
from tickpath.counters import Counter
from tickpath.digest import symbol_number
from tickpath.engine import Engine
from tickpath.generate.packets import GROUP, MAX_PAYLOAD, PORT
from tickpath.memory import copy_bytes, load_u8, store_u8
from tickpath.packet import LINK_ETHERNET, LINK_MESSAGES
from tickpath.profile import Profile
from tickpath.profile_config import CHECKS
from tickpath.profile_trigger import ROW, ROWS, Row, note_overflows, row_of_message
from tickpath.wire.frame import FRAME as HEADERS
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath_backends.hdl import (
    chain_check,
    chain_model,
    parse_reference,
    registers,
    verilated,
)
from tickpath_backends.hdl.chain_model import CLOCK_MHZ, FRAME, Chain
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.parse_flow import frame, packet
from tickpath_backends.hdl.registers import Protocol

PROTOCOLS = {"ouch50": Protocol.OUCH50, "ouch42": Protocol.OUCH42, "fix44": Protocol.FIX44}
LINES, GROUPS = 4, registers.GROUPS
LONGEST = 1_000
"""Bytes of a message that are fed; of those that are longer, none is ITCH's."""
DIFFERENT = (
    *("intents_dropped", "orders_dropped", "orders_textless", "operations_dropped"),
    *("frames_damaged", "frames_lost"),
)
"""Counters that make the chain's orders other than the software's."""
PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "p99_9": 99.9, "p99_99": 99.99}
_CODES = {check: min(c for c, each in CHECKS.items() if each == check) for check in CHECKS.values()}
_MOLD = sum(HEADERS[name].length for name in ("ethernet", "ipv4", "udp"))
_HEAD = _MOLD + MOLDUDP64["downstream_packet"].length
_TOTAL_AT = HEADERS["ethernet"].length + HEADERS["ipv4"]["total_length"].offset
_UDP_AT = _MOLD - HEADERS["udp"].length + HEADERS["udp"]["length"].offset
_SEQUENCE_AT = _MOLD + MOLDUDP64["downstream_packet"]["sequence_number"].offset
_COUNT_AT = _MOLD + MOLDUDP64["downstream_packet"]["message_count"].offset
_BEFORE_IP, _BEFORE_UDP = HEADERS["ethernet"].length, _MOLD - HEADERS["udp"].length
PREFIX = MOLDUDP64["message_block"].length


@njit
def watch(engine, book, kind, flags):
    """The host's strategy: what the profile counts of books, and no order."""
    cells = view.state(engine)
    at = row_of_message(engine, cells, book, kind)
    if at != 0:
        bid_px, bid_sz = view.bid_px(engine, book), view.bid_sz(engine, book)
        ask_px, ask_sz = view.ask_px(engine, book), view.ask_sz(engine, book)
        note_overflows(cells, at, bid_px, bid_sz, ask_px, ask_sz)


@jit.leaf
def _store(address, value, size):
    """A number in network order."""
    for n in range(size):
        store_u8(address + np.uint64(n), np.uint64((value >> (8 * (size - 1 - n))) & 0xFF))


@jit.entry
def _pack(run, length, head, out, frames, sequence, most):
    """Messages behind their lengths as packets in ``out``; gives (frames, messages)."""
    at, used, made, messages, count = 0, 0, 0, 0, 0
    source, target = np.uint64(run), np.uint64(out.ctypes.data)
    begin = 0
    while True:
        size = -1
        if at + PREFIX <= length and messages < most:
            high = np.int64(load_u8(source + np.uint64(at)))
            size = high << 8 | np.int64(load_u8(source + np.uint64(at + 1)))
            if at + PREFIX + size > length:
                size = -1
        taken = min(size, LONGEST)
        if count > 0 and (size < 0 or used - begin - _MOLD + PREFIX + taken > MAX_PAYLOAD):
            frame_at = target + np.uint64(begin)
            _store(frame_at + np.uint64(_TOTAL_AT), used - begin - _BEFORE_IP, 2)
            _store(frame_at + np.uint64(_UDP_AT), used - begin - _BEFORE_UDP, 2)
            _store(frame_at + np.uint64(_SEQUENCE_AT), sequence, 8)
            _store(frame_at + np.uint64(_COUNT_AT), count, 2)
            frames[made].address = frame_at
            frames[made].length = np.uint64(used - begin)
            made += 1
            sequence += count
            count = 0
        if size < 0:
            return made, messages
        if count == 0:
            begin = used
            for n in range(len(head)):
                out[used + n] = head[n]
            used += len(head)
        _store(target + np.uint64(used), taken, 2)
        used += PREFIX
        copy_bytes(target + np.uint64(used), source + np.uint64(at + PREFIX), np.uint64(taken))
        used += taken
        at += PREFIX + size
        count += 1
        messages += 1


class SimExecutor:
    """Runs lent packets through an `Engine`, and then through the Verilated chain."""

    NAME = "fpga-sim"

    def __init__(self, config: Config, *, profile: Profile | None = None, **options: Any) -> None:
        """``options`` as `Engine` has them.  Raises `BackendError`, `ConfigError`."""
        if profile is None:
            why = "runs a hardware profile and nothing else: give --profile"
            raise BackendError(f"{self.NAME} {why}")
        if options.get("on_audit") is not None:
            raise BackendError(f"{self.NAME}: the chain writes no audit, leave --audit out")
        if config.orders.protocol not in PROTOCOLS:
            known = ", ".join(PROTOCOLS)
            raise BackendError(f"{self.NAME}: orders.protocol: the chain writes {known}")
        self.profile = profile
        self._on_orders: Callable[[memoryview], None] | None = options.pop("on_orders", None)
        self._on_bbo: Callable[[Any], None] | None = options.pop("on_bbo", None)
        options["strategy"] = watch
        self.engine = Engine(config, **options)
        self.orders: list[bytes] = []
        """Those that nobody took."""
        protocol = PROTOCOLS[config.orders.protocol]
        try:
            self.chain = self.open_chain(protocol)
            self.chain.program(profile, chain_check.template_of(self.engine, protocol))
        except HdlError as error:
            raise BackendError(f"{self.NAME}: {error}") from None
        self._numbers = {symbol_number(name): n for n, name in enumerate(profile.symbols)}
        self._locates: dict[int, int] = {}
        self._cycles: list[int] = []
        """Of each order from its message's last word to its own first one."""
        self._lines = self._sequence = 0
        self._head = np.frombuffer(frame(packet([], "0000000001", 1), (GROUP, PORT)), np.uint8)

    def open_chain(self, protocol: Protocol) -> Chain:
        """The chain, fresh from reset.  Raises `HdlError`."""
        return Chain(chain_model.library(protocol), protocol)

    @staticmethod
    def why_not() -> str | None:
        """It needs Verilator and a compiler."""
        return verilated.why_not()

    def run(self, packets: np.ndarray, first: int) -> int:
        """Take lent packets from number ``first`` on; gives the number to go on with."""
        reached = self.engine.advance(packets, first)
        # The packet in which a limit was reached is not behind the host; the chain gets all of it.
        taken = packets[first : reached + self.engine.block.get("stopped")]
        try:
            self._tell_chain(taken)
            frames, memory = self._frames_of(taken)
            outcome = self.chain.run(frames)
            del memory
        except HdlError as error:
            raise BackendError(f"{self.NAME}: {error}") from None
        self._take(outcome)
        return reached

    # ------------------------------------------------------------ to the chain

    def _tell_chain(self, packets: np.ndarray) -> None:
        """Symbols' locates and lines' groups that the host has learnt."""
        named = self.engine.block.book["symbol"]
        places = np.flatnonzero(np.isin(named, np.array([*self._numbers], np.uint64)))
        new = {int(b): self._numbers[int(named[b])] for b in places if int(b) not in self._locates}
        if new:
            self.chain.subscribe(new)
            self._locates |= new
        if len(packets) and packets[0]["link"] == LINK_MESSAGES and not self._lines:
            self.chain.listen([(GROUP, PORT, 0)])
            self._lines = 1
            return
        lines = self.engine.block.line[: self.engine.block.get("lines")]
        if len(lines) > self._lines:
            groups = []
            for n, each in enumerate(lines):
                groups.append((int(each["group"]), int(each["port"]), n))
                if each["b_port"]:
                    groups.append((int(each["b_group"]), int(each["b_port"]), n))
            if len(lines) > LINES or len(groups) > GROUPS:
                raise BackendError(f"{self.NAME}: the chain has {LINES} lines and {GROUPS} groups")
            self.chain.listen(groups)
            self._lines = len(lines)

    def _frames_of(self, packets: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Packets as frames, and memory that has to live as long."""
        made = np.zeros(len(packets), FRAME)
        if not len(packets):
            return made, []
        links = set(packets["link"].tolist())
        if links == {LINK_ETHERNET}:
            made["address"], made["length"] = packets["address"], packets["length"]
            return made, []
        if links != {LINK_MESSAGES}:
            raise BackendError(f"{self.NAME}: the chain takes Ethernet frames, or messages of ITCH")
        parts, memory = [], []
        for each in packets:
            length = int(each["length"])
            most = self.engine.messages - self._sequence
            records = np.zeros(length // (MAX_PAYLOAD // 4) + 2, FRAME)
            out = np.empty(length + len(records) * _HEAD + 64, np.uint8)
            count, messages = _pack(
                int(each["address"]), length, self._head, out, records, self._sequence + 1, most
            )
            self._sequence += messages
            parts.append(records[:count])
            memory.append(out)
        return np.concatenate(parts), memory

    # ------------------------------------------------------------ from the chain

    def _take(self, outcome: chain_model.Outcome) -> None:
        """Orders, refusals and best prices; what is behind the host's last input is left out."""
        last = self.engine.block.get("input_number")
        counted = self.engine.block.counter["value"]
        sent = 0
        fired = self.engine.block.cell["value"][ROWS:].reshape(-1)
        causes: list[int] = []
        for row in outcome.verdicts:
            each = chain_model.judged(row)
            if each.input_number > last:
                continue
            counted[Counter.INTENTS] += np.uint64(1)
            fired[ROW * each.symbol + Row.FIRED] += 1
            check = profile_config.decisive(each.failed, each.price)
            if check is None:
                causes.append(int(row["message_cycle"]))
                sent += 1
                continue
            counted[Counter.ORDERS_REJECTED] += np.uint64(1)
            self.engine.block.reject["value"][_CODES[check]] += np.uint64(1)
        counted[Counter.ORDERS_SENT] += np.uint64(sent)
        for cause, order in zip(causes, outcome.orders[:sent], strict=False):
            if cause:
                self._cycles.append(int(order["taken"]) - cause)
        made = chain_check.orders_of(outcome.orders[:sent])
        if self._on_orders is None:
            self.orders += made
        elif made:
            blocks = (len(each).to_bytes(PREFIX, "big") + each for each in made)
            self._on_orders(memoryview(b"".join(blocks)))
        tops = outcome.tops[outcome.tops["input_number"] <= last]
        if self._on_bbo is not None and len(tops):
            locates = np.zeros(len(self._numbers), np.int64)
            for locate, symbol in self._locates.items():
                locates[symbol] = locate
            columns = {
                "seq": tops["input_number"],
                "ts_event": tops["ts_event"],
                "book": locates[tops["symbol"].astype(np.int64)],
                **{name: tops[name] for name in ("bid_px", "bid_sz", "ask_px", "ask_sz")},
            }
            self._on_bbo({name: each.astype(np.int64) for name, each in columns.items()})

    def add_result(self, result: dict[str, Any]) -> None:
        """Latencies in cycles, the chain's counters, and what makes its orders other ones."""
        chain = self.chain
        total, most, summed = (chain.value(f"LATENCY_{n}") for n in ("COUNT", "MOST", "SUM"))
        if len(self._cycles) == total:
            # As they were seen: the registers tell only the first 128 cycles apart.
            counts = np.bincount(np.array(self._cycles or [0]))
        else:
            buckets = range(registers.HISTOGRAM_BUCKETS)
            counts = np.array(chain.values("HISTOGRAM", buckets), np.int64)
        cycles = _summary(counts, total, most, summed)
        result["latency_cycles"] = cycles
        result["latency_at_clock_ns"] = {
            "clock_mhz": CLOCK_MHZ,
            **{
                name: None if value is None else round(value * 1e3 / CLOCK_MHZ, 1)
                for name, value in cycles.items()
                if name != "count"
            },
        }
        counters = {name.lower(): n for name, n in chain.counters().items()}
        result["chain"] = {"cycles": chain.cycle, "counters": counters}
        names = [*self.profile.symbols]
        for n in sorted(chain_check.stopped_by(chain)):
            result["findings"].append(
                f"{self.NAME}: {names[n]} left what the hardware holds (an order is off its grid "
                "or found no room, a level is too large): its trigger stopped"
            )
        for name, n in chain_check.without_room(self.engine).items():
            result["findings"].append(
                f"{self.NAME}: {name.replace('_', ' ')}: {n:,}: the host's books are incomplete, "
                "the chain's are not; give the host more with capacity in --config"
            )
        seen = counters | self._front()
        for name in DIFFERENT:
            if seen[name]:
                what = f"{name.replace('_', ' ')}: {seen[name]:,}"
                result["findings"].append(f"{self.NAME}: {what}")

    def _front(self) -> dict[str, int]:
        """What the front counted of frames, and what found no room in front of the book."""
        places = parse_reference.COUNTERS
        counted = self.chain.values("FRONT_COUNTS", places.values())
        dropped = self.chain.value("BOOK_QUEUE_DROPPED")
        return dict(zip(places, counted, strict=True)) | {"operations_dropped": dropped}


def _summary(counts: np.ndarray, total: int, most: int, summed: int) -> dict[str, Any]:
    """Percentiles of a histogram of a cycle a bucket; beyond its last one, the largest."""
    if not total:
        return {"count": 0, **dict.fromkeys(("min", *PERCENTILES, "max", "mean"))}
    reached = np.cumsum(counts)
    used = np.flatnonzero(counts)

    def at(percent: float) -> int:
        place = int(np.searchsorted(reached, np.ceil(total * percent / 100)))
        return place if place < len(counts) else most

    return {
        "count": total,
        "min": int(used[0]) if len(used) else most,
        **{name: at(percent) for name, percent in PERCENTILES.items()},
        "max": most,
        "mean": round(summed / total, 2),
    }

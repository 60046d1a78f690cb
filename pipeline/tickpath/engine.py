"""The engine as a Python object: feed it bytes, get orders, read books.

    engine = Engine(Config(), strategy=mine)
    engine.feed(messages)             # messages behind 2-byte lengths, cut anywhere
    for order in engine.take_orders():
        ...
    engine.book("AAPL").bids          # NumPy: price, quantity, orders

One engine is one block of memory (`engine.block`); what is read through ``engine.block.order`` and
its like is that memory itself.  State after input N is a function of the configuration and of
inputs 1 to N: `book_digest` and `state_digest` say so in one number each.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickpath import depth
from tickpath.config import Config, check
from tickpath.counters import Counter
from tickpath.digest import VENUE_NAMES, VENUES, symbol_number, symbol_text
from tickpath.follower import Divergence
from tickpath.invoke import explain
from tickpath.layout import LineKind, LineState, Stage
from tickpath.own_orders import State
from tickpath.packet import (
    LINK_COMMANDS,
    LINK_ETHERNET,
    LINK_MESSAGES,
    LINK_NOTHING,
    LINK_RESPONSES,
    PACKET,
)
from tickpath.pipeline import process, whole_messages
from tickpath.publish import note
from tickpath.risk import Reject
from tickpath.scrub import due, slices
from tickpath.state import BBO_COLUMNS, Block
from tickpath.strategy import Strategy, load
from tickpath.wire.control import CONTROL
from tickpath.wire.inputs import Kind
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath.wire.pitch241 import PITCH241

_PREFIX = MOLDUDP64["message_block"].length
ZERO = np.uint64(0)


@dataclass(frozen=True)
class Book:
    """One symbol's book at one moment; ``bids`` and ``asks`` are `depth.DEPTH`, best first."""

    venue: str
    symbol: str
    bids: np.ndarray
    asks: np.ndarray


@dataclass(frozen=True)
class GapRange:
    """Messages that a line missed: ``first`` to ``last``, both included."""

    session: str
    group: str
    first: int
    last: int
    input_number: int


class Engine:
    """Decode, books, strategy, risk and encode over one block of state."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        strategy: Callable[..., Any] | str | None = None,
        on_orders: Callable[[memoryview], None] | None = None,
        on_bbo: Callable[[dict[str, np.ndarray]], None] | None = None,
        on_audit: Callable[[np.ndarray, int], bool] | None = None,
    ) -> None:
        """An empty engine.

        ``strategy`` is a function or ``MODULE:NAME``; it goes before the configuration's.
        ``on_orders`` gets encoded orders, each behind a 2-byte big-endian length, ``on_bbo``
        columns of changed best bids and offers, and ``on_audit`` the gate's decisions
        (`layout.AUDIT`) with the number of those before them that found no room; where it gives
        False they wait, and ``risk.audit_full`` says what happens when there is no more room.  They
        see the engine's own memory, valid during the call.  Without them, orders wait for
        `take_orders`, and the other two are not recorded.

        Raises `ConfigError`, `StrategyError`.
        """
        self.config = config or Config()
        check(self.config)
        chosen = strategy if strategy is not None else self.config.strategy.name
        self.strategy: Strategy | None = None
        if chosen is not None:
            self.strategy = load(chosen) if isinstance(chosen, str) else Strategy(chosen)
        name = self.strategy.name if self.strategy is not None else None
        self.block = Block(self.config, name)
        self._address = self.block.address
        self.on_orders = on_orders
        """Who gets encoded orders as they are made; None: `take_orders`."""
        self._on_audit = on_audit
        self._audit_lost = self._audit_told = 0  # decisions without room: to be told, told of
        self._on_bbo = on_bbo
        self._orders: list[bytes] = []
        self._rest = b""
        self._strategy_error: str | None = None  # of before a restore
        self._slices = slices(self.block)
        self.block.set("scrub_table", int(self._slices.ctypes.data))
        self.block.set("scrub_slices", len(self._slices))
        self.block.set("orders_wanted", 1)
        self.block.set("bbo_wanted", int(on_bbo is not None))
        self.block.set("audit_wanted", int(on_audit is not None))
        if self.strategy is not None:
            self.block.set("strategy", int(self.strategy.address))

    # ------------------------------------------------------------ inputs

    def advance(self, packets: np.ndarray, first: int = 0) -> int:
        """Take lent packets (`PACKET`) through the pipeline from number ``first`` on.

        Gives the number of the next packet: the length of the array when all were taken, less when
        the next one is not due yet (paced replay).  Buffers for Python are emptied on the way.
        """
        address, number = np.uint64(packets.ctypes.data), np.uint64(len(packets))
        at = np.uint64(first)
        while True:
            # A number that has been through Python is an int64 to Numba: another function for it.
            at = np.uint64(process(self._address, address, at, number))
            paused = self.block.get("pause")
            self.empty_buffers()
            if not paused or self.block.get("stopped"):
                return int(at)

    def go_on(self) -> None:
        """Take the packets that waited, after recovery did something about what is missing."""
        self.advance(_nothing(0))

    def pass_time(self, ts_recv: int) -> None:
        """Receive time has come to this without a packet: windows of lines may end."""
        if self.block.get("waiting"):
            self.advance(_nothing(ts_recv))

    def process(self, packets: np.ndarray) -> None:
        """Take all of an array of lent packets through the pipeline."""
        at = 0
        while at < len(packets) and not self.block.get("stopped"):
            at = self.advance(packets, at)

    def feed(self, messages: bytes | bytearray | memoryview) -> None:
        """Messages back to back, each behind a 2-byte big-endian length, cut anywhere.

        The start of a message that is not complete yet waits for the next call.
        """
        chunk = self._rest + bytes(messages) if self._rest else messages
        raw = np.frombuffer(chunk, np.uint8)
        whole = _whole_messages(raw)
        self._rest = raw[whole:].tobytes()
        if whole:
            self.process(_lend(raw, whole, LINK_MESSAGES, 0))

    def feed_packet(
        self, packet: bytes | memoryview, *, link: int = LINK_ETHERNET, ts_recv: int = 0
    ) -> None:
        """One captured packet, from its link layer on."""
        raw = np.frombuffer(packet, np.uint8)
        self.process(_lend(raw, len(raw), link, ts_recv))

    def feed_responses(
        self, messages: bytes | bytearray | memoryview, answered: int | None = None
    ) -> None:
        """Whole messages of an exchange to us, each behind a 2-byte big-endian length.

        ``answered`` is the number that their session gave the last of them, if it gave one: who
        follows this engine knows by it where to go on.
        """
        raw = np.frombuffer(messages, np.uint8)
        if answered is not None:
            self.block.set("answered", answered)
        if len(raw):
            self.process(_lend(raw, len(raw), LINK_RESPONSES, 0))

    def feed_commands(self, messages: bytes | bytearray | memoryview) -> None:
        """Whole operator commands (`wire.control`), each behind a 2-byte big-endian length."""
        raw = np.frombuffer(messages, np.uint8)
        if len(raw):
            self.process(_lend(raw, len(raw), LINK_COMMANDS, 0))

    def command(self, name: str, *, who: str, why: str, **values: Any) -> None:
        """One operator command by its name and fields, at the present engine time.

        Raises `WireError` for a value that does not fit its field.
        """
        values.setdefault("timestamp", self.block.get("engine_time"))
        raw = CONTROL[name].encode(who=who, why=why, **values)
        self.feed_commands(_join([raw]))

    def publish_to(self, address: int | np.uint64, scrub_every: int = 0) -> None:
        """Write every input from here on into a ring (`tickpath.publish`); 0: none.

        The ring at ``address`` has to stay where it is.  Every ``scrub_every`` records the live
        loop, or whoever calls `scrub`, says one slice of the state (`tickpath.scrub`); 0: never.
        """
        self.block.set("publishes", int(address))
        self.block.set("scrub_every", scrub_every)

    def scrub(self) -> None:
        """Say a slice of the state, if one is due."""
        due(self._address)

    def say(self, kind: Kind, text: bytes = b"", value: int = 0) -> None:
        """Put a word of the failover layer into the input stream: EPOCH, NOTE or HOLD.

        A hold's ``value`` has the bits that are in force from here on: the strategy is not called
        while there are any.
        """
        raw = np.frombuffer(text or b"\0", np.uint8)
        note(
            self._address,
            np.uint64(kind),
            np.uint64(value),
            np.uint64(raw.ctypes.data),
            np.uint64(len(text)),
        )

    def begin_to_follow(self) -> None:
        """Wait for nothing on any line: whoever is followed decides what is missing.

        Before the first record behind a snapshot.  What waited here is dropped.
        """
        for name in ("held", "waiting"):
            self.block.set(name, 0)
        self.block.line["held"] = 0
        self.block.line["state"] = LineState.STEADY
        self.block.held_packet["line"] = 0

    @property
    def divergence(self) -> Divergence:
        """Why this engine follows no more; NONE as long as it does."""
        return Divergence(self.block.get("diverged"))

    # ------------------------------------------------------------ outputs

    def empty_buffers(self) -> None:
        """Hand over what waits in the engine's buffers, and let it go on."""
        self.block.set("pause", 0)
        if used := self.block.get("egress_used"):
            waiting = self.block.egress["value"][:used]
            self.block.set("egress_used", 0)
            if self.on_orders is not None:
                self.on_orders(waiting.data)
            else:
                self._orders.extend(_split(waiting.tobytes()))
        if used := self.block.get("audit_used"):
            self._give_audit(used)
        if used := self.block.get("bbo_used"):
            self.block.set("bbo_used", 0)
            if self._on_bbo is not None:
                views = self.block.views
                self._on_bbo(
                    {name[4:]: views[name]["value"].view(np.int64)[:used] for name in BBO_COLUMNS}
                )

    def _give_audit(self, used: int) -> None:
        """Hand the ring's decisions over; what was lost since the last time came after those."""
        lost = int(self.block.counter["value"][Counter.AUDIT_LOST])
        if self._on_audit is None or self._on_audit(self.block.audit[:used], self._audit_lost):
            self.block.set("audit_used", 0)
            self._audit_lost = lost - self._audit_told
            self._audit_told = lost

    def take_orders(self) -> list[bytes]:
        """Encoded order messages since the last call, in order, without their length prefix."""
        taken, self._orders = self._orders, []
        return taken

    # ------------------------------------------------------------ reading

    @property
    def counters(self) -> dict[str, int]:
        """Every counter by name."""
        values = self.block.counter["value"]
        return {each.name.lower(): int(values[each]) for each in Counter}

    @property
    def messages_by_type(self) -> dict[str, int]:
        """Messages by type code, in the specs' order, without those that did not occur.

        ITCH's types are letters, PITCH's numbers, as in ``0x22``.
        """
        values = self.block.type_count["value"]
        names = {code: code for code in ITCH50.by_type}
        names |= {code: f"0x{ord(code):02X}" for code in PITCH241.by_type}
        return {name: int(values[ord(code)]) for code, name in names.items() if values[ord(code)]}

    @property
    def rejects_by_code(self) -> dict[str, int]:
        """Rejected intents by code, without those that did not occur."""
        values = self.block.reject["value"]
        return {each.name: int(values[each]) for each in Reject if values[each]}

    def own_orders(self, *, open_only: bool = False) -> np.ndarray:
        """Own orders as far as they are kept (`layout.OWN`), by user_ref_num."""
        rows = self.block.own[self.block.own["user_ref_num"] > 0]
        if open_only:
            rows = rows[(rows["state"] != State.FREE) & (rows["state"] <= State.PARTIALLY_FILLED)]
        return rows[np.argsort(rows["user_ref_num"])]

    @property
    def messages(self) -> int:
        """Market-data messages so far."""
        return self.block.get("messages")

    @property
    def orders_live(self) -> int:
        """Live orders of the market, over all books."""
        return self.block.get("orders_live")

    @property
    def book_digest(self) -> int:
        """See `tickpath.digest`."""
        return self.block.get("book_digest")

    @property
    def state_digest(self) -> int:
        """64 bits over book digest, own orders, positions, the gate and the strategy's cells."""
        return state_digest(self.block)

    @property
    def symbols(self) -> dict[str, int]:
        """Book number of every symbol in use; of those on several venues, the lowest."""
        used = np.flatnonzero(self.block.book["venue"])[::-1]
        return {symbol_text(self.block.book["symbol"][b]): int(b) for b in used}

    def number_of(self, symbol: str | int, venue: str | None = None) -> int:
        """Book number of a symbol, on ``venue`` or on that with the lowest number.

        A number is its own if it is in use.  Raises `KeyError`.
        """
        books = self.block.book
        if not isinstance(symbol, str):
            if not 0 <= symbol < len(books) or not books["venue"][symbol]:
                raise KeyError(f"no book {symbol}")
            return int(symbol)
        of_venue = books["venue"] > 0 if venue is None else books["venue"] == VENUES[venue]
        found = np.flatnonzero((books["symbol"] == symbol_number(symbol)) & of_venue)
        if not len(found):
            raise KeyError(f"no book for {symbol!r}")
        return int(found[0])

    def book(self, symbol: str | int, levels: int | None = None, venue: str | None = None) -> Book:
        """A symbol's book, at most ``levels`` levels a side.  Raises `KeyError`."""
        number = self.number_of(symbol, venue)
        record = self.block.book[number]
        return Book(
            VENUE_NAMES[int(record["venue"])],
            symbol_text(record["symbol"]),
            self._levels(2 * number, levels),
            self._levels(2 * number + 1, levels),
        )

    def _levels(self, sd: int, most: int | None) -> np.ndarray:
        if most is None:
            most = int(depth.count_levels(self._address, np.uint64(sd)))
        rows = np.zeros(most, depth.DEPTH)
        number = depth.read_levels(
            self._address, np.uint64(sd), np.uint64(rows.ctypes.data), np.uint64(most)
        )
        return rows[: int(number)]

    def resting(self, symbol: str | int | None = None) -> np.ndarray:
        """Live orders as `depth.RESTING`: of one symbol or of all, levels best first, as queued."""
        if symbol is None:
            first, last = 0, 2 * len(self.block.book)
        else:
            number = self.number_of(symbol)
            first, last = 2 * number, 2 * number + 2
        rows = depth.queued(self._address, first, last, self.orders_live)
        return rows[list(depth.RESTING.names or ())].astype(depth.RESTING)

    def books(self) -> Iterator[Book]:
        """All books in use, sorted by venue and symbol."""
        books = self.block.book
        named = [
            (VENUE_NAMES[int(books["venue"][number])], symbol_text(books["symbol"][number]), number)
            for number in np.flatnonzero(books["venue"]).tolist()
        ]
        for _, _, number in sorted(named):
            yield self.book(number)

    def gaps(self) -> list[GapRange]:
        """Declared gaps, in order, as far as they were listed (see the counters)."""
        ranges = []
        for record in self.block.gap[: self.block.get("gaps")]:
            line = self.block.line[int(record["line"])]
            ranges.append(
                GapRange(
                    _session_text(line),
                    group_text(int(line["group"]), int(line["port"])),
                    int(record["first"]),
                    int(record["last"]),
                    int(record["input_number"]),
                )
            )
        return ranges

    def lines(self) -> list[dict[str, Any]]:
        """Every line seen: session, group, next sequence number, messages, missing ones."""
        return [
            {
                "session": _session_text(line),
                "group": group_text(int(line["group"]), int(line["port"])),
                "first": int(line["first"]),
                "next": int(line["expected"]),
                "packets": int(line["packets"]),
                "messages": int(line["messages"]),
                "missing": int(line["gap_messages"]),
                "first_a": int(line["first_a"]),
                "first_b": int(line["first_b"]),
                "waiting": int(line["held"]),
                "state": LineState(line["state"]).name,
                "ended": bool(line["ended"]),
            }
            for line in self.block.line[: self.block.get("lines")]
        ]

    def histogram(self, stage: str) -> np.void:
        """The `latency.HISTOGRAM` record of a stage, ``tick_to_order``, ``response`` or a lead.

        ``lead_a``: by how much line A was ahead of line B, of packets that came on both.
        """
        names = (*Stage.NAMES, "tick_to_order", "response", "lead_a", "lead_b")
        return self.block.histogram[names.index(stage)]

    @property
    def strategy_error(self) -> str | None:
        """What the strategy raised, once it is latched off."""
        error = self.block.get("strategy_error")
        return explain(error) if error else self._strategy_error

    # ------------------------------------------------------------ snapshots

    def snapshot(self) -> bytes:
        """The state as portable bytes; orders that were not taken yet are part of it.

        Taken between packets: raises `snapshot.SnapshotError` inside one, where a callback may be
        called or a message limit may have stopped the engine.
        """
        from tickpath import snapshot

        return snapshot.take(self, self._rest, _join(self._orders))

    def restore(self, saved: bytes | bytearray | memoryview) -> None:
        """Become what a snapshot says, whatever this engine did before; latencies begin anew.

        Strategy, callbacks and configuration stay this engine's.  Raises `snapshot.SnapshotError`
        for what is no snapshot, is damaged or does not fit; nothing has changed then.
        """
        from tickpath.snapshot import RUN_OPTIONS
        from tickpath.snapshot_restore import read

        restored = read(saved, self.config)
        for name in RUN_OPTIONS:
            restored.block.set(name, self.block.get(name))
        self.block, self._address = restored.block, restored.block.address
        self._rest, self._orders = restored.unfinished, list(_split(restored.waiting))
        self._strategy_error = restored.strategy_error


def state_digest(block: Block) -> int:
    """See `Engine.state_digest`."""
    hashed = hashlib.blake2b(block.get("book_digest").to_bytes(8, "little"), digest_size=8)
    for name in ("position", "own", "execution", "recent", "revert", "limit", "cell"):
        view = block.views[name]
        words = view.view("<u4").reshape(len(view), -1)
        used = np.flatnonzero(words.any(axis=1))
        rows = view[used]
        if name == "own":
            rows["next_named"] = 0  # the order in a chain of a hash is nobody's business
        hashed.update(used.astype("<u8").tobytes())
        hashed.update(rows.tobytes())
    hashed.update(block.gate.tobytes())
    for scalar in ("user_ref_num", "newest_ref", "next_match", "revert_next"):
        hashed.update(block.get(scalar).to_bytes(8, "little"))
    return int.from_bytes(hashed.digest(), "little")


def _lend(raw: np.ndarray, length: int, link: int, ts_recv: int) -> np.ndarray:
    packets = np.zeros(1, PACKET)
    packets[0] = (raw.ctypes.data, ts_recv, length, length, link, 0, 0)
    return packets


def _nothing(ts_recv: int) -> np.ndarray:
    """No packet, at a receive time."""
    packets = np.zeros(1, PACKET)
    packets["link"], packets["ts_recv"] = LINK_NOTHING, ts_recv
    return packets


def _whole_messages(raw: np.ndarray) -> int:
    """Bytes of the whole messages at the start of a run."""
    return int(whole_messages(np.uint64(raw.ctypes.data), np.uint64(len(raw))))


def _split(run: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(run):
        length = int.from_bytes(run[at : at + _PREFIX], "big")
        yield run[at + _PREFIX : at + _PREFIX + length]
        at += _PREFIX + length


def _join(orders: Iterable[bytes]) -> bytes:
    """What `_split` splits."""
    return b"".join(len(order).to_bytes(_PREFIX, "big") + order for order in orders)


def _session_text(line: np.void) -> str:
    """A MoldUDP64 session's name, or the unit of PITCH."""
    if line["kind"] == LineKind.UNIT:
        return f"unit {int(line['session_tail'])}"
    raw = int(line["session"]).to_bytes(8, "big") + int(line["session_tail"]).to_bytes(2, "big")
    return raw.decode("latin-1").strip(" \0")


def group_text(address: int, port: int) -> str:
    """``ADDRESS:PORT`` of a group."""
    return ".".join(str(byte) for byte in address.to_bytes(4, "big")) + f":{port}"

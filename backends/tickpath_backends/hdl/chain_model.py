"""The Verilated chain in process: Ethernet frames in, orders, verdicts and best prices out, a host.

One compiled loop feeds the words of frames that lie in memory, makes the host's register accesses
one at a time, as a bus master does, and takes down what comes out.  It stops when all is fed and
answered and nothing is on its way any more, or where one of its outputs has no more room: `Chain`
empties it and goes on.  Memories start with random contents.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tickpath import jit
from tickpath.memory import load_u8, load_u64
from tickpath.profile import Profile, gate_limits, symbol_limits, trigger_parameters
from tickpath_backends.hdl import back_model, book_model, parse_model, registers
from tickpath_backends.hdl.profile import BY_NAME, bits_of
from tickpath_backends.hdl.registers import Protocol, Table
from tickpath_backends.hdl.verilated import RTL, HdlError, Library, Model, build, step

SOURCES = tuple(
    dict.fromkeys(
        (
            *parse_model.SOURCES,
            *book_model.SOURCES,
            *back_model.SOURCES,
            *(RTL / f"{name}.sv" for name in ("book_counters", "book_top", "chain")),
        )
    )
)
LATENCY = 19
"""Cycles from the last word of a message to the first of its order, with OUCH, at most, where
nothing waited."""
PARSE_CYCLES = 2
"""From a message's last word to its input number."""
CLOCK_MHZ = 322.27
TRADING = ord("T")
ROOM = 8_192
"""Tops, verdicts and orders that a run takes down before it is emptied."""
ORDER_BYTES = 256
"""Room of an order."""
QUIET = 400
"""Cycles without an output after which nothing can be on its way: 64 intents in front of the gate
take four cycles each, and orders show that they are under way."""
MOST_WAITING = 1_024
PATIENCE = 400_000
"""Cycles that a run may go on without an output while operations are on their way: more than two
rescans take."""

FRAME = np.dtype([("address", "u8"), ("length", "u8")])
TOP = np.dtype(
    [
        ("input_number", "u8"),
        ("ts_event", "u8"),
        ("bid_px", "u8"),
        ("bid_sz", "u8"),
        ("ask_px", "u8"),
        ("ask_sz", "u8"),
        ("symbol", "u8"),
        ("flags", "u8"),
    ]
)
"""A top of book that is another than the symbol's last."""
VERDICT = np.dtype(
    [("cycle", "u8"), ("verdict", "u8"), ("intent", "u8", (4,)), ("message_cycle", "u8")]
)
"""``message_cycle`` is that of the last word of the message that caused it; 0: not known."""
REMEMBERED = 1 << 17
"""Inputs whose cycle is kept until their verdict: `MOST_WAITING` operations in a rescan, with what
is not theirs between, are far less."""
ORDER = np.dtype(
    [("shown", "u8"), ("taken", "u8"), ("length", "u8"), ("data", "u1", (ORDER_BYTES,))]
)
"""Cycles in which its first word stood at the output, and was taken."""
ACCESS = np.dtype(
    [("offset", "u8"), ("value", "u8"), ("is_write", "u8"), ("response", "u8"), ("ended", "u8")]
)
_IN = (
    *("s_axis_tvalid", "s_axis_tdata", "s_axis_tkeep", "s_axis_tlast", "m_axis_tready"),
    *("s_axil_awaddr", "s_axil_awvalid", "s_axil_wdata", "s_axil_wvalid", "s_axil_wstrb"),
    *("s_axil_bready", "s_axil_araddr", "s_axil_arvalid", "s_axil_rready"),
)
_OUT = (
    *("m_axis_tvalid", "m_axis_tdata", "m_axis_tkeep", "m_axis_tlast", "verdict_valid"),
    *("verdict", "verdict_intent", "top_valid", "top_symbol", "top_bid_px", "top_bid_sz"),
    *("top_ask_px", "top_ask_sz", "top_flags", "top_sideband", "s_axil_awready", "s_axil_wready"),
    *("s_axil_bvalid", "s_axil_bresp", "s_axil_arready", "s_axil_rvalid", "s_axil_rdata"),
    *("s_axil_rresp", "input_number", "operations_waiting"),
)
TVALID, TDATA, TKEEP, TLAST, TREADY, AWADDR, AWVALID, WDATA, WVALID, WSTRB = range(10)
BREADY, ARADDR, ARVALID, RREADY = range(10, len(_IN))
O_VALID, O_DATA, O_KEEP, O_LAST, J_VALID, J_VERDICT, J_INTENT, T_VALID, T_SYMBOL = range(9)
T_BID_PX, T_BID_SZ, T_ASK_PX, T_ASK_SZ, T_FLAGS, T_SIDEBAND, AWREADY, WREADY = range(9, 17)
BVALID, BRESP, ARREADY, RVALID, RDATA, RRESP, NUMBER, WAITING = range(17, len(_OUT))
S_CLOCK, S_FRAME, S_BYTE, S_WORD, S_GAP, S_ACCESS, S_PHASE, S_TOPS, S_VERDICTS = range(9)
S_ORDERS, S_IN_ORDER, S_SHOWN, S_IDLE, S_NUMBER, S_FLAGS, STATES = range(9, 16)
"""Where a run stands, between two calls."""
DONE, FULL, STUCK = 0, 1, 2
ZERO, ONE = np.uint64(0), np.uint64(1)
_ALL, _BYTE = np.uint64(0xFF), np.uint64(8)


def library(protocol: Protocol = Protocol.OUCH50, **parameters: int) -> Library:
    """The compiled chain.  Raises `HdlError`."""
    return build(SOURCES, "chain", {"PROTOCOL": int(protocol), **parameters})


# ---------------------------------------------------------------- the loop


@jit.leaf
def _feed(given, at, state, frames, gaps, most_waiting, waiting, fed, clock):
    """Offer the next word of a frame, if it is time; what is offered is taken."""
    given[at[TVALID]] = ZERO
    if state[S_FRAME] >= len(frames):
        return
    if state[S_GAP] > 0:
        state[S_GAP] -= 1
        return
    if state[S_BYTE] == 0 and waiting > most_waiting:
        return
    frame = frames[state[S_FRAME]]
    begin = np.uint64(state[S_BYTE])
    left = frame.length - begin
    given[at[TVALID]] = ONE
    if left > _BYTE:
        given[at[TDATA]] = load_u64(frame.address + begin)
        given[at[TKEEP]] = _ALL
        given[at[TLAST]] = ZERO
        state[S_BYTE] += 8
    else:
        word = ZERO
        for n in range(left):
            word |= load_u8(frame.address + begin + np.uint64(n)) << np.uint64(8 * n)
        given[at[TDATA]] = word
        given[at[TKEEP]] = (ONE << left) - ONE
        given[at[TLAST]] = ONE
        state[S_BYTE] = 0
        state[S_FRAME] += 1
    if len(fed):
        fed[state[S_WORD]] = clock
    state[S_WORD] += 1
    if len(gaps):
        state[S_GAP] = gaps[state[S_WORD] % len(gaps)]


@jit.leaf
def _ask(given, at, state, accesses):
    """Begin the next register access, if none is under way."""
    if state[S_PHASE] != 0 or state[S_ACCESS] >= len(accesses):
        return
    access = accesses[state[S_ACCESS]]
    state[S_PHASE] = 1
    if access.is_write != ZERO:
        given[at[AWADDR]] = access.offset
        given[at[AWVALID]] = given[at[WVALID]] = ONE
        given[at[WDATA]] = access.value
    else:
        given[at[ARADDR]] = access.offset
        given[at[ARVALID]] = ONE


@jit.leaf
def _answer(given, taken, at, to, state, accesses, clock):
    """Take what the registers say to the access under way."""
    if state[S_PHASE] == 0:
        return
    if taken[to[AWREADY]] != ZERO:
        given[at[AWVALID]] = ZERO
    if taken[to[WREADY]] != ZERO:
        given[at[WVALID]] = ZERO
    if taken[to[ARREADY]] != ZERO:
        given[at[ARVALID]] = ZERO
    access = accesses[state[S_ACCESS]]
    if access.is_write != ZERO:
        if taken[to[BVALID]] == ZERO:
            return
        access.response = taken[to[BRESP]]
    else:
        if taken[to[RVALID]] == ZERO:
            return
        access.response = taken[to[RRESP]]
        access.value = taken[to[RDATA]]
    access.ended = clock
    state[S_PHASE] = 0
    state[S_ACCESS] += 1


@jit.leaf
def _take_order(taken, to, state, orders, is_ready, clock):
    """A word of an order."""
    if state[S_SHOWN] < 0:
        state[S_SHOWN] = clock
    if not is_ready:
        return
    order = orders[state[S_ORDERS]]
    if state[S_IN_ORDER] == 0:
        order.shown = state[S_SHOWN]
        order.taken = clock
    data, keep = taken[to[O_DATA]], taken[to[O_KEEP]]
    while keep & ONE != ZERO and state[S_IN_ORDER] < ORDER_BYTES:
        order.data[state[S_IN_ORDER]] = data & _ALL
        state[S_IN_ORDER] += 1
        data >>= _BYTE
        keep >>= ONE
    if taken[to[O_LAST]] != ZERO:
        order.length = state[S_IN_ORDER]
        state[S_ORDERS] += 1
        state[S_IN_ORDER] = 0
        state[S_SHOWN] = -1


@jit.leaf
def _take_top(taken, to, state, tops, last):
    """A top of book: a row if it is another than the symbol's last."""
    symbol, flags = taken[to[T_SYMBOL]], taken[to[T_FLAGS]]
    state[S_FLAGS] |= np.int64(flags)
    bid_sz, ask_sz = taken[to[T_BID_SZ]], taken[to[T_ASK_SZ]]
    bid_px = taken[to[T_BID_PX]] if bid_sz != ZERO else ZERO
    ask_px = taken[to[T_ASK_PX]] if ask_sz != ZERO else ZERO
    row = last[symbol]
    if row[0] == bid_px and row[1] == bid_sz and row[2] == ask_px and row[3] == ask_sz:
        return
    row[0], row[1], row[2], row[3] = bid_px, bid_sz, ask_px, ask_sz
    low, high = taken[to[T_SIDEBAND]], taken[to[T_SIDEBAND] + 1]
    top = tops[state[S_TOPS]]
    top.input_number = low >> np.uint64(16) | high << np.uint64(48)
    top.ts_event = high >> np.uint64(16)
    top.bid_px, top.bid_sz, top.ask_px, top.ask_sz = bid_px, bid_sz, ask_px, ask_sz
    top.symbol, top.flags = symbol, flags
    state[S_TOPS] += 1


@jit.leaf
def _collect(taken, to, state, tops, last, verdicts, orders, came_in, is_ready, clock):
    """Take down what came out in a cycle; True where anything did."""
    came = taken[to[O_VALID]] | taken[to[J_VALID]] | taken[to[T_VALID]]
    if taken[to[O_VALID]] != ZERO:
        _take_order(taken, to, state, orders, is_ready, clock)
    if taken[to[J_VALID]] != ZERO:
        judged = verdicts[state[S_VERDICTS]]
        judged.cycle = clock
        judged.verdict = taken[to[J_VERDICT]]
        for n in range(4):
            judged.intent[n] = taken[to[J_INTENT] + n]
        low, high = judged.intent[0], judged.intent[1]
        caused = low >> np.uint64(16) | high << np.uint64(48)
        judged.message_cycle = came_in[caused % np.uint64(REMEMBERED)]
        state[S_VERDICTS] += 1
    if taken[to[T_VALID]] != ZERO:
        _take_top(taken, to, state, tops, last)
    number = np.int64(taken[to[NUMBER]])
    came |= np.uint64(number != state[S_NUMBER])
    for each in range(state[S_NUMBER] + 1, number + 1):
        came_in[each % REMEMBERED] = clock - PARSE_CYCLES
    state[S_NUMBER] = number
    return came != ZERO


@jit.entry
def _drive(
    function,
    model,
    given,
    taken,
    at,
    to,
    state,
    frames,
    gaps,
    most_waiting,
    ready,
    fed,
    accesses,
    outputs,
):
    """Go on until all is done, an output is full, or the chain is stuck; gives which."""
    tops, last, verdicts, orders, came_in = outputs
    inputs, results = np.uint64(given.ctypes.data), np.uint64(taken.ctypes.data)
    clock = state[S_CLOCK]
    reason = DONE
    while True:
        if (
            state[S_TOPS] == len(tops)
            or state[S_VERDICTS] == len(verdicts)
            or state[S_ORDERS] == len(orders)
        ):
            reason = FULL
            break
        is_fed = state[S_FRAME] >= len(frames) and state[S_ACCESS] >= len(accesses)
        if is_fed and state[S_IDLE] >= QUIET:
            if taken[to[WAITING]] == ZERO:
                break
        if state[S_IDLE] > PATIENCE:
            reason = STUCK
            break
        waiting, words = np.int64(taken[to[WAITING]]), state[S_WORD]
        _feed(given, at, state, frames, gaps, most_waiting, waiting, fed, clock)
        if state[S_ACCESS] < len(accesses):
            _ask(given, at, state, accesses)
        is_ready = ready[clock % len(ready)] != 0
        given[at[TREADY]] = np.uint64(is_ready)
        step(np.uint64(function), np.uint64(model), inputs, results)
        came = _collect(taken, to, state, tops, last, verdicts, orders, came_in, is_ready, clock)
        if state[S_PHASE] != 0:
            _answer(given, taken, at, to, state, accesses, clock)
        state[S_IDLE] = 0 if came or state[S_WORD] != words else state[S_IDLE] + 1
        clock += 1
    given[at[TVALID]] = ZERO
    state[S_CLOCK] = clock
    return reason


# ---------------------------------------------------------------- the chain and its host


class Outcome(NamedTuple):
    """What came out of a run, and in which cycle each word went in, if that was asked for."""

    tops: np.ndarray
    verdicts: np.ndarray
    orders: np.ndarray
    fed: np.ndarray


class Chain:
    """A Verilated chain with its clock, its host's accesses, and what came out of it."""

    def __init__(self, made: Library, protocol: Protocol = Protocol.OUCH50, seed: int = 1):
        self.protocol, self.library = protocol, made
        self.model = Model(made, seed)
        self._at, self._to = _places(made.inputs, _IN), _places(made.outputs, _OUT)
        self._state = np.zeros(STATES, np.int64)
        self._state[S_SHOWN] = -1
        self._tops = np.zeros(ROOM, TOP)
        self._last = np.zeros((64, 4), np.uint64)
        self._verdicts = np.zeros(ROOM, VERDICT)
        self._orders = np.zeros(ROOM, ORDER)
        self._came_in = np.zeros(REMEMBERED, np.int64)
        self._reset()

    def _reset(self) -> None:
        given = self.model.inputs[0]
        given["rst"] = 1
        self.model.step(5)
        given["rst"] = 0
        given["s_axil_wstrb"], given["s_axil_bready"], given["s_axil_rready"] = 15, 1, 1
        for _ in range(1 << 8):
            self.model.step(1 << 10)
            if self.model.outputs[0]["ready"]:
                return
        raise HdlError("the chain is not ready long after reset")

    @property
    def cycle(self) -> int:
        """Cycles so far, but those of the reset."""
        return int(self._state[S_CLOCK])

    @property
    def flags(self) -> int:
        """All flags of the book (`book_check`) so far."""
        return int(self._state[S_FLAGS])

    def run(
        self,
        frames: np.ndarray,
        accesses: np.ndarray | None = None,
        gaps: np.ndarray | None = None,
        most_waiting: int = MOST_WAITING,
        ready: np.ndarray | None = None,
        is_timed: bool = False,
    ) -> Outcome:
        """Feed frames (`FRAME`) that lie in memory, and make accesses (`ACCESS`) beside that.

        ``gaps`` has the cycles before each word, ``ready`` in which cycles a word of an order is
        taken; both are repeated.  A frame does not begin while more than ``most_waiting``
        operations are on their way to or in the book: frames lie next to each other here, where
        the wire has idle time.  Raises `HdlError` where the chain does not come to rest.
        """
        asked = np.zeros(0, ACCESS) if accesses is None else accesses
        stalls = np.zeros(0, np.int64) if gaps is None else gaps
        takes = np.ones(1, np.uint8) if ready is None else ready
        words = int((-(-frames["length"].astype(np.int64) // 8)).sum()) if is_timed else 0
        fed = np.zeros(words, np.int64)
        state = self._state
        state[[S_FRAME, S_BYTE, S_WORD, S_GAP, S_ACCESS, S_PHASE, S_IDLE]] = 0
        parts: list[tuple[np.ndarray, ...]] = []
        reason = FULL
        while reason == FULL:
            reason = _drive(
                self.library.step_address,
                self.model.handle,
                self.model.inputs.view(np.uint64).reshape(-1),
                self.model.outputs.view(np.uint64).reshape(-1),
                self._at,
                self._to,
                state,
                frames,
                stalls,
                most_waiting,
                takes,
                fed,
                asked,
                (self._tops, self._last, self._verdicts, self._orders, self._came_in),
            )
            parts.append(self._emptied())
        if reason == STUCK:
            raise HdlError("the chain does not come to rest: operations wait, or were dropped")
        tops, verdicts, orders = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Outcome(tops, verdicts, orders, fed)

    def _emptied(self) -> tuple[np.ndarray, ...]:
        found = []
        for records, place in (
            (self._tops, S_TOPS),
            (self._verdicts, S_VERDICTS),
            (self._orders, S_ORDERS),
        ):
            number = int(self._state[place])
            found.append(records[:number].copy())
            if place == S_ORDERS and number < len(records):
                records[0] = records[number]  # one that is under way
            self._state[place] = 0
        return tuple(found)

    def close(self) -> None:
        """Free the model."""
        self.model.close()

    # ------------------------------------------------------------ the host

    def access(self, accesses: Sequence[tuple[int, int, bool]]) -> np.ndarray:
        """Make (offset, value, is write) while nothing comes in.  Raises `HdlError`."""
        made = np.zeros(len(accesses), ACCESS)
        for record, (offset, value, is_write) in zip(made, accesses, strict=True):
            record["offset"], record["value"], record["is_write"] = offset, value, is_write
        outcome = self.run(np.zeros(0, FRAME), made)
        assert not len(outcome.orders), "orders of before"
        if made["response"].any():
            raise HdlError("the chain's registers refused an access")
        return made

    def value(self, name: str, index: int = 0) -> int:
        """Read a register by its name."""
        return self.values(name, [index])[0]

    def values(self, name: str, indices: Iterable[int]) -> list[int]:
        """Read registers of a row, both words where they have two."""
        each, words = registers.BY_REGISTER[name], []
        step_bytes = each.bits // 8
        places = [each.offset + index * step_bytes for index in indices]
        for place in places:
            words += [(place + 4 * n, 0, False) for n in range(each.bits // 32)]
        got = self.access(words)["value"].reshape(len(places), -1).tolist()
        return [sum(word << 32 * n for n, word in enumerate(row)) for row in got]

    def counters(self) -> dict[str, int]:
        """The back's counters by name."""
        names = [each.name for each in registers.Counter]
        return dict(zip(names, self.values("COUNTERS", range(len(names))), strict=True))

    def commit(self, rows: Iterable[tuple[Table, int, Mapping[str, int]]]) -> None:
        """Write entries of tables: (table, entry, fields)."""
        writes: list[tuple[int, int, bool]] = []
        for table, entry, fields in rows:
            vector = registers.packed(table, fields)
            made = registers.commit(table, entry, vector, self.protocol)
            writes += [(offset, value, True) for offset, value in made]
        self.access(writes)

    def program(self, profile: Profile, template: int) -> None:
        """A profile's limits and triggers, and what all its orders share; the switch last."""
        rows: list[tuple[Table, int, Mapping[str, int]]] = [
            (Table.TEMPLATE, 0, {"template": template}),
        ]
        gate = gate_limits(profile)
        rows.append((Table.GATE, 0, {k: v for k, v in gate.items() if k != "is_killed"}))
        trades = profile.gate.unknown_trading_state == "trade"
        for number, name in enumerate(profile.symbols):
            raw = int.from_bytes(name.encode("ascii").ljust(8), "big")
            rows += [
                (Table.NAME, number, {"name": raw}),
                (Table.LIMITS, number, symbol_limits(profile, name)),
                (Table.TRIGGER, number, trigger_parameters(profile, name)),
            ]
            if trades:
                rows.append((Table.TRADING, number, {"state": TRADING}))
        self.commit(rows)
        control = registers.BY_REGISTER["CONTROL"].offset
        self.access([(control, gate["is_killed"], True)])

    def subscribe(self, locates: Mapping[int, int]) -> None:
        """Symbols of stock locates."""
        self.commit(
            (Table.SYMBOL, locate, {"is_used": 1, "symbol": symbol})
            for locate, symbol in locates.items()
        )

    def listen(self, groups: Sequence[tuple[int, int, int]], first: int = 0) -> None:
        """Groups of the feed: (address, port, line) from an entry of the table on."""
        self.commit(
            (Table.GROUP, n, {"is_used": 1, "line": line, "port": port, "address": address})
            for n, (address, port, line) in enumerate(groups, first)
        )


def _places(dtype: np.dtype[Any], names: Sequence[str]) -> np.ndarray:
    assert dtype.fields is not None
    return np.array([dtype.fields[name][1] // 8 for name in names], np.int64)


def frames_of(frames: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Frames as `FRAME` records, and the memory that they are in, which has to live as long."""
    raw = np.frombuffer(b"".join(frames), np.uint8)
    made = np.zeros(len(frames), FRAME)
    made["length"] = [len(each) for each in frames]
    made["address"] = raw.ctypes.data + np.concatenate([[0], np.cumsum(made["length"])])[:-1]
    return made, raw


class Judged(NamedTuple):
    """A verdict with its intent."""

    cycle: int
    failed: int
    symbol: int
    is_sell: bool
    price: int
    quantity: int
    input_number: int


def judged(row: np.void) -> Judged:
    """A `VERDICT` by its fields."""
    vector = sum(int(word) << 64 * n for n, word in enumerate(row["intent"]))
    intent = _unpacked("Intent", vector)
    failed = _unpacked("Verdict", int(row["verdict"]))["failed"]
    number = _unpacked("Sideband", intent["sideband"])["input_number"]
    return Judged(
        int(row["cycle"]),
        failed,
        intent["symbol"],
        bool(intent["is_sell"]),
        intent["price"],
        intent["quantity"],
        number,
    )


def _unpacked(name: str, vector: int) -> dict[str, int]:
    found = {}
    for field, kind in reversed(BY_NAME[name].fields):
        found[field] = vector & (1 << bits_of(kind)) - 1
        vector >>= bits_of(kind)
    return found

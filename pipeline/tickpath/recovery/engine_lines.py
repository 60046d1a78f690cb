"""The lines of a `tickpath.engine.Engine`, as recovery sees and mends them (`LineEngine`).

The engine has `feed.recovers` set: what stays missing is a hole, and the line's later packets wait.

    lines = EngineLines(engine)
    recovery = FeedRecovery(lines, ...)
    engine.process(packets)            and after each burst
    lines.report(recovery, now_ns)     holes, progress and new sessions since the last time
"""

import ipaddress
from typing import Any, NamedTuple

import numpy as np
from numba import types

from tickpath import repair
from tickpath.counters import Counter
from tickpath.engine import Engine
from tickpath.layout import LineKind, LineState
from tickpath.packet import LINK_DATAGRAM, LINK_MESSAGES, LINK_PITCH, PACKET
from tickpath.recovery import sequenced_unit
from tickpath.recovery.engine import LineName
from tickpath.recovery.feed import FeedRecovery
from tickpath.state import Block

UNTOLD_PACKETS = 2
"""Of a line, until which one that was refused may still turn out right."""


class _Told(NamedTuple):
    """What recovery knows of a line."""

    session: bytes
    expected: int
    hole: tuple[int, int]


def _session(record: np.void) -> bytes:
    if record["kind"] == LineKind.UNIT:
        return b""
    head = int(record["session"]).to_bytes(8, "big")
    return head + int(record["session_tail"]).to_bytes(2, "big")


def _lend(raw: np.ndarray, link: int) -> np.ndarray:
    packets = np.zeros(1, PACKET)
    packets["address"], packets["length"], packets["link"] = raw.ctypes.data, len(raw), link
    packets["wire_length"] = len(raw)
    return packets


def lend_datagram(line: LineName, datagram: bytes, ts_recv: int) -> np.ndarray:
    """A datagram of a line as a packet; its bytes must stay where they are while it is taken."""
    packets = _lend(np.frombuffer(datagram, np.uint8), LINK_DATAGRAM)
    packets["group"], packets["line"] = int(ipaddress.IPv4Address(line.group)), line.port
    packets["ts_recv"] = ts_recv
    return packets


_FUNCTIONS: dict[Any, int] = {
    repair.hole_end: 2,
    repair.end_windows: 1,
    repair.give_up: 2,
    repair.clear: 2,
    repair.splice: 3,
}
"""What is called only when something is missing, and the number of its arguments."""


class EngineLines:
    """See the module's text.  Lines are made by their first packet; others raise `KeyError`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._told: dict[LineName, _Told] = {}
        self._names: dict[LineName, int] = {}  # a line's place, name and kind are for good
        self._are_units: dict[LineName, bool] = {}

    @property
    def _block(self) -> Block:
        """The engine's state, which is another block once a snapshot was restored."""
        return self._engine.block

    @staticmethod
    def warm_up() -> None:
        """Compile, or load from the cache, what is called when something is missing."""
        for function, arguments in _FUNCTIONS.items():
            function.compile((types.uint64,) * arguments)

    def names(self) -> dict[LineName, int]:
        """Index of every line so far."""
        for at in range(len(self._names), self._block.get("lines")):
            each = self._block.line[at]
            is_unit = bool(each["kind"] == LineKind.UNIT)
            unit = int(each["session_tail"]) if is_unit else 0
            name = LineName(str(ipaddress.IPv4Address(int(each["group"]))), int(each["port"]), unit)
            self._names[name], self._are_units[name] = at, is_unit
        return self._names

    def is_unit(self, line: LineName) -> bool:
        """True where a line is a unit of PITCH, False where it is a session of MoldUDP64."""
        return self._are_units[line]

    def has_ended(self, line: LineName) -> bool:
        """True where the feed has said that a line's session is over."""
        at = self.names().get(line)
        return at is not None and bool(self._block.line["ended"][at])

    def seen(self, line: LineName) -> tuple[int, int]:
        """(the next message, the one behind the last that was heard of) of a line."""
        record = self._block.line[self.names()[line]]
        return int(record["expected"]), max(int(record["seen"]), int(record["expected"]))

    @property
    def standing(self) -> tuple[int, int, int]:
        """(lines, those that wait for something, sessions that were begun anew), all so far."""
        block = self._block
        changes = int(block.counter["value"][Counter.SESSION_CHANGES])
        return block.get("lines"), block.get("waiting"), changes

    def is_in_order(self, line: LineName) -> bool:
        """True where nothing is known to be missing.

        What was refused as too far ahead is missing if it is said twice: the next packet tells.
        """
        record = self._block.line[self.names()[line]]
        is_open = record["candidate"] > record["seen"] and record["packets"] <= UNTOLD_PACKETS
        return bool(record["state"] != LineState.HOLE and not is_open)

    def report(self, recovery: FeedRecovery, now_ns: int) -> bool:
        """Tell recovery what has changed on its protocol's lines since the last time.

        What it does then may change more.  Gives False where nothing had changed.
        """
        changed, is_pitch = False, recovery.codec is sequenced_unit
        for name, at in self.names().items():
            if self._are_units[name] != is_pitch:
                continue
            record = self._block.line[at]
            session, expected = _session(record), int(record["expected"])
            told = self._told.get(name, _Told(session, -1, (0, 0)))
            hole = (0, 0)
            if record["state"] == LineState.HOLE:
                end = int(repair.hole_end(self._block.address, np.uint64(at)))
                hole = (expected, end - 1) if end > expected else (0, 0)
            self._told[name] = _Told(session, expected, hole)
            changed |= self._told[name] != told
            if told.session != session:
                recovery.began(name, session, now_ns)
            # A line that lacks message 1 was in order never yet.
            if told.expected != expected and expected > 1:
                recovery.advanced(name, expected, now_ns)
            if hole not in (told.hole, (0, 0)):
                recovery.hole(name, *hole, now_ns, session)
        return changed

    # ------------------------------------------------------------ what recovery asks for

    def deliver(self, line: LineName, datagram: bytes) -> None:
        """Take recovered messages: a datagram of the line's protocol, next in sequence."""
        self._engine.process(lend_datagram(line, datagram, self._block.get("ts_recv")))

    def clear(self, line: LineName) -> None:
        """Empty the books of a line."""
        repair.clear(self._block.address, np.uint64(self.names()[line]))

    def deliver_snapshot(self, line: LineName, messages: list[bytes]) -> None:
        """Take a snapshot's messages, which have no numbers, in their order."""
        at = self.names()[line]
        is_pitch = self._block.line[at]["kind"] == LineKind.UNIT
        if is_pitch:
            run = b"".join(messages)
        else:
            run = b"".join(len(each).to_bytes(2, "big") + each for each in messages)
        if not run:
            return
        self._block.set("bare_line", at + 1)
        try:
            self._engine.process(
                _lend(np.frombuffer(run, np.uint8), LINK_PITCH if is_pitch else LINK_MESSAGES)
            )
        finally:
            self._block.set("bare_line", 0)

    def splice(self, line: LineName, next_sequence: int) -> None:
        """The snapshot stands for everything before ``next_sequence``."""
        at = np.uint64(self.names()[line])
        repair.splice(self._block.address, at, np.uint64(next_sequence))
        self._engine.go_on()

    def give_up(self, line: LineName, first: int, last: int) -> None:
        """Messages will not come: declare the gap, go on behind it."""
        repair.give_up(self._block.address, np.uint64(self.names()[line]))
        self._engine.go_on()

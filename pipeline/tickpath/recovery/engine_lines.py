"""The lines of a `tickpath.engine.Engine`, as recovery sees and mends them (`LineEngine`).

The engine has `feed.recovers` set: what stays missing is a hole, and the line's later packets wait.

    lines = EngineLines(engine)
    recovery = FeedRecovery(lines, ...)
    engine.process(packets)            and after each burst
    lines.report(recovery, now_ns)     holes, progress and new sessions since the last time
"""

import ipaddress
from typing import NamedTuple

import numpy as np

from tickpath import repair
from tickpath.engine import Engine
from tickpath.layout import LineKind, LineState
from tickpath.packet import LINK_DATAGRAM, LINK_MESSAGES, LINK_PITCH, PACKET
from tickpath.recovery.engine import LineName
from tickpath.recovery.feed import FeedRecovery


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


class EngineLines:
    """See the module's text.  Lines are made by their first packet; others raise `KeyError`."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._block = engine, engine.block
        self._told: dict[LineName, _Told] = {}

    def names(self) -> dict[LineName, int]:
        """Index of every line so far."""
        records = self._block.line[: self._block.get("lines")]
        return {
            LineName(
                str(ipaddress.IPv4Address(int(each["group"]))),
                int(each["port"]),
                int(each["session_tail"]) if each["kind"] == LineKind.UNIT else 0,
            ): at
            for at, each in enumerate(records)
        }

    def report(self, recovery: FeedRecovery, now_ns: int) -> bool:
        """Tell recovery what has changed since the last time; what it does then may change more.

        Gives False where nothing had changed.
        """
        changed = False
        for name, at in self.names().items():
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
            if told.expected != expected:
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

"""Which MoldUDP64 session of each group is followed: a stray packet cannot end a day.

The engine takes whatever session comes for a new day.  So the first session of a group, or the one
that is configured, is followed until the feed has said that it is over; packets of others are
dropped and counted.  A line B is of its line A's session.

A session is begun with a heartbeat of our own that says message 1 is next: what its first packet
says of the day so far is then believed no more than what any other says.
"""

import ctypes
from collections import Counter
from collections.abc import Mapping

import numpy as np

from tickpath.engine import Engine
from tickpath.packet import LINK_DATAGRAM
from tickpath.recovery import moldudp64, sequenced_unit
from tickpath.recovery.engine import LineName
from tickpath.recovery.engine_lines import EngineLines, lend_datagram

_BYTES = moldudp64.SESSION_BYTES
_COLUMNS = ("address", "length", "link", "group", "line")
Group = tuple[int, int]
"""Address and port, as they stand in a packet's record."""


class Sessions:
    """Gives an engine the packets that it is to have.

    Only datagrams are looked at; a transport that lends frames is trusted.
    """

    def __init__(
        self,
        engine: Engine,
        lines: EngineLines,
        groups: Mapping[Group, LineName],
        only: str | None,
        counters: Counter[str],
    ) -> None:
        """``groups`` has the line of each group, A or B; ``only`` the name of the session."""
        self._engine, self._lines, self._groups = engine, lines, groups
        self._counters = counters
        self._only = None if only is None else moldudp64.session_name(only.strip())
        self._followed: dict[LineName, bytes] = {}
        self._of_pitch: set[LineName] = set()
        self._is_pitch = engine.config.feed.format == "pitch"
        self._is_auto = engine.config.feed.format == "auto"

    def give(self, packets: np.ndarray) -> None:
        """Take a burst through the engine, all but what is of other sessions."""
        if self._is_pitch:
            self._engine.process(packets)
            return
        first = 0
        columns = (packets[name].tolist() for name in _COLUMNS)
        for at, (address, length, link, group, port) in enumerate(zip(*columns, strict=True)):
            line = self._groups.get((group, port))
            if link != LINK_DATAGRAM or line is None or length < moldudp64.HEADER_BYTES:
                continue  # the engine counts what is no packet
            session = ctypes.string_at(address, _BYTES)
            if self._followed.get(line) == session or self._is_unit(line, session, length):
                continue
            # Whether the session that is followed has ended may be said just in front of it.
            self._engine.process(packets[first:at])
            first = at
            if not self._begin(line, session, int(packets["ts_recv"][at])):
                self._counters["packets_of_another_session"] += 1
                first += 1
        if first < len(packets):
            self._engine.process(packets[first:])

    def _is_unit(self, line: LineName, head: bytes, length: int) -> bool:
        """Whether a group's first packet says that it is PITCH: that has no sessions."""
        is_first = line not in self._followed
        if self._is_auto and is_first and sequenced_unit.length_of(head) == length:
            self._of_pitch.add(line)
        return line in self._of_pitch

    def _begin(self, line: LineName, session: bytes, ts_recv: int) -> bool:
        """Whether another session than so far is followed from now on."""
        if self._only not in (None, session):
            return False
        if line in self._followed:
            if not self._lines.has_ended(line):
                return False
            self._counters["sessions"] += 1
        self._followed[line] = session
        heartbeat = moldudp64.join(session, 0, 1, [])
        self._engine.process(lend_datagram(line, heartbeat, ts_recv))
        return True

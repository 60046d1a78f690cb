"""Who receives: the sockets of all groups, whose datagrams are lent to the engine in bursts.

Datagrams are received into a ring of buffers and lent from there, so that a burst is one call.
Sockets take turns, datagram by datagram, so that the first copy of two lines comes first.  What is
done about messages that are missing is nobody's business here.

It has `poll`, `release`, `close` and `counters` as `backend.Transport` has them, so that another
transport can stand in its place; `sockets` is what a loop waits for.
"""

import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tickpath.config import ConfigError
from tickpath.packet import LINK_DATAGRAM, PACKET
from tickpath.recovery.sockets import join
from tickpath.session.tcp_stream import Address

BURST = 256
BUFFER_BYTES = 65_536
RECEIVE_BUFFER = 1 << 24
_SO_MEMINFO: int = getattr(socket, "SO_MEMINFO", 55)
_MEMINFO = struct.Struct("@9I")
_DROPS = 8
"""Which number of the kernel's SO_MEMINFO counts datagrams that found no room."""


class Feed:
    """See the module's text.  Raises `ConfigError` where a socket cannot be had."""

    def __init__(
        self, groups: Sequence[Address], interface: str, wall_clock: Callable[[], int]
    ) -> None:
        """``wall_clock`` gives nanoseconds since the Unix epoch: what ``ts_recv`` counts."""
        self.counters: Counter[str] = Counter()
        self._wall_clock = wall_clock
        self._buffers = np.zeros((BURST, BUFFER_BYTES), np.uint8)
        self._views = [memoryview(row) for row in self._buffers]  # type: ignore[arg-type]
        self._packets = np.zeros(BURST, PACKET)
        self._packets["address"] = self._buffers.ctypes.data + BUFFER_BYTES * np.arange(BURST)
        self._packets["link"] = LINK_DATAGRAM
        self._groups = [(int.from_bytes(socket.inet_aton(host)), port) for host, port in groups]
        self._unheeded: frozenset[tuple[int, int]] = frozenset()
        self.sockets: list[socket.socket] = []
        """What can become readable, one for each group."""
        with contextlib.ExitStack() as stack:
            for group in groups:
                try:
                    self.sockets.append(stack.enter_context(_joined(group, interface)))
                except OSError as error:
                    host, port = group
                    why = error.strerror or error
                    raise ConfigError(
                        f"trade.feed: {host}:{port} over {interface}: {why}"
                    ) from None
            stack.pop_all()

    def poll(self, most: int = BURST) -> np.ndarray:
        """Lend datagrams that have come, at most ``most``, until the next poll."""
        most, unheeded = min(most, BURST), 0
        found: list[tuple[int, int, int, int]] = []
        reading = list(zip(self.sockets, self._groups, strict=True))
        while reading:
            for each in list(reading):
                if len(found) == most:
                    return self._lend(found)
                source, place = each
                group, port = place
                try:
                    length = source.recv_into(self._views[len(found)])
                except BlockingIOError:
                    reading.remove(each)
                    continue
                except OSError:
                    self.counters["receive_errors"] += 1
                    reading.remove(each)
                    continue
                if place in self._unheeded:
                    self.counters["packets_unheeded"] += 1
                    unheeded += 1
                    if unheeded >= BURST:  # what nobody takes does not keep the rest waiting
                        reading.remove(each)
                    continue
                found.append((length, group, port, self._wall_clock()))
        return self._lend(found)

    def heed_not(self, groups: Iterable[Address]) -> None:
        """What comes to these groups is read, counted and dropped, until this is called again."""
        self._unheeded = frozenset(
            (int.from_bytes(socket.inet_aton(host)), port) for host, port in groups
        )

    def _lend(self, found: list[tuple[int, int, int, int]]) -> np.ndarray:
        packets = self._packets[: len(found)]
        if found:
            self.counters["packets"] += len(found)
            packets["length"], packets["group"], packets["line"], packets["ts_recv"] = zip(
                *found, strict=True
            )
            packets["wire_length"] = packets["length"]
        return packets

    def release(self) -> None:
        """Give back what the last `poll` lent: nothing is to be done."""

    def note_drops(self) -> None:
        """Count what the kernel had no room for, as far as it says so."""
        dropped = 0
        for each in self.sockets:
            with contextlib.suppress(OSError):
                said = each.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
                if len(said) == _MEMINFO.size:
                    dropped += _MEMINFO.unpack(said)[_DROPS]
        if dropped:
            self.counters["packets_dropped_by_kernel"] = dropped

    def close(self) -> None:
        """Leave the groups and close."""
        for each in self.sockets:
            each.close()


def _joined(group: Address, interface: str) -> socket.socket:
    return join(group, interface, RECEIVE_BUFFER)

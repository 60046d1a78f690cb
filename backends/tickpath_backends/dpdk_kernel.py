"""The kernel's sockets below a DPDK driver: what it drops unseen there, and what a driver forgets.

`net_af_packet` and `net_af_xdp` take packets from rings that the kernel fills, and say nothing of
those for which there was no room.  The kernel counts them on the drivers' sockets; these are found
among the descriptors of the process, as those that were not there before, and asked.

`net_af_xdp` (DPDK 22.11 with libxdp 1.3) leaves its socket, and with it the queue, to the end of
the process: what it had opened and is still there once its device is gone is therefore closed.
"""

import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

AF_XDP = 44
_SO_DOMAIN = 39
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SOL_XDP, _XDP_STATISTICS = 283, 7
_PACKET_COUNTS = struct.Struct("=II")  # tpacket_stats: packets, drops
_XDP_COUNTS = struct.Struct("=6Q")  # xdp_statistics
_XDP_CAUSES = (
    *("kernel_dropped", "kernel_invalid_descriptors", "kernel_invalid_orders"),
    *("kernel_ring_full", "fill_ring_empty", "order_ring_empty"),
)
_LOSSES = ("kernel_dropped", "kernel_ring_full", "fill_ring_empty")
"""The others are told only where they are not 0."""


def _domain(descriptor: int) -> int | None:
    """The family of a socket; None for what is none."""
    try:
        each = socket.socket(socket.AF_UNIX, fileno=descriptor)
    except OSError:
        return None
    try:
        return each.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN)
    except OSError:
        return None
    finally:
        each.detach()


def raw_sockets() -> set[int]:
    """Descriptors of this process that are AF_PACKET or AF_XDP sockets."""
    try:
        descriptors = map(int, os.listdir("/proc/self/fd"))
    except OSError:
        return set()
    return {each for each in descriptors if _domain(each) in (socket.AF_PACKET, AF_XDP)}


def may_take() -> bool:
    """Whether this process may open such sockets."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except PermissionError:
        return False
    return True


Descriptors = set[tuple[int, str]]
"""Number and identity: a number may be another one's later."""


def xdp_descriptors() -> Descriptors:
    """AF_XDP sockets, BPF maps and programs of this process."""
    found: Descriptors = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            what = os.readlink(f"/proc/self/fd/{name}")
            if what.startswith("anon_inode:bpf"):
                text = Path(f"/proc/self/fdinfo/{name}").read_text()
                ids = [each for each in text.splitlines() if "_id:" in each]
                found.add((int(name), " ".join([what, *ids])))
            elif what.startswith("socket:") and _domain(int(name)) == AF_XDP:
                found.add((int(name), what))
        except OSError:  # closed meanwhile: the directory's own
            continue
    return found


class Drops:
    """What the kernel counts on the sockets below a driver, added up."""

    def __init__(self, descriptors: Iterable[int]) -> None:
        """They are duplicated, so `close` has to come before the driver's own."""
        self._sockets: list[socket.socket] = []
        self._packet_drops = 0
        for each in descriptors:
            if (domain := _domain(each)) is not None:
                self._sockets.append(socket.socket(domain, socket.SOCK_RAW, fileno=os.dup(each)))

    @property
    def counters(self) -> dict[str, int]:
        """By cause."""
        counts: dict[str, int] = {}
        for each in self._sockets:
            if each.family == AF_XDP:
                for cause, number in zip(_XDP_CAUSES, _xdp_counts(each), strict=True):
                    counts[cause] = counts.get(cause, 0) + number
            else:
                self._packet_drops += _packet_drops(each)
                counts["kernel_ring_full"] = self._packet_drops
        return {cause: number for cause, number in counts.items() if number or cause in _LOSSES}

    def close(self) -> None:
        """Let go of the sockets."""
        while self._sockets:
            self._sockets.pop().close()


def _packet_drops(sock: socket.socket) -> int:
    """Drops since the last time: a reading begins a new count."""
    raw = sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _PACKET_COUNTS.size)
    return int(_PACKET_COUNTS.unpack(raw)[1])


def _xdp_counts(sock: socket.socket) -> tuple[int, ...]:
    """All of them; kernels before 5.9 have the first three."""
    raw = sock.getsockopt(_SOL_XDP, _XDP_STATISTICS, _XDP_COUNTS.size)
    return _XDP_COUNTS.unpack(raw.ljust(_XDP_COUNTS.size, b"\0"))

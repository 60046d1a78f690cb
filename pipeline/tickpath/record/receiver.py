"""One line's socket: datagrams with the kernel's time of receipt, and how many it had no room for.

The time is the system clock's when the kernel got the packet (SO_TIMESTAMPNS); a datagram without
one has the time at which it was read, and is counted.  Drops are the kernel's own count for the
socket (SO_RXQ_OVFL), which comes with the next datagram that is received.
"""

import socket
import struct
import time
from collections import Counter
from typing import NamedTuple

from tickpath.record.error import RecordError
from tickpath.recovery.sockets import join
from tickpath.session.tcp_stream import Address

SO_TIMESTAMPNS = 35
SO_RXQ_OVFL = 40
"""Linux's socket options, which Python's `socket` does not name."""
RECEIVE_BUFFER = 1 << 25
MAX_BURST = 512
"""Datagrams taken from one line in a round, so that the others get their turn."""
_BYTES = 65_536
_TIMESPEC = struct.Struct("@ll")
_DROPS = struct.Struct("@I")
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(_DROPS.size)
_SECOND_NS = 1_000_000_000


class Received(NamedTuple):
    """A datagram."""

    ts_recv: int
    source: Address
    payload: bytes


class Receiver:
    """See the module's text."""

    def __init__(self, name: str, group: Address, interface: str) -> None:
        """Raises `RecordError` where the group cannot be joined."""
        self.name, self.group, self.interface = name, group, interface
        self.counters: Counter[str] = Counter()
        self.kernel_drops = 0
        try:
            self.socket = join(group, interface, RECEIVE_BUFFER)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
            self.buffer_size = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            """Bytes of the receive buffer that the system gave, maybe less than was asked for."""
        except OSError as error:
            raise RecordError(
                f"line {name}: {group[0]}:{group[1]} over {interface} cannot be joined: "
                f"{error.strerror or error}; give the address of an interface of this machine"
            ) from None

    def take(self) -> list[Received]:
        """What has come, at most `MAX_BURST` datagrams."""
        taken: list[Received] = []
        while len(taken) < MAX_BURST:
            try:
                payload, ancillary, _, source = self.socket.recvmsg(_BYTES, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.counters["receive_errors"] += 1
                break
            ts_recv = 0
            for level, kind, value in ancillary:
                if level != socket.SOL_SOCKET:
                    continue
                if kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = _TIMESPEC.unpack(value)
                    ts_recv = seconds * _SECOND_NS + nanoseconds
                elif kind == SO_RXQ_OVFL:
                    self.kernel_drops = _DROPS.unpack(value)[0]
            if not ts_recv:
                self.counters["without_timestamp"] += 1
                ts_recv = time.time_ns()
            taken.append(Received(ts_recv, source, payload))
        self.counters["packets"] += len(taken)
        self.counters["bytes"] += sum(len(each.payload) for each in taken)
        return taken

    def close(self) -> None:
        """Leave the group."""
        self.socket.close()

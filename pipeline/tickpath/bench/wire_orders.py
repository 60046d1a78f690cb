"""Orders by the order session's TCP connection, for a wire-to-wire run.

Each is a SoupBinTCP unsequenced data packet, written in the same call that the engine made it in,
to the session's own kind of socket (`tcp_stream.Stream`: non-blocking, Nagle's algorithm off).  So
what is measured is the way through Python and the kernel that any order session takes; what a
session does beside it (login, heartbeats, the store of its orders, its log, answers) is not in it.

What the socket has no room for waits, in order, and goes first the next time; the worst case is a
peer that never reads: then more than `MOST_WAITING` bytes are refused by an error.
"""

from tickpath.bench.error import BenchError
from tickpath.engine import _split as split
from tickpath.session.soup_framing import framed
from tickpath.session.tcp_stream import Stream

MOST_WAITING = 1 << 24


class OrderSender:
    """``Engine(on_orders=)`` for a connection."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting = b""
        self.counters = {"orders": 0, "writes": 0, "waited": 0}
        """Orders, times that they were written, and times that some then waited for room."""

    def __call__(self, orders: memoryview) -> None:
        """Frame encoded orders, each behind a 2-byte big-endian length, and write them.

        Raises `BenchError` where the connection is gone or nobody reads.
        """
        packets = [framed("unsequenced_data", order) for order in split(bytes(orders))]
        self._waiting += b"".join(packets)
        self.counters["orders"] += len(packets)
        self.counters["writes"] += 1
        self.flush()
        if self.is_waiting:
            self.counters["waited"] += 1

    @property
    def is_waiting(self) -> bool:
        """Whether bytes wait for room."""
        return bool(self._waiting) or self._stream.is_waiting

    def flush(self) -> None:
        """Write what waits, as far as there is room.  Raises `BenchError`."""
        if not self._stream.write(self._take, 0):
            raise BenchError(f"the exchange's order connection is gone: {self._stream.error}")
        if len(self._waiting) > MOST_WAITING:
            raise BenchError(f"the exchange does not read: {len(self._waiting):,} bytes wait")

    def _take(self) -> bytes:
        taken, self._waiting = self._waiting, b""
        return taken

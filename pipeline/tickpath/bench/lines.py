"""The line stage alone: sequence and arbitration of packets of which none is missing.

One datagram in the nearest cache is taken again and again with the next sequence number, on one
line or on both lines A and B.  What is timed is `mold.accept` and what notes that its message was
taken; every second copy must be dropped and every message be taken once.
"""

import numpy as np

from tickpath import line, mold
from tickpath.bench.turns import Outcome, timed
from tickpath.config import Config, Feed
from tickpath.engine import Engine
from tickpath.jit import entry
from tickpath.layout import engine
from tickpath.memory import lend_run, wire_store
from tickpath.wire.moldudp64 import MOLDUDP64

PACKETS = 1_000_000
A, B = ("224.0.0.1", 5001), ("224.0.0.2", 5002)
ZERO, ONE = np.uint64(0), np.uint64(1)
_SEQUENCE = MOLDUDP64["downstream_packet"]["sequence_number"]
_set_sequence = wire_store(64, _SEQUENCE.offset, True)


def _address(text: str) -> int:
    return int.from_bytes(bytes(int(part) for part in text.split(".")), "big")


@entry
def accept(eng, at, end, number, a, a_port, b, b_port, both):
    """Take ``number`` packets of a message each; the messages that were taken."""
    lend_run(at, end)
    taken = ZERO
    for n in range(number):
        _set_sequence(at, n + ONE)
        # Which line is first changes all the time.
        first, first_port, second, second_port = a, a_port, b, b_port
        if both & n & ONE != ZERO:
            first, first_port, second, second_port = b, b_port, a, a_port
        begin, more = mold.accept(eng, at, end, first, first_port)
        if begin != ZERO:
            engine.set_run_numbered(eng, ONE)
            line.advance(eng)
            taken += more
        if both != ZERO:
            _, more = mold.accept(eng, at, end, second, second_port)
            taken += more
    return taken


class Lines:
    """See the module's text; a row's unit is a packet, of either line."""

    warm_ups = 1

    def __init__(self, both: bool, packets: int = PACKETS) -> None:
        self._both, self._number = both, packets // 2 if both else packets
        self.messages = packets
        self.name = "line, A and B" if both else "line"
        self.note = "sequence of MoldUDP64 packets alone, in cache; none is missing"
        if both:
            self.note = "likewise, the first copy of two wins, and its lead is recorded"

    def run(self) -> Outcome:
        twins = {f"{A[0]}:{A[1]}": f"{B[0]}:{B[1]}"} if self._both else {}
        taker = Engine(Config(feed=Feed(lines_b=twins)))
        layout = MOLDUDP64["downstream_packet"]
        message = MOLDUDP64["message_block"].encode(message_length=1, message_data=b"?")
        header = layout.encode(session="BENCH", sequence_number=1, message_count=1)
        raw = np.frombuffer(bytearray(header + message), np.uint8)
        at = raw.ctypes.data
        taken, timing = timed(
            accept,
            taker.block.address,
            np.uint64(at),
            np.uint64(at + len(raw)),
            np.uint64(self._number),
            np.uint64(_address(A[0])),
            np.uint64(A[1]),
            np.uint64(_address(B[0])),
            np.uint64(B[1]),
            np.uint64(self._both),
        )
        problems = []
        if int(taken) != self._number:
            problems.append(f"{taken} messages were taken, not {self._number}")
        seconds = taker.counters["packets_second"]
        if seconds != self._number * self._both or taker.counters["gaps"]:
            problems.append(f"{seconds} second copies were dropped")
        return Outcome(timing, int(taken), tuple(problems))

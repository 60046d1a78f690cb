"""The last datagrams of the feed, which a standby keeps so that nothing is missing at a takeover.

A standby's sockets are open and read all the time.  What it reads is not taken, since the stream of
the active says what the inputs are, but the newest datagrams are kept.  Who takes over gives them
to its engine, whose lines drop what they know already.  What is missing all the same is asked for
as ever.
"""

import ctypes
from collections import deque

import numpy as np

from tickpath.packet import PACKET

KEPT = 8_192
"""Datagrams; at 200,000 a second some 40 ms, several times what a standby lags behind."""


class FeedTail:
    """See the module's text."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept: deque[tuple[bytes, np.void]] = deque(maxlen=kept)
        self.seen = 0

    def keep(self, packets: np.ndarray) -> None:
        """Copy lent packets."""
        self.seen += len(packets)
        for each in packets:
            raw = ctypes.string_at(int(each["address"]), int(each["length"]))
            self._kept.append((raw, each.copy()))

    def take(self) -> tuple[np.ndarray, list[bytes]]:
        """All of them as packets, and their bytes, which must stay while the packets are used."""
        packets = np.zeros(len(self._kept), PACKET)
        held: list[bytes] = []
        for at, (raw, packet) in enumerate(self._kept):
            held.append(raw)
            packets[at] = packet
            packets[at]["address"] = np.frombuffer(raw, np.uint8).ctypes.data
        self._kept.clear()
        return packets, held

"""Damage to packets on their way: lost, repeated, late, cut, or full of nonsense.

One draw decides each packet's fate, so at most one fault befalls it and the counts are exact.
A repeated or late packet waits for one to eight others to pass it.  Batches are damaged one by one:
what still waits at a batch's end is sent then, and counts as late only if something did pass it.
Bytes that are replaced are replaced in a copy, because heartbeats share theirs.
"""

from dataclasses import fields

import numpy as np

from tickpath.generate.draw import column, share_column
from tickpath.generate.plan import Faults
from tickpath.generate.truth import FaultCounts
from tickpath.packet import LINK_ETHERNET, PACKET
from tickpath.wire.frame import FRAME
from tickpath.wire.moldudp64 import END_OF_SESSION, MOLDUDP64
from tickpath.wire.pitch241 import PITCH241
from tickpath.wire.table import Field

LOSS, DUPLICATE, REORDER, TRUNCATE, GARBAGE, UNHARMED = range(6)
MAX_DELAY = 8
"""Packets that may pass a repeated or late one."""
MAX_GARBLED = 8
"""Bytes that garbage replaces in one packet."""
NONSENSE = 200
"""Bytes of an inserted packet at most."""

_PAYLOAD = FRAME["ethernet"].length + FRAME["ipv4"].length + FRAME["udp"].length
MOLD = MOLDUDP64["downstream_packet"]["message_count"]
SEQUENCED_UNIT = PITCH241["sequenced_unit_header"]["count"]
"""Fields that say how many messages a packet has, in the header at a payload's beginning."""


class Damage:
    """Applies a plan's faults to batch after batch of packets, and counts what it did."""

    def __init__(self, faults: Faults, seed: int, count: Field = MOLD) -> None:
        """``count`` is the field of a packet's header that says how many messages follow."""
        self._count = count
        self._limits = np.cumsum([int(part * (1 << 32)) for _, part in faults.items()])
        self._seed = seed
        self._packets = 0
        self._counts = {each.name: 0 for each in fields(FaultCounts)}
        self._garbled = np.zeros(0, np.uint8)  # bytes of the batch that is lent

    @property
    def counts(self) -> FaultCounts:
        return FaultCounts(**self._counts)

    def apply(self, packets: np.ndarray, wire: np.ndarray) -> np.ndarray:
        """The batch as it arrives: ``PACKET[m]``, lent until the next call.

        ``wire`` holds the bytes of all ``packets``.
        """
        n = len(packets)
        drawn = column(self._seed, "fates", n, self._packets)
        more = column(self._seed, "damage", n, self._packets)
        self._packets += n
        fates = np.searchsorted(self._limits, (drawn >> np.uint64(32)).astype(np.int64), "right")
        packets = packets.copy()
        for name, fate in zip(Faults.__dataclass_fields__, range(UNHARMED), strict=True):
            self._counts[name] += int((fates == fate).sum()) if fate != REORDER else 0
        self._count_messages(packets, wire, fates)
        self._truncate(packets, more, fates == TRUNCATE)
        nonsense, behind = self._garbage(packets, wire, more, fates == GARBAGE)
        return self._sent(packets, fates, 1 + share_column(more, MAX_DELAY), nonsense, behind)

    def _count_messages(self, packets: np.ndarray, wire: np.ndarray, fates: np.ndarray) -> None:
        at = (packets["address"] - np.uint64(wire.ctypes.data)).astype(np.int64) + _PAYLOAD
        messages = wire[at + self._count.offset].astype(np.int64)
        if self._count.size == 2:
            messages = messages << 8 | wire[at + self._count.offset + 1]
            messages[messages == END_OF_SESSION] = 0
        self._counts["messages_lost"] += int(messages[fates == LOSS].sum())
        self._counts["messages_duplicated"] += int(messages[fates == DUPLICATE].sum())

    @staticmethod
    def _truncate(packets: np.ndarray, more: np.ndarray, hit: np.ndarray) -> None:
        """Keep at least one byte and lose at least one."""
        lengths = packets["length"][hit].astype(np.int64)
        packets["length"][hit] = 1 + share_column(more[hit], lengths - 1)

    def _garbage(
        self, packets: np.ndarray, wire: np.ndarray, more: np.ndarray, hit: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Garble every other packet that is hit, and make nonsense to go behind the others.

        Returns the inserted packets and the indexes of those that they follow.
        """
        chosen = np.flatnonzero(hit)
        garbled = chosen[more[chosen] & np.uint64(1) == 0]
        behind = chosen[more[chosen] & np.uint64(1) == 1]
        self._counts["garbled"] += len(garbled)
        self._counts["inserted"] += len(behind)
        lengths = packets["length"].astype(np.int64)
        inserted = np.zeros(len(behind), PACKET)
        inserted["length"] = 20 + share_column(more[behind], NONSENSE - 20)
        inserted["wire_length"], inserted["link"] = inserted["length"], LINK_ETHERNET
        inserted["ts_recv"] = packets["ts_recv"][behind]
        room = int(lengths[garbled].sum()) + int(inserted["length"].sum())
        self._garbled = column(self._seed, "bytes", room // 8 + 1, self._packets).view(np.uint8)
        base, at = np.uint64(self._garbled.ctypes.data), 0
        for index in garbled:
            length = int(lengths[index])
            begin = int(packets["address"][index]) - wire.ctypes.data
            copy = self._garbled[at : at + length]
            noise = copy.copy() | 1
            copy[:] = wire[begin : begin + length]
            spot, run = int(more[index] >> np.uint64(8)) % length, 1 + int(noise[0]) % MAX_GARBLED
            copy[spot : spot + run] ^= noise[spot : spot + run]
            packets["address"][index] = base + np.uint64(at)
            at += length
        starts = at + np.cumsum(inserted["length"]) - inserted["length"]
        inserted["address"] = base + starts.astype(np.uint64)
        return inserted, behind

    def _sent(
        self,
        packets: np.ndarray,
        fates: np.ndarray,
        delays: np.ndarray,
        inserted: np.ndarray,
        behind: np.ndarray,
    ) -> np.ndarray:
        """All packets in the order in which they arrive, and received in that order."""
        index = np.arange(len(packets))
        # A packet's place is twice its number; odd places lie between two packets.
        place = np.where(fates == REORDER, 2 * (index + delays) + 1, 2 * index)
        kept, again = fates != LOSS, fates == DUPLICATE
        number = np.concatenate((index[kept], index[again], behind))
        place = np.concatenate((place[kept], 2 * (index + delays)[again] + 1, 2 * behind + 1))
        late = np.concatenate(
            ((fates == REORDER)[kept], np.zeros(int(again.sum()) + len(behind), bool))
        )
        order = np.argsort(place, kind="stable")
        sent = np.concatenate((packets[kept], packets[again], inserted))[order]
        sent["ts_recv"] = np.maximum.accumulate(sent["ts_recv"])
        before = np.maximum.accumulate(np.concatenate(([-1], number[order])))[:-1]
        self._counts["reorder"] += int((late[order] & (before > number[order])).sum())
        return sent

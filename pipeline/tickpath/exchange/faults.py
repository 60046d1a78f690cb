"""What goes wrong on purpose: packets lost or spoilt, answers late, connections cut, bytes spoilt.

All of it is counted, and all chance in it comes from one seeded generator of its own, so that a
fault never changes what anybody else draws.  Packets are numbered from 1 as the feed makes them.
"""

import random
from collections import Counter, deque
from typing import NamedTuple

_WHOLE = 1 << 32
MAX_RANGES = 1_024
"""Ranges of packets that wait to be dropped or spoilt; the oldest is forgotten for a new one."""


class Disconnect(NamedTuple):
    """For the shell: end the connection of a port."""

    port: int


class Garbage(NamedTuple):
    """For the shell: write bytes that are no packet into the connection of a port."""

    port: int
    raw: bytes


Action = Disconnect | Garbage


class Faults:
    """The switches, and what they do to packets.  Ports are the accounts' numbers."""

    def __init__(self, seed: int, loss: float) -> None:
        self.counters: Counter[str] = Counter()
        self.delays_ns: Counter[int] = Counter()
        """How late a port's answers are."""
        self.messages_left: dict[int, int] = {}
        """Messages that a port may still send until it is cut off."""
        self._packet_number = 0
        self._loss = round(loss * _WHOLE)
        self._drops: deque[tuple[int, int]] = deque(maxlen=MAX_RANGES)
        self._spoils: deque[tuple[int, int]] = deque(maxlen=MAX_RANGES)
        self._chance = random.Random(f"faults {seed}")

    def drop(self, first: int, last: int) -> None:
        """Lose packets ``first`` to ``last``, both included."""
        self._drops.append((first, last))

    def spoil(self, first: int, last: int) -> None:
        """Give packets ``first`` to ``last`` a wrong byte each."""
        self._spoils.append((first, last))

    def packets(self, made: list[bytes]) -> list[bytes]:
        """What of the feed's packets gets to the wire."""
        sent = []
        for packet in made:
            self._packet_number += 1
            if self._is_in(self._drops) or self._is_lost():
                self.counters["packets_dropped"] += 1
                continue
            if self._is_in(self._spoils):
                self.counters["packets_spoilt"] += 1
                packet = self._spoilt(packet)
            sent.append(packet)
        return sent

    def garbage(self, length: int) -> bytes:
        """Random bytes for a wire."""
        return self._chance.randbytes(length)

    def _is_in(self, ranges: deque[tuple[int, int]]) -> bool:
        while ranges and ranges[0][1] < self._packet_number:
            ranges.popleft()
        return any(first <= self._packet_number <= last for first, last in ranges)

    def _is_lost(self) -> bool:
        return bool(self._loss) and self._chance.getrandbits(32) < self._loss

    def _spoilt(self, packet: bytes) -> bytes:
        """One byte of the packet is another one."""
        at = self._chance.randrange(len(packet))
        wrong = packet[at] ^ self._chance.randrange(1, 256)
        return packet[:at] + bytes([wrong]) + packet[at + 1 :]

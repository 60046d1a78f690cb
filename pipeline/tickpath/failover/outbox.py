"""The order stream of a node: what was made, what may leave, what the gateway has confirmed.

Every node makes the same stream, a deterministic function of the inputs; positions in it are bytes
since the day began.  An active hands pieces over as soon as the gate lets them: all members that it
names have acknowledged the record that a piece depends on.  A standby keeps the tail that the
gateway has not confirmed yet, which is what it would have to hand over.

At most `MOST_BYTES` are kept; a tail that is longer loses its begin, and the node says so by
`tail_position`: it may not take over from a gateway that stands before it.
"""

from collections import deque
from typing import NamedTuple

MOST_BYTES = 16 << 20


class Piece(NamedTuple):
    """Orders of one record."""

    begin: int
    record_number: int
    orders: bytes

    @property
    def end(self) -> int:
        return self.begin + len(self.orders)


class Outbox:
    """See the module's text."""

    def __init__(self, position: int = 0) -> None:
        self.position = position
        """Where the stream ends: the engine's ``order_position``."""
        self.handed = position
        """Up to where it was handed over, or need not be."""
        self.dropped_bytes = 0
        self._pieces: deque[Piece] = deque()
        self._kept_bytes = 0

    @property
    def tail_position(self) -> int:
        """Where the kept tail begins."""
        return self._pieces[0].begin if self._pieces else self.position

    @property
    def waiting_bytes(self) -> int:
        """What has not been handed over."""
        return self.position - self.handed

    def add(self, orders: bytes, record_number: int) -> None:
        """Orders, each behind its length, that follow from this record."""
        self._pieces.append(Piece(self.position, record_number, orders))
        self.position += len(orders)
        self._kept_bytes += len(orders)
        while self._kept_bytes > MOST_BYTES:
            self.dropped_bytes += self._drop_first()

    def move(self, by: int) -> None:
        """The stream began so many bytes later than where this one took it to begin."""
        self._pieces = deque(each._replace(begin=each.begin + by) for each in self._pieces)
        self.position += by
        self.handed += by

    def _drop_first(self) -> int:
        piece = self._pieces.popleft()
        self._kept_bytes -= len(piece.orders)
        self.handed = max(self.handed, piece.end)
        return len(piece.orders)

    def confirm(self, position: int) -> None:
        """The gateway has everything before a position: it need not be kept."""
        while self._pieces and self._pieces[0].end <= position:
            self._drop_first()
        self.handed = max(self.handed, min(position, self.position))

    def go_on_from(self, position: int) -> None:
        """The next hand-over begins here, where the gateway stands (or behind what we know)."""
        self.confirm(position)
        self.handed = position
        self.position = max(self.position, position)

    def due(self, acknowledged: int) -> Piece | None:
        """What may be handed over now, in one piece: the orders of records up to this one."""
        parts: list[bytes] = []
        last = 0
        for piece in self._pieces:
            if piece.end <= self.handed:
                continue
            if piece.record_number > acknowledged:
                break
            parts.append(piece.orders[max(0, self.handed - piece.begin) :])
            last = piece.record_number
        return Piece(self.handed, last, b"".join(parts)) if parts else None

    def hand_over(self, piece: Piece) -> None:
        """It is on its way."""
        self.handed = piece.end

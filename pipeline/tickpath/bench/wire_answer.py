"""What should have come out of a wire-to-wire run, and which packet triggered each order.

The reference is an engine that is given the same packets in memory.  It stops after every message
that asks for orders, so that each order's trigger, and the packet it was in, are known exactly.
Orders are told apart by their bytes: the reference number in them is never used twice.

Where packets were lost, the lines of the engine under test say which messages are missing; the
reference is made again without those packets, and must then agree.  So a run under loss is checked
as well as one without.
"""

import ctypes
from dataclasses import dataclass

import numpy as np

from tickpath.bench.own import used_spans
from tickpath.config import Config
from tickpath.engine import Engine
from tickpath.engine import _split as split
from tickpath.recovery import moldudp64
from tickpath.wire.frame import FRAME

HEADERS = sum(FRAME[name].length for name in ("ethernet", "ipv4", "udp"))


@dataclass(frozen=True)
class Answer:
    """Orders, the packet that triggered each, and the state at the end."""

    orders: list[bytes]
    trigger: np.ndarray  # int64: number of a packet of the session
    book_digest: int
    state_digest: int
    spans: list[tuple[str, int]]
    """What of the tables was used, for `Block.prefault`."""

    @property
    def places(self) -> dict[bytes, int]:
        """Where each order stands."""
        return {order: place for place, order in enumerate(self.orders)}


def answer_of(config: Config, packets: np.ndarray, lost: np.ndarray | None = None) -> Answer:
    """The answer to packets (`PACKET`), without those whose numbers are in ``lost``."""
    numbers = np.arange(len(packets))
    if lost is not None and len(lost):
        numbers = np.setdiff1d(numbers, lost)
        packets = packets[numbers]
    orders: list[bytes] = []
    triggers: list[int] = []

    def keep(made: memoryview) -> None:
        found = list(split(bytes(made)))
        orders.extend(found)
        triggers.extend([engine.block.get("packets") - 1] * len(found))

    engine = Engine(config, on_orders=keep)
    engine.block.set("egress_limit", 0)  # a pause after each message that asks for orders
    engine.process(packets)
    trigger = numbers[np.array(triggers, np.int64)] if triggers else np.zeros(0, np.int64)
    spans = used_spans(engine) if engine.block.book["venue"].any() else []
    return Answer(orders, trigger, engine.book_digest, engine.state_digest, spans)


def sequences_of(packets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first, behind) of the messages in each packet of one MoldUDP64 session."""
    rows = zip(packets["address"].tolist(), packets["length"].tolist(), strict=True)
    first = np.zeros(len(packets), np.int64)
    behind = np.zeros(len(packets), np.int64)
    for n, (address, length) in enumerate(rows):
        found = moldudp64.split(ctypes.string_at(address + HEADERS, length - HEADERS))
        if found is not None:
            first[n], behind[n] = found.sequence, found.behind
    return first, behind


def lost_packets(engine: Engine, packets: np.ndarray) -> np.ndarray:
    """Numbers of the packets that never came, as far as their messages tell; heartbeats do not."""
    first, behind = sequences_of(packets)
    holes = [(gap.first, gap.last) for gap in engine.gaps()]
    lines = engine.lines()
    # What was lost at the end has no packet behind it that would show it.
    holes.append((lines[0]["next"] if lines else 1, int(behind.max(initial=1)) - 1))
    is_lost = np.zeros(len(packets), bool)
    for low, high in holes:
        is_lost |= (first >= low) & (behind <= high + 1) & (behind > first)
    return np.flatnonzero(is_lost)

"""What really happened, read from the files of those who did it.

    exchange     every message that reached it, with the time of its clock; nothing is left out
    gateway      epochs in the order in which it took them; the order stream as it was handed over,
                 with epochs; what was never sent, and why
    nodes        who became active in which epoch, from which record on

Files are read on from where the last reading ended.  What is not whole yet is read the next time.
"""

import mmap
import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tickpath.chaos.error import ChaosError
from tickpath.exchange.journal import NAME as EXCHANGE_FILE
from tickpath.exchange.journal import RECORD, Kind
from tickpath.exchange.packing import Packing
from tickpath.failover.gateway_record import (
    EPOCH,
    HANDED,
    HANDED_FIELDS,
    HEADER,
    OUTCOME,
    OUTCOME_FIELDS,
    read_record,
)
from tickpath.failover.gateway_record import (
    RECORD as GATEWAY_RECORD,
)
from tickpath.failover.gateway_record import (
    Kind as GatewayKind,
)
from tickpath.failover.gateway_tail import LENGTH_BYTES, split
from tickpath.wire.gateway import NO_POSITION, Outcome
from tickpath.wire.ouch50 import OUCH50_INBOUND

_RECORD = Packing(RECORD)
NEVER_SENT_BELOW = Outcome.NEVER_RECEIVED
ENTER = OUCH50_INBOUND["enter_order"].type.encode()
REPLACE = OUCH50_INBOUND["replace_order"].type.encode()
CANCEL = OUCH50_INBOUND["cancel_order"].type.encode()
QUERY = OUCH50_INBOUND["account_query"].type.encode()
_BECAME = re.compile(r"node (\S+): active in epoch (\d+) from record ([\d,]+) on")


class Received(NamedTuple):
    """A message that the exchange got."""

    ts_ns: int
    """Of this machine's monotonic clock, by the exchange's."""
    raw: bytes


class Handed(NamedTuple):
    """A message of the order stream, as the gateway took it."""

    position: int
    epoch: int
    input_number: int
    raw: bytes


class Reign(NamedTuple):
    """A node that became active."""

    node: str
    epoch: int
    first_record: int


def is_order(raw: bytes) -> bool:
    """Whether a message is a new order, or replaces one."""
    return raw[:1] in (ENTER, REPLACE)


def is_cancel(raw: bytes) -> bool:
    """Whether a message cancels the whole of an order."""
    return raw[:1] == CANCEL and not OUCH50_INBOUND.decode(raw)["quantity"]


def names_of(raw: bytes) -> tuple[int, bytes]:
    """(number, name) that an order or a replacement gives itself."""
    kind = "enter_order" if raw[:1] == ENTER else "replace_order"
    layout = OUCH50_INBOUND[kind]
    at, name = layout["user_ref_num"], layout["clordid"]
    return (
        int.from_bytes(raw[at.offset : at.offset + at.size], "big"),
        raw[name.offset : name.offset + name.size],
    )


def _mapped(path: Path, least: int) -> mmap.mmap | None:
    try:
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    except (OSError, ValueError):  # not there yet, or empty
        return None
    return mapped if len(mapped) >= least else None


class Evidence:
    """See the module's text.  ``received``, ``handed``, ``epochs`` and ``reigns`` grow."""

    def __init__(self, directory: Path, nodes: tuple[str, ...], exchange_offset_ns: int) -> None:
        self._directory, self._nodes = directory, nodes
        self._offset_ns = exchange_offset_ns
        self.received: list[Received] = []
        self.logins = 0
        self.logins_before: set[int] = set()
        """Of which received messages a login came first, by their index."""
        self.handed: list[Handed] = []
        self.outcomes: dict[int, Outcome] = {}
        """By the position of the message."""
        self.never_received: set[bytes] = set()
        """Messages that were on a line which ended, and that the exchange says it never saw."""
        self.epochs: list[tuple[int, str]] = []
        """As the gateway took them, with the node."""
        self.findings: list[str] = []
        self._exchange_at = 0
        self._gateway_at, self._gateway_index = HEADER.length, 0

    def read(self) -> None:
        """Read what came to the files since the last time."""
        for raw, ts_ns in self._exchange():
            if raw[:1] == QUERY:
                self.logins += 1  # what the gateway itself asks behind a login
                self.logins_before.add(len(self.received))
            else:
                self.received.append(Received(ts_ns, raw))
        self._gateway()

    def _exchange(self) -> Iterator[tuple[bytes, int]]:
        mapped = _mapped(self._directory / "exchange" / EXCHANGE_FILE, RECORD.length)
        if mapped is None:
            return
        with mapped:
            while self._exchange_at + RECORD.length <= len(mapped):
                record = _RECORD.unpack(mapped, self._exchange_at)
                end = self._exchange_at + record.length
                if record.length < RECORD.length or end > len(mapped):
                    return
                if record.kind == Kind.RECEIVE:
                    raw = mapped[self._exchange_at + RECORD.length : end]
                    yield raw, record.ts_ns + self._offset_ns
                self._exchange_at = end

    def _gateway(self) -> None:
        mapped = _mapped(self._directory / "gateway" / "gateway.log", HEADER.length)
        if mapped is None:
            return
        with mapped:
            while (record := read_record(mapped, self._gateway_at)) is not None:
                if record.index != self._gateway_index:
                    self.findings.append(f"the gateway's record {record.index} is out of order")
                self._gateway_index = record.index + 1
                self._gateway_at += GATEWAY_RECORD.length + len(record.body)
                self._take(record.kind, record.body)

    def _take(self, kind: GatewayKind, body: bytes) -> None:
        if kind is GatewayKind.EPOCH:
            fields = EPOCH.decode(body)
            self.epochs.append((fields["epoch"], fields["node"].strip()))
        elif kind is GatewayKind.HANDED:
            epoch, position, number, _, _, _ = HANDED_FIELDS.unpack_from(body)
            messages = split(body[HANDED.length :])
            if messages is None:
                raise ChaosError("the gateway's file has orders that are not whole")
            for raw in messages:
                self.handed.append(Handed(position, epoch, number, bytes(raw)))
                position += LENGTH_BYTES + len(raw)
        elif kind is GatewayKind.OUTCOME:
            _, _, position, reason, _ = OUTCOME_FIELDS.unpack_from(body)
            if position != NO_POSITION:
                self.outcomes[position] = Outcome(reason)
            elif reason == Outcome.NEVER_RECEIVED:
                self.never_received.add(body[OUTCOME.length :])

    def reigns(self) -> list[Reign]:
        """Who became active, by what the nodes said; by epoch."""
        found: list[Reign] = []
        for name in self._nodes:
            log = self._directory / f"{name}.log"
            text = log.read_text(errors="replace") if log.exists() else ""
            for node, epoch, number in _BECAME.findall(text):
                found.append(Reign(node, int(epoch), int(number.replace(",", ""))))
        return sorted(found, key=lambda each: each.epoch)

    def first_order_behind(self, ts_ns: int) -> int:
        """Index of the first message that the exchange got behind a moment."""
        return bisect_right(self.received, ts_ns, key=lambda each: each.ts_ns)

"""What the gateway knows durably: epoch, position, the stream's tail, and outcomes that were given.

    store = GatewayStore(directory / "gateway.log", protocol="ouch50")
    store.append_epoch(7, "a", now)              # on the disk when this returns
    store.append_handed(...)                     # the intent, before the session sees a message
    store.flush(now)

The invariant: no epoch is used, no byte of the order stream given to the session and no outcome
told before it is recorded here.  Killing the process takes nothing that was recorded.  A power
failure takes nothing of the epochs, and of the rest what ``fsync`` allows (as for the session's
journal): with "always" nothing.

A torn tail is cut off and counted; damage in the middle is an error that names the place.  A file
that cannot be written (disk full, `max_bytes`) takes no more for good: see `gateway_file`.
"""

import struct
from collections import deque
from pathlib import Path
from typing import NamedTuple

import msgspec

from tickpath.failover.gateway_error import GatewayError
from tickpath.failover.gateway_file import PreallocatedFile
from tickpath.failover.gateway_record import (
    EPOCH,
    GROUP,
    HANDED,
    HANDED_FIELDS,
    HEADER,
    MAGIC,
    OUTCOME,
    OUTCOME_FIELDS,
    STORE_VERSION,
    Kind,
    Record,
    next_whole_record,
    packed,
    records,
)
from tickpath.failover.gateway_tail import LENGTH_BYTES, MAX_TAIL, Tail, split
from tickpath.session.store_file import Fsync
from tickpath.wire.gateway import NO_POSITION, Outcome
from tickpath.wire.table import WireError

FIRST_SETTLED = Outcome.NEVER_RECEIVED


class Given(NamedTuple):
    """An outcome, with its number, as nodes are told."""

    number: int
    after_sequence: int
    order_position: int
    reason: Outcome
    payload: bytes


class Pending(NamedTuple):
    """An order message that may not have reached the session's journal."""

    order_position: int
    journal_records: int
    message: bytes


class StoreCounters(msgspec.Struct):
    """What the file holds, and what has happened to it."""

    records: int = 0
    epochs: int = 0
    handed: int = 0
    outcomes: int = 0
    settled: int = 0
    """Of the outcomes: those of messages that were sent."""
    torn_bytes: int = 0
    """Bytes of an unfinished record that were cut off when it was opened."""


class GatewayStore:
    """See the module's text.  Raises `GatewayError` for whatever makes it unusable."""

    def __init__(
        self,
        path: str | Path,
        *,
        protocol: str,
        fsync: Fsync = "interval",
        fsync_interval_ns: int = 100_000_000,
        max_bytes: int = 1 << 30,
        max_tail: int = MAX_TAIL,
        max_outcomes: int = 1 << 16,
    ):
        self.path, self.protocol = Path(path), protocol
        self.counters = StoreCounters()
        self.group: bytes | None = None
        """What the nodes run, in the form of the table `GROUP`; None where no node was here."""
        self.epoch, self.holder = 0, ""
        self.input_number = 0
        self.tail = Tail(0, max_tail)
        self.outcomes: deque[Given] = deque(maxlen=max_outcomes)
        """The latest ones; older ones are let go, which the first one's number tells."""
        self.pending: deque[Pending] = deque()
        """Of an earlier process: what was handed over and may not have been sent."""
        self.ts_offset_ns = 0
        """What is added to the clock for the time stamps in the records."""
        self._file = PreallocatedFile(
            self.path, fsync=fsync, fsync_interval_ns=fsync_interval_ns, max_bytes=max_bytes
        )
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise

    @property
    def order_position(self) -> int:
        """Where the order stream stands: the bytes that were recorded."""
        return self.tail.position

    @property
    def next_outcome(self) -> int:
        """The number of the next outcome."""
        return self.counters.outcomes + 1

    @property
    def failure(self) -> str | None:
        """Why nothing is recorded any more."""
        return self._file.failure

    # ------------------------------------------------------------ writing

    def append_group(self, group: bytes, now_ns: int) -> None:
        """What the nodes of the group run; on the disk when this returns."""
        self._append(Kind.GROUP, group, now_ns)
        self._file.sync()

    def append_epoch(self, epoch: int, node: str, now_ns: int) -> None:
        """A new epoch; on the disk when this returns."""
        ts_ns = now_ns + self.ts_offset_ns
        self._append(Kind.EPOCH, EPOCH.encode(epoch=epoch, ts_ns=ts_ns, node=node), now_ns)
        self._file.sync()

    def append_handed(
        self,
        input_number: int,
        taken_position: int,
        journal_records: int,
        messages: bytes,
        now_ns: int,
    ) -> None:
        """The next bytes of the order stream; see `gateway_record.HANDED`."""
        fields = HANDED_FIELDS.pack(
            self.epoch,
            self.order_position,
            input_number,
            taken_position,
            journal_records,
            now_ns + self.ts_offset_ns,
        )
        self._append(Kind.HANDED, fields + messages, now_ns)

    def append_outcome(
        self, after_sequence: int, order_position: int, reason: Outcome, payload: bytes, now_ns: int
    ) -> Given:
        """What became of a message; gives it with its number."""
        number, ts_ns = self.next_outcome, now_ns + self.ts_offset_ns
        fields = OUTCOME_FIELDS.pack(number, after_sequence, order_position, reason, ts_ns)
        self._append(Kind.OUTCOME, fields + payload, now_ns)
        return self.outcomes[-1]

    def flush(self, now_ns: int) -> None:
        """Hand what was appended to the disk, as configured.  Raises `StoreError`."""
        self._file.sync_if_due(now_ns)

    @property
    def next_deadline(self) -> int | None:
        """When `flush` has something to do even if nothing is appended; None for never."""
        return self._file.next_deadline

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "GatewayStore":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _append(self, kind: Kind, body: bytes, now_ns: int) -> None:
        record = Record(self.counters.records, kind, body)
        self._file.append(packed(record), now_ns)
        self._apply(record)

    # ------------------------------------------------------------ opening

    def _load(self) -> None:
        file = self._file
        if not file.size:
            self._begin(b"")
            return
        with file.content() as content:
            raw = content[: HEADER.length]
            begun = raw.rstrip(b"\0")
            if self._header().startswith(begun) and len(begun) < HEADER.length:
                self._begin(begun)  # a crash left room without a whole header
                return
            self._check_header(raw)
            file.end = HEADER.length
            for behind, record in records(content):
                self._apply(record, is_read=True)
                file.end = behind
            again = next_whole_record(content, file.end)
            torn = len(content[file.end :].rstrip(b"\0"))
        if again is not None:
            raise GatewayError(
                f"{self.path}: damaged at byte {file.end}, behind {self.counters.records} records: "
                f"a whole record follows at byte {again}; restore the file from a copy, or begin "
                "in another directory and reconcile with the exchange"
            )
        self.counters.torn_bytes = torn
        if torn:
            file.cut(file.end)

    def _header(self) -> bytes:
        return HEADER.encode(magic=MAGIC, version=STORE_VERSION, protocol=self.protocol)

    def _begin(self, begun: bytes) -> None:
        """Write the header of a new file; the front of one is what a crash left of it."""
        self.counters.torn_bytes = len(begun)
        self._file.append(self._header(), 0)
        self._file.sync()
        self._file.sync_directory()

    def _check_header(self, raw: bytes) -> None:
        header = HEADER.decode(raw.ljust(HEADER.length, b"\0"))
        if header["magic"] != MAGIC:
            raise GatewayError(f"{self.path}: not a gateway's file; name another directory")
        if header["version"] != STORE_VERSION:
            raise GatewayError(
                f"{self.path}: version {header['version']}, this program writes {STORE_VERSION}: "
                "finish the day with the program that began it"
            )
        if header["protocol"] != self.protocol:
            raise GatewayError(
                f"{self.path}: of {header['protocol']!r}, not of {self.protocol!r}; name another "
                "directory"
            )

    # ------------------------------------------------------------ records

    def _apply(self, record: Record, is_read: bool = False) -> None:
        """What a record means for where the gateway stands."""
        self.counters.records += 1
        body = record.body
        try:
            if record.kind is Kind.GROUP:
                GROUP.decode(body)  # refuses what is too short
                self.group = body
            elif record.kind is Kind.EPOCH:
                fields = EPOCH.decode(body)
                self.counters.epochs += 1
                self.epoch, self.holder = fields["epoch"], fields["node"]
            elif record.kind is Kind.HANDED:
                self._apply_handed(body, is_read)
            else:
                self._apply_outcome(body, is_read)
        except (WireError, ValueError, struct.error) as error:
            raise GatewayError(
                f"{self.path}: record {record.index}: {error}: not written by this program"
            ) from None

    def _apply_handed(self, body: bytes, is_read: bool) -> None:
        _, position, input_number, taken, journal_records, _ = HANDED_FIELDS.unpack_from(body)
        if position != self.order_position:
            raise ValueError(f"position {position} behind {self.order_position}")
        self.counters.handed += 1
        messages = body[HANDED.length :]
        self.tail.append(messages)
        self.input_number = input_number
        if not is_read:
            return
        while self.pending and self.pending[0].order_position < taken:
            self.pending.popleft()
        for message in split(messages) or ():
            self.pending.append(Pending(position, journal_records, message))
            position += LENGTH_BYTES + len(message)

    def _apply_outcome(self, body: bytes, is_read: bool) -> None:
        number, after, position, reason, _ = OUTCOME_FIELDS.unpack_from(body)
        if number != self.next_outcome:
            raise ValueError(f"outcome {number} behind {self.counters.outcomes}")
        self.counters.outcomes += 1
        self.counters.settled += reason >= FIRST_SETTLED
        payload = body[OUTCOME.length :]
        self.outcomes.append(Given(number, after, position, Outcome(reason), payload))
        if is_read and position != NO_POSITION:
            known = [each for each in self.pending if each.order_position != position]
            if len(known) < len(self.pending):
                self.pending = deque(known)

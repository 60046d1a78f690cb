"""The journal of an order session: what was sent and received, safe from a crash at any byte.

    journal = Journal("orders.journal", protocol="ouch50")
    journal.append_sent(user_ref_num, message, now)       # kept back ...
    journal.flush(now)                                    # ... until here: now it may be sent

Nothing may reach a socket or leave to the engine before the `flush` behind its record, so whatever
the outside has seen is in the file.  Opening it gives the session's name, the next sequence that
is expected, the highest UserRefNum that was ever used, and `entries`, from which an engine is fed
again: the sequence that it has applied last is all it needs to never apply a message twice.

A torn tail is cut off and counted; damage in the middle is an error that names the place, because
nobody knows what stood there.  For a disk that is full see `tickpath.session.store_file`.

What a power failure takes depends on ``fsync``: nothing with "always", what came after the last
`fsync_interval_ns` with "interval", whatever the system had not written with "none".  Killing the
process takes nothing with any of them.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from tickpath.session.error import SessionError
from tickpath.session.store_file import AppendFile, Fsync
from tickpath.session.store_record import (
    HEADER,
    JOURNAL_VERSION,
    MAGIC,
    RECORD,
    Entry,
    Kind,
    next_whole_record,
    packed,
    read_record,
    records,
)
from tickpath.wire.table import WireError


class JournalCounters(msgspec.Struct):
    """What a journal holds, and what has happened to it."""

    records: int = 0
    sent: int = 0
    received: int = 0
    settled: int = 0
    sessions: int = 0
    torn_bytes: int = 0
    """Bytes of an unfinished record that were cut off when it was opened."""
    flushes: int = 0


class Journal:
    """See the module's text.  Raises `SessionError` for whatever makes it unusable."""

    def __init__(
        self,
        path: str | Path,
        *,
        protocol: str,
        fsync: Fsync = "interval",
        fsync_interval_ns: int = 100_000_000,
        max_bytes: int = 1 << 36,
    ):
        self.path = Path(path)
        self.protocol = protocol
        self.counters = JournalCounters()
        self.session = ""
        """The session whose messages come now; blank where there was none."""
        self.next_sequence = 1
        """The sequence of the next message that is expected in it."""
        self.highest_user_ref_num = 0
        """The highest that was used in it."""
        self._session_offset = HEADER.length  # where the records of the session begin
        self._kept_back = bytearray()
        options = {"fsync_interval_ns": fsync_interval_ns, "max_bytes": max_bytes}
        self._file = AppendFile(self.path, fsync=fsync, **options)
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise

    # ------------------------------------------------------------ writing

    def append_session(self, name: str, sequence: int, ts_ns: int) -> None:
        """A session begins, with the sequence of its first message; UserRefNums begin anew."""
        self._append(Kind.SESSION, sequence, ts_ns, name.encode("ascii"))

    def append_sent(self, user_ref_num: int, message: bytes, ts_ns: int) -> int:
        """A message that will be sent after the next `flush`; gives the index of its record.

        ``user_ref_num`` is 0 where the message uses none up.
        """
        return self._append(Kind.SENT, user_ref_num, ts_ns, message)

    def append_received(self, sequence: int, message: bytes, ts_ns: int) -> None:
        """A message of the session, which must be the next one: no hole and no repetition."""
        if sequence != self.next_sequence:
            raise SessionError(
                f"{self.path}: message {sequence} of session {self.session} was to be recorded, "
                f"{self.next_sequence} is the next"
            )
        self._append(Kind.RECEIVED, sequence, ts_ns, message)

    def append_settled(self, index: int, outcome: str, ts_ns: int) -> None:
        """The message sent as record ``index`` will never be answered, and what follows from it."""
        self._append(Kind.SETTLED, index, ts_ns, outcome.encode("ascii"))

    def flush(self, now_ns: int) -> None:
        """Hand everything appended so far to the operating system, and to the disk as configured.

        Raises `JournalError` where that fails; the file is then as after the last success.
        """
        if self._kept_back:
            self._file.append(bytes(self._kept_back), now_ns)
            self._kept_back.clear()
            self.counters.flushes += 1
        self._file.sync_if_due(now_ns)

    @property
    def next_deadline(self) -> int | None:
        """When `flush` has something to do even if nothing is appended; None for never."""
        return self._file.next_deadline

    @property
    def size_bytes(self) -> int:
        """Bytes of the file."""
        return self._file.size

    @property
    def fsyncs(self) -> int:
        """How often the disk was waited for."""
        return self._file.fsyncs

    def close(self) -> None:
        """Close the file; what was appended and not flushed was never promised to anyone."""
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ------------------------------------------------------------ reading

    def entries(self, *kinds: Kind) -> Iterator[Entry]:
        """The flushed records of the current session in order, all or those of some kinds.

        Records that are written while this runs are not in it.
        """
        self._file.check()
        at, end = self._session_offset, self._file.size
        with self._file.content() as content:
            while at < end:
                entry = read_record(content, at)
                if entry is None:
                    raise SessionError(f"{self.path}: damaged at byte {at} since it was opened")
                at += RECORD.length + len(entry.payload)
                if not kinds or entry.kind in kinds:
                    yield entry

    def sent(self) -> Iterator[Entry]:
        """Every message that was sent in this session, in order."""
        return self.entries(Kind.SENT)

    def received(self, after: int = 0) -> Iterator[Entry]:
        """Messages of this session with a sequence beyond ``after``, in order.

        With ``after`` the last sequence that an engine has applied, none is applied twice.
        """
        return (each for each in self.entries(Kind.RECEIVED) if each.number > after)

    # ------------------------------------------------------------ opening

    def _load(self) -> None:
        if self._file.size < HEADER.length:
            self._begin()
            return
        with self._file.content() as content:
            self._check_header(content[: HEADER.length])
            end = HEADER.length
            for behind, entry in records(content):
                self._apply(entry, end)
                end = behind
            again = next_whole_record(content, end)
        if again is not None:
            raise SessionError(
                f"{self.path}: damaged at byte {end}, behind {self.counters.records} records: "
                f"a whole record follows at byte {again}; restore the file from a copy, or move "
                "it away and reconcile with the exchange"
            )
        self.counters.torn_bytes = self._file.size - end
        if self.counters.torn_bytes:
            self._file.cut(end)

    def _begin(self) -> None:
        """Write the header of a new file; the front of one is what a crash left of it."""
        header = HEADER.encode(magic=MAGIC, version=JOURNAL_VERSION, protocol=self.protocol)
        if self._file.size:
            with self._file.content() as content:
                if not header.startswith(content[:]):
                    raise SessionError(f"{self.path}: not an order journal; name another file")
        self.counters.torn_bytes = self._file.size
        self._file.cut(0)
        self._file.append(header, 0)
        if self._file.fsync != "none":
            self._file.sync()
            self._file.sync_directory()

    def _check_header(self, raw: bytes) -> None:
        try:
            header = HEADER.decode(raw)
        except WireError as error:
            raise SessionError(f"{self.path}: {error}") from None
        if header["magic"] != MAGIC:
            raise SessionError(f"{self.path}: not an order journal; name another file")
        if header["version"] != JOURNAL_VERSION:
            raise SessionError(
                f"{self.path}: journal version {header['version']}, this program writes "
                f"{JOURNAL_VERSION}: finish its session with the program that began it"
            )
        if header["protocol"] != self.protocol:
            raise SessionError(
                f"{self.path}: a journal of {header['protocol']!r}, not of {self.protocol!r}; "
                "name another file"
            )

    # ------------------------------------------------------------ records

    def _append(self, kind: Kind, number: int, ts_ns: int, payload: bytes) -> int:
        self._file.check()
        entry = Entry(self.counters.records, kind, number, ts_ns, payload)
        offset = self._file.size + len(self._kept_back)
        self._kept_back += packed(entry)
        self._apply(entry, offset)
        return entry.index

    def _apply(self, entry: Entry, offset: int) -> None:
        """What a record at an offset means for where the session stands."""
        counters = self.counters
        counters.records += 1
        if entry.kind is Kind.SESSION:
            counters.sessions += 1
            self.session = entry.payload.decode("ascii", "replace")
            self.next_sequence, self.highest_user_ref_num = entry.number, 0
            self._session_offset = offset
        elif entry.kind is Kind.SENT:
            counters.sent += 1
            self.highest_user_ref_num = max(self.highest_user_ref_num, entry.number)
        elif entry.kind is Kind.SETTLED:
            counters.settled += 1
        elif entry.number != self.next_sequence:
            raise SessionError(
                f"{self.path}: record {entry.index} at byte {offset} is message {entry.number} of "
                f"session {self.session}, {self.next_sequence} was the next: it was not written by "
                "this program"
            )
        else:
            counters.received += 1
            self.next_sequence += 1

"""What a venue needs to come back after a crash: its inputs, with their times, and what they gave.

    marker | checksum | length | kind | port | ts_ns | payload

The file begins with a `Kind.DAY`: which venue, of which configuration.  Then come the inputs as
they were taken, and a `Kind.MARK` for every round of output.  A round is written at once, inputs
and mark together, before any of its output is handed to a socket.  So:

  * restored are the books, references, match numbers and sequence numbers, every account's orders,
    holdings, used names and answers (replayable from 1), the feed's messages as far as they are
    kept for requests, the state of the background flow and its chance, faults that were switched
    on, and exchange time, which goes on where it stood: the time in between did not happen
  * a message that an account sent and that is not in the file was never answered
  * packets wait for their turn to be sent, so a mark also says how many have left by then: those
    behind the last mark's are sent again, with their numbers, and the feed has no hole
  * connections are not restored: whoever was logged in is taken as disconnected, with what his
    account wants to happen then
  * counters of connections, and of requests for messages, begin anew

A restart runs the day again, so it takes the time that matching takes; the marks are compared on
the way, and a venue that says something else than before (another version of the program, another
recording) is refused.  A torn tail is cut off; damage in the middle is an error.

Killing the process takes nothing.  What a power failure takes is decided by ``fsync``, as in
`tickpath.session.store`, whose file this is.
"""

from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from tickpath.exchange import command
from tickpath.exchange.config import Exchange
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.packing import Packing
from tickpath.exchange.venue import Marks, Venue
from tickpath.session.error import SessionError
from tickpath.session.store_file import AppendFile, Fsync
from tickpath.wire.table import Message

NAME = "exchange.journal"
VERSION = 1
MARKER = b"\xe7TX\x0a"
MAX_BYTES = 1 << 36

RECORD = Message(
    "",
    "exchange_record",
    23,
    (
        ("marker", "bytes:4"),
        ("checksum", "u32"),
        ("length", "u32"),
        ("kind", "u8"),
        ("port", "u16"),
        ("ts_ns", "u64"),
        ("payload", "bytes:*"),
    ),
)
DAY = Message(
    "",
    "day",
    28,
    (("version", "u16"), ("session", "ascii:10"), ("digest", "ascii:16")),
)
MARK = Message(
    "",
    "mark",
    40,
    (
        ("next_sequence", "u64"),
        ("packets", "u64"),
        ("packets_crc", "u32"),
        ("said", "u64"),
        ("said_crc", "u32"),
        ("packets_left", "u64"),
    ),
)
_RECORD, _DAY, _MARK = Packing(RECORD), Packing(DAY), Packing(MARK)
_CHECKED = RECORD["length"].offset
MAX_RECORD = RECORD.length + 65_535
assert (*Marks._fields, "packets_left") == _MARK.names


class Kind(IntEnum):
    """What a record tells."""

    DAY = 1
    RECEIVE = 2  # a message of an account
    CONNECT = 3
    DISCONNECT = 4
    COMMAND = 5
    CLOSE = 6
    MARK = 7


class Entry(NamedTuple):
    """One record, read back."""

    kind: Kind
    port: int
    ts_ns: int
    payload: bytes


class Recovered(NamedTuple):
    """A venue as it was, and what it said so far, by port and in order."""

    venue: Venue
    said: list[tuple[int, bytes]]
    dropped: list[tuple[int, bytes]]
    packets_left: int
    """Packets that had left for certain."""
    waiting: list[bytes]
    """Those behind them, which may not have been sent."""
    inputs: int
    torn_bytes: int


class Journal:
    """The file of one day, in a directory of its own.  Raises `ExchangeError`."""

    def __init__(self, directory: str | Path, *, fsync: Fsync = "none") -> None:
        self.path = Path(directory) / NAME
        self._kept_back = bytearray()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = AppendFile(
                self.path, fsync=fsync, fsync_interval_ns=100_000_000, max_bytes=MAX_BYTES
            )
        except OSError as error:
            raise ExchangeError(f"{directory}: cannot be a journal: {error.strerror}") from None
        except SessionError as error:
            raise ExchangeError(str(error)) from None

        if 0 < self._file.size < RECORD.length + DAY.length:  # a day that never began
            self._file.cut(0)

    @property
    def is_new(self) -> bool:
        """True where no day has begun in it."""
        return self._file.size == 0

    # ------------------------------------------------------------ writing

    def begin(self, config: Exchange, session: str, ts_ns: int) -> None:
        """A day begins."""
        payload = _DAY.encode(version=VERSION, session=session, digest=config.digest())
        self.append(Kind.DAY, 0, ts_ns, payload)

    def append(self, kind: Kind, port: int, ts_ns: int, payload: bytes = b"") -> None:
        """Note an input; it is written by the next `flush`."""
        length = RECORD.length + len(payload)
        raw = _RECORD.pack(MARKER, 0, length, kind, port, ts_ns) + payload
        checked = raw[_CHECKED:]
        self._kept_back += MARKER + crc32(checked).to_bytes(RECORD["checksum"].size, "big")
        self._kept_back += checked

    def mark(self, venue: Venue, packets_left: int) -> None:
        """Note how far the venue has come, and how many of its packets have left."""
        self.append(Kind.MARK, 0, venue.now_ns, _MARK.pack(*venue.marks(), packets_left))

    def flush(self, now_ns: int) -> None:
        """Write what was noted; only then may output leave.  ``now_ns`` is the caller's clock."""
        try:
            if self._kept_back:
                self._file.append(bytes(self._kept_back), now_ns)
                self._kept_back.clear()
            self._file.sync_if_due(now_ns)
        except SessionError as error:
            raise ExchangeError(str(error)) from None

    def close(self, is_over: bool = False) -> None:
        """Close the file; a day that is over is put aside, so that the next can begin."""
        session = ""
        if is_over and not self.is_new:
            session = self._day().session.decode().strip()
        self._file.close()
        if session:
            self.path.rename(self.path.with_name(f"exchange-{session}.journal"))

    # ------------------------------------------------------------ reading

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """(offset behind it, record), up to the first that is not whole."""
        with self._file.content() as content:
            at = 0
            while (entry := _read(content, at)) is not None:
                at += RECORD.length + len(entry.payload)
                yield at, entry

    def recover(self, config: Exchange) -> Recovered:
        """Run the day again.  Raises `ExchangeError` where it was another venue's, or damaged."""
        day = self._day()
        session, digest = (each.decode().strip() for each in (day.session, day.digest))
        if day.version != VERSION:
            raise ExchangeError(f"{self.path}: version {day.version}, this program has {VERSION}")
        if digest != config.digest():
            raise ExchangeError(
                f"{self.path}: a journal of another configuration; give the one it began with, or "
                "another directory"
            )
        venue = Venue(config, session)
        venue.open()
        said: list[tuple[int, bytes]] = []
        dropped: list[tuple[int, bytes]] = []
        waiting: deque[bytes] = deque()
        inputs = left = end = 0
        for behind, entry in self.entries():
            end = behind
            if entry.kind is not Kind.MARK:
                inputs += 1
                _again(venue, entry)
                continue
            venue.advance(entry.ts_ns)
            waiting += venue.take_packets()
            said += venue.take_said()
            dropped += venue.take_dropped()
            venue.take_actions()
            mark = _MARK.unpack(entry.payload)
            while left < mark.packets_left and waiting:
                waiting.popleft()
                left += 1
            if venue.marks() != mark[:-1]:
                raise ExchangeError(
                    f"{self.path}: at byte {behind} the venue says something else than it did: "
                    "another version of the program or another recording; begin a new day in "
                    "another directory"
                )
        torn = self._cut(end)
        for number in sorted(venue.connected):
            self.append(Kind.DISCONNECT, number, venue.now_ns)
            venue.disconnect(number, venue.now_ns)
        return Recovered(venue, said, dropped, left, list(waiting), inputs, torn)

    def _day(self) -> Any:
        first = next(self.entries(), None)
        if first is None or first[1].kind is not Kind.DAY:
            raise ExchangeError(
                f"{self.path}: not a journal of an exchange; name another directory"
            )
        return _DAY.unpack(first[1].payload)

    def _cut(self, end: int) -> int:
        """Cut a torn tail off; its bytes."""
        torn = self._file.size - end
        if not torn:
            return 0
        with self._file.content() as content:
            found = content.find(MARKER, end + 1)
            while found >= 0:
                if _read(content, found) is not None:
                    raise ExchangeError(
                        f"{self.path}: damaged at byte {end}: a whole record follows at byte "
                        f"{found}; restore the file, or begin in another directory"
                    )
                found = content.find(MARKER, found + 1)
        self._file.cut(end)
        return torn


def _read(content: mmap, at: int) -> Entry | None:
    """The record at an offset; None where there is none that is whole and right."""
    if len(content) - at < RECORD.length:
        return None
    record = _RECORD.unpack(content, at)
    if record.marker != MARKER or not RECORD.length <= record.length <= MAX_RECORD:
        return None
    raw = content[at : at + record.length]
    if len(raw) < record.length or crc32(raw[_CHECKED:]) != record.checksum:
        return None
    try:
        return Entry(Kind(record.kind), record.port, record.ts_ns, raw[RECORD.length :])
    except ValueError:  # a kind of a later version
        return None


def _again(venue: Venue, entry: Entry) -> None:
    """Give the venue an input that it had."""
    if entry.kind is Kind.RECEIVE:
        venue.receive(entry.port, entry.payload, entry.ts_ns)
    elif entry.kind is Kind.CONNECT:
        venue.connect(entry.port, entry.ts_ns)
    elif entry.kind is Kind.DISCONNECT:
        venue.disconnect(entry.port, entry.ts_ns)
    elif entry.kind is Kind.COMMAND:
        venue.advance(entry.ts_ns)
        venue.operate(command.parse(command.read(entry.payload.decode()), venue), entry.ts_ns)
    elif entry.kind is Kind.CLOSE:
        venue.close(entry.ts_ns)

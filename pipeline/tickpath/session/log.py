"""The log of an order session: every packet of both directions with its time, and no password.

    log = SessionLog("session.log", epoch_ns=unix_time_at_zero)
    line = log.line("127.0.0.1:4001")        # one connection; bytes as they come and go
    line.sent(output, now); line.received(received, now); line.note("closed", now)

    2026-11-21T14:00:00.000000123Z 127.0.0.1:4001 > login_request username=user password=*** ...

The password is masked by its place in the packet; the secrets that the log is told about are masked
wherever they turn up, for whatever reason.  Bytes that are no packet, and packets that never became
whole, are counted and not shown: they may be the front of a login.

The log is bounded: at `max_bytes` it is renamed to ``session.log.1`` (and that to ``.2`` ...), and
what is beyond `keep` is deleted.  A log that cannot be written does not stop the trading: what is
lost is counted.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tickpath.session.credentials import Secret
from tickpath.session.error import SessionError
from tickpath.session.log_text import MASK, Style, text_of
from tickpath.session.ouch_message import Dialect
from tickpath.session.soup_framing import FramingError, PacketReader

SECOND_NS = 1_000_000_000


class LogCounters(msgspec.Struct):
    """What went into a log, and what did not."""

    lines: int = 0
    bytes_unframed: int = 0
    """Bytes that are no packet; only their number is in the log."""
    rotations: int = 0
    lines_lost: int = 0
    """Lines that could not be written."""


class SessionLog:
    """See the module's text.  Raises `SessionError` where the file cannot be opened at all."""

    def __init__(
        self,
        path: str | Path,
        *,
        style: Style = "decoded",
        dialect: Dialect | None = None,
        secrets: Iterable[Secret] = (),
        epoch_ns: int = 0,
        max_bytes: int = 64 << 20,
        keep: int = 4,
    ):
        self.path = Path(path)
        self.style: Style = style
        self.dialect = dialect
        self.epoch_ns = epoch_ns
        self.max_bytes = max_bytes
        self.keep = keep
        self.counters = LogCounters()
        self._secrets = [each.reveal() for each in secrets if each.reveal()]
        self._file: int | None = None
        try:
            self._open()
        except OSError as error:
            raise SessionError(f"{path}: the log cannot be opened: {error.strerror}") from None

    def line(self, name: str) -> "LineLog":
        """The log of one connection."""
        return LineLog(self, name)

    def write(self, texts: list[str], now_ns: int) -> None:
        """Write lines with the time before each."""
        if not texts:
            return
        time = _time_text(self.epoch_ns + now_ns)
        content = "".join(f"{time} {self.redacted(text)}\n" for text in texts).encode()
        try:
            if self._file is None:
                self._open()
            if self._size and self._size + len(content) > self.max_bytes:
                self._rotate()
            if os.write(self._file, content) != len(content):  # type: ignore[arg-type]
                raise OSError
            self._size += len(content)
            self.counters.lines += len(texts)
        except OSError:
            self.counters.lines_lost += len(texts)

    def redacted(self, text: str) -> str:
        """``text`` without any of the secrets, as text or in hexadecimal."""
        for secret in self._secrets:
            text = text.replace(secret, MASK).replace(secret.encode().hex(), MASK)
        return text

    def masked(self, raw: bytes) -> bytes:
        """A packet with every secret in it covered up, whatever field it stands in."""
        for secret in self._secrets:
            raw = raw.replace(secret.encode(), b"*" * len(secret))
        return raw

    def close(self) -> None:
        """Close the file; what is written afterwards opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o600)
        self._size = os.fstat(self._file).st_size

    def _rotate(self) -> None:
        """Make room: the oldest file goes, each of the others gets the next number."""
        self.close()
        for number in range(self.keep, 1, -1):
            if self._numbered(number - 1).exists():
                self._numbered(number - 1).replace(self._numbered(number))
        if self.keep:
            self.path.replace(self._numbered(1))
        else:
            self.path.unlink()
        self.counters.rotations += 1
        self._open()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


class LineLog:
    """The log of one connection, which puts packets together again from the bytes of each way."""

    def __init__(self, log: SessionLog, name: str):
        self._log = log
        self._name = name
        self._readers: dict[str, PacketReader | None] = {">": PacketReader(), "<": PacketReader()}

    def sent(self, sent: bytes, now_ns: int) -> None:
        """Bytes that this side wrote."""
        self._take(">", sent, now_ns)

    def received(self, received: bytes, now_ns: int) -> None:
        """Bytes that this side read."""
        self._take("<", received, now_ns)

    def note(self, text: str, now_ns: int) -> None:
        """Something that happened to the connection."""
        self._log.write([f"{self._name} - {_printable(text)}"], now_ns)

    def closed(self, why: str, now_ns: int) -> None:
        """The connection has ended."""
        held = sum(each.held_bytes for each in self._readers.values() if each is not None)
        self._log.counters.bytes_unframed += held
        unfinished = f", {held} bytes of unfinished packets" if held else ""
        self.note(f"closed: {why}{unfinished}", now_ns)

    def _take(self, direction: str, content: bytes, now_ns: int) -> None:
        reader, log = self._readers[direction], self._log
        if reader is None:
            log.counters.bytes_unframed += len(content)
            return
        reader.feed(content)
        texts = []
        try:
            while (found := reader.next_packet()) is not None:
                layout, raw = found
                text = text_of(layout, log.masked(raw), log.style, log.dialect)
                texts.append(f"{self._name} {direction} {text}")
        except FramingError as error:
            # From here on nobody can say where a packet begins.
            log.counters.bytes_unframed += reader.held_bytes
            texts.append(f"{self._name} {direction} {reader.held_bytes} bytes, {error.detail}")
            self._readers[direction] = None
        log.write(texts, now_ns)


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _time_text(unix_ns: int) -> str:
    seconds, rest = divmod(unix_ns, SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"

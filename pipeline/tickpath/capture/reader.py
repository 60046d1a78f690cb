"""Reading a capture: the source of its bytes, the walk over its records, and what was found.

Each step takes a window of the source, lets the walk fill a packet array from it, and lends that
array.  A step either uses bytes of the window, or asks for a longer one (bounded by the longest
record), or ends: so whatever the bytes are, reading ends.
"""

import ctypes
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import BinaryIO

import numpy as np

from tickpath.capture import counters as slot
from tickpath.capture.compression import EXPANDERS, compression_of
from tickpath.capture.counters import COUNTERS
from tickpath.capture.daily import DailyRuns
from tickpath.capture.error import CaptureError
from tickpath.capture.pcap import PcapRecords
from tickpath.capture.pcapng import PcapngBlocks
from tickpath.capture.pitch_ascii import PitchLines
from tickpath.capture.recognise import HEAD_BYTES, recognise, why_unknown
from tickpath.capture.source import Mapped, Source, Streamed
from tickpath.packet import PACKET

_MAGIC_BYTES = 8

_Records = PcapRecords | PcapngBlocks | DailyRuns | PitchLines
_KINDS: dict[str, type[_Records]] = {
    each.kind: each for each in (PcapRecords, PcapngBlocks, DailyRuns, PitchLines)
}


class Capture:
    """A capture that is being read, once, from its beginning to its end.

    ``path`` as it was given; ``kind``: ``"pcap"``, ``"pcapng"``, ``"itch"`` or ``"pitch_ascii"``;
    ``compression``: None, ``"gzip"`` or ``"zstd"``; ``size`` in bytes of the file, 0 for a pipe.
    """

    def __init__(self, path: str, size: int, source: Source) -> None:
        """Raises `CaptureError` for content that is not recognised; ``source`` stays open then."""
        self.path, self.size = path, size
        self.compression = source.compression
        self._source = source
        self._tally = np.zeros(len(COUNTERS), np.uint64)
        self._ended = False
        self._found: list[str] = []
        address, length, _ = source.window(HEAD_BYTES)
        head = ctypes.string_at(address, min(length, HEAD_BYTES))
        kind = recognise(head)
        if kind is None:
            if not head and source.findings:
                raise CaptureError(f"{source.findings[0]}; it has no packets")
            within = f" once expanded from {self.compression}," if self.compression else ""
            reason = why_unknown(head) if head else "is empty; name a capture with packets"
            raise CaptureError(f"{path}:{within} {reason}")
        self.kind: str = kind
        self._records = _KINDS[kind](path, head, self._tally)

    @property
    def position(self) -> int:
        """Bytes of the file that were used so far; of a compressed one, that were expanded."""
        return self._source.position

    @property
    def counters(self) -> dict[str, int]:
        """Counts so far, by the names of `tickpath.capture.counters`."""
        return {name: int(count) for name, count in zip(COUNTERS, self._tally, strict=True)}

    @property
    def findings(self) -> list[str]:
        """One line for each thing that is wrong with the file as far as it was read."""
        malformed = [f"{self.path}: {each}" for each in self._records.findings()]
        return [*self._source.findings, *self._found, *malformed]

    def batches(self, most: int = 4096) -> Iterator[np.ndarray]:
        """The packets from here on, as arrays of up to ``most`` `PACKET` records, never empty.

        The array and the bytes behind its addresses are valid until the next step; both are used
        again then.  A file that is cut or corrupt ends the iteration: see `findings`.
        """
        if most < 1:
            raise ValueError(f"most is at least 1, not {most}")
        packets = np.zeros(most, PACKET)
        least = 0
        while not self._ended:
            address, length, final = self._source.window(least)
            used, count, status, detail = self._records.walk(address, length, packets, final)
            self._source.advance(used)
            least = self._next(status, detail, length - used, final)
            if count:
                yield packets[:count]

    def close(self) -> None:
        """Give the file and its memory back; addresses that were lent are invalid from here on."""
        self._source.close()

    def __enter__(self) -> "Capture":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _next(self, status: int, detail: int, left: int, final: bool) -> int:
        """What the next window must hold at least; or the end, with what was left unread."""
        from tickpath.capture import walk

        if status == walk.FULL:
            return 0
        if status == walk.MORE and not final:
            return detail
        self._ended = True
        where = f"at offset {self._source.offset}"
        if self.compression:
            where += " of the expanded content"
        if status != walk.MORE:
            reason = walk.REASONS[status].format(detail)
            self._tally[slot.BYTES_UNREAD] += np.uint64(self._rest(left))
            self._found.append(
                f"{self.path}: corrupt {where}: {reason}; nothing behind it was read"
            )
        elif left:
            self._tally[slot.BYTES_TRUNCATED] += np.uint64(left)
            self._found.append(f"{self.path}: truncated tail: {left} bytes {where} were not read")
        return 0

    def _rest(self, left: int) -> int:
        """Bytes behind a corruption: of a plain file all, of another those known of."""
        if self.compression or not self.size:
            return left
        return max(self.size - self._source.offset, left)


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except IsADirectoryError:
        raise CaptureError(f"{path}: is a directory; name a capture file in it") from None
    except FileNotFoundError:
        raise CaptureError(f"{path}: does not exist; check the name") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise CaptureError(f"{path!r}: cannot be opened ({_why(error)}); check it") from None


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _source(path: str, file: BinaryIO, status: os.stat_result) -> Source:
    """The source that fits the file: mapped where it is plain, streamed where it is not."""
    head = b""
    while len(head) < _MAGIC_BYTES:
        portion = file.read(_MAGIC_BYTES - len(head))
        if not portion:
            break
        head += portion
    if not head:
        raise CaptureError(f"{path}: is empty; name a capture with packets")
    compression = compression_of(head)
    if compression:
        return Streamed(path, file, head, EXPANDERS[compression]())
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return Mapped(path, file, status.st_size)
    return Streamed(path, file, head, None)


def open_capture(path: str | os.PathLike[str]) -> Capture:
    """See `tickpath.capture.open_capture`."""
    name = os.fsdecode(path)
    with ExitStack() as failed:
        file = failed.enter_context(_open(name))
        try:
            status = os.fstat(file.fileno())
            source = _source(name, file, status)
            failed.callback(source.close)
            capture = Capture(name, status.st_size, source)
        except OSError as error:
            raise CaptureError(f"{name}: cannot be read ({_why(error)}); check the disk") from None
        failed.pop_all()  # nothing failed: the capture closes them
    return capture

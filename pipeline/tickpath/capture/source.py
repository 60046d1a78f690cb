"""The content of a capture as windows of memory: mapped where plain, expanded where compressed.

A source gives ``window(least) -> (address, length, final)``: the unread bytes, at least ``least``
of them unless the content ends before (``final`` is then True), and ``advance(count)`` past those
that were used.  A window's bytes stay valid until the next ``window``.  Memory is constant: a
mapped file's pages are given back behind the reader, an expanded one lives in one buffer that
grows only to hold the largest record.
"""

import errno
import mmap
import os
from typing import BinaryIO

import numpy as np

from tickpath.capture.compression import Expander
from tickpath.capture.error import CaptureError

WINDOW_BYTES = 4 << 20
"""Of a mapped file, lent at once: what stays resident is at most twice this."""
BUFFER_BYTES = 1 << 20
"""For expanded content; a larger record makes it grow, up to the bound of records."""
READ_BYTES = 256 << 10

_POPULATE_READ = 22  # MADV_POPULATE_READ of Linux 5.14, which `mmap` does not name


def _address(buffer: mmap.mmap | bytearray) -> int:
    """Where a buffer begins; no view of it stays behind, so that it can be closed."""
    return np.frombuffer(buffer, np.uint8).ctypes.data


class Mapped:
    """A plain file, mapped; packets are lent in place."""

    compression = None

    def __init__(self, path: str, file: BinaryIO, size: int) -> None:
        self.findings: list[str] = []
        self.offset = 0
        self._path, self._file, self._end = path, file, size
        self._released = 0  # pages before this were given back
        self._prepared = 0  # pages before this were asked for
        self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        self._map.madvise(mmap.MADV_SEQUENTIAL)
        self._begin = _address(self._map)

    @property
    def position(self) -> int:
        return self.offset

    def window(self, least: int) -> tuple[int, int, bool]:
        """The unread bytes, as the module says.  Raises `CaptureError` once closed."""
        if self._file.closed:
            raise CaptureError(f"{self._path}: is closed; open it again to read it")
        self._shrink()
        self._release()
        self._prepare(self.offset + max(WINDOW_BYTES, least))
        end = min(self.offset + max(WINDOW_BYTES, least), self._end)
        return self._begin + self.offset, end - self.offset, end == self._end

    def advance(self, count: int) -> None:
        self.offset += count

    def close(self) -> None:
        """Unmap: addresses lent before are invalid from here on."""
        self._map.close()
        self._file.close()

    def _shrink(self) -> None:
        """Touching a page that another process cut off the file would kill this one."""
        size = os.fstat(self._file.fileno()).st_size
        if size < self._end:
            self.findings.append(
                f"{self._path}: shrank from {self._end} to {size} bytes while it was read"
            )
            self._end = max(size, self.offset)

    def _release(self) -> None:
        """Give back the pages behind the reader, a window at a time."""
        behind = self.offset - self.offset % mmap.PAGESIZE
        if behind - self._released >= WINDOW_BYTES:
            self._map.madvise(mmap.MADV_DONTNEED, self._released, behind - self._released)
            self._released = behind

    def _prepare(self, end: int) -> None:
        """Fault the window in with one call: no page fault is left for the engine to meet.

        It also finds out which pages cannot be read, where touching them would kill the process.
        """
        end = min(end, self._end)
        if end <= self._prepared:
            return
        begin = self._prepared - self._prepared % mmap.PAGESIZE
        end = min(end + WINDOW_BYTES // 2, self._end)
        try:
            self._map.madvise(_POPULATE_READ, begin, end - begin)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: an older kernel faults pages one by one
                self.findings.append(
                    f"{self._path}: cannot be read from offset {begin} on: {error}"
                )
                self._end = end = max(begin, self.offset)
        self._prepared = end


class Streamed:
    """Compressed content, or a pipe, through one buffer; a partial record is carried over."""

    def __init__(self, path: str, file: BinaryIO, head: bytes, expander: Expander | None) -> None:
        self.findings: list[str] = []
        self.offset = 0  # of the next unread byte in the expanded content
        self.position = 0  # of the next byte of the file itself that is to be expanded
        self.compression = expander.name if expander else None
        self._path, self._file, self._expander = path, file, expander
        self._input, self._input_at = head, 0
        self._spill, self._spill_at = b"", 0  # expanded, with no room in the buffer yet
        self._ended = False  # nothing more will be expanded
        self._begin = self._end = 0
        self._new_buffer(BUFFER_BYTES)

    def window(self, least: int) -> tuple[int, int, bool]:
        """The unread bytes, as the module says.  Raises `CaptureError` once closed."""
        if self._file.closed:
            raise CaptureError(f"{self._path}: is closed; open it again to read it")
        if self._end - self._begin < max(least, 1) and not self._finished:
            self._make_room(least)
            while self._end < len(self._buffer) and not self._finished:
                self._fill()
        return self._address + self._begin, self._end - self._begin, self._finished

    def advance(self, count: int) -> None:
        self._begin += count
        self.offset += count

    def close(self) -> None:
        """Addresses lent before are invalid from here on."""
        self._file.close()
        self._begin = self._end = 0
        self._new_buffer(0)

    @property
    def _finished(self) -> bool:
        return self._ended and self._spill_at == len(self._spill)

    def _new_buffer(self, size: int) -> None:
        storage = bytearray(size)
        self._buffer = memoryview(storage)
        self._address = _address(storage)

    def _make_room(self, least: int) -> None:
        """Carry the unread bytes to the front, of a larger buffer where ``least`` asks for it."""
        unread = bytes(self._buffer[self._begin : self._end])
        if least > len(self._buffer):
            self._new_buffer(least + BUFFER_BYTES)
        self._buffer[: len(unread)] = unread
        self._begin, self._end = 0, len(unread)

    def _fill(self) -> None:
        """Move expanded bytes into the buffer; expand the next piece where there are none."""
        if self._spill_at == len(self._spill):
            self._spill, self._spill_at = self._expand(), 0
        count = min(len(self._spill) - self._spill_at, len(self._buffer) - self._end)
        portion = memoryview(self._spill)[self._spill_at : self._spill_at + count]
        self._buffer[self._end : self._end + count] = portion
        self._end += count
        self._spill_at += count

    def _expand(self) -> bytes:
        """The next expanded bytes; none of them at the end, and for a piece that yields none."""
        if self._input_at == len(self._input):
            self._input, self._input_at = self._read(), 0
            if not self._input:
                self._finish()
                return b""
        expander = self._expander
        size = expander.piece_bytes if expander else READ_BYTES
        piece = self._input[self._input_at : self._input_at + size]
        self._input_at += len(piece)
        self.position += len(piece)
        if expander is None:
            return piece
        expanded = expander.expand(piece)
        if expander.problem is not None:
            self._finish()
        return expanded

    def _read(self) -> bytes:
        try:
            return self._file.read(READ_BYTES)
        except OSError as error:
            self.findings.append(
                f"{self._path}: cannot be read from offset {self.position} on: {error.strerror}"
            )
            return b""

    def _finish(self) -> None:
        self._ended = True
        expander = self._expander
        if expander is None:
            return
        if expander.problem is not None:
            self.position = expander.taken
            self.findings.append(f"{self._path}: {expander.problem}; nothing behind it was read")
        elif not expander.is_whole:
            self.findings.append(
                f"{self._path}: truncated tail: the file ends at offset {self.position} inside "
                f"{expander.unit} {expander.members + 1} of its {expander.name} stream"
            )


Source = Mapped | Streamed

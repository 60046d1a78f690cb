"""Writing a capture: packets formatted into one buffer, compressed where asked, put on the disk.

The file's header is written with the first packet, whose link type a pcap file needs to know; a
file that was closed without any packet still is a valid one.  What is on the disk is whole after
`CaptureWriter.close` only.
"""

import errno
import os
from contextlib import suppress
from types import TracebackType
from typing import Any

import numpy as np

from tickpath.capture.compression import SUFFIXES, compressor
from tickpath.capture.daily import DailyForm
from tickpath.capture.error import CaptureError
from tickpath.capture.pcap import PcapForm
from tickpath.capture.pcapng import PcapngForm
from tickpath.packet import LINK_ETHERNET, PACKET

BUFFER_BYTES = 1 << 20
"""Formatted before it is compressed and written; holds the longest record many times."""


def form_of(path: str) -> tuple[str, str | None]:
    """(kind, compression) that a name asks for."""
    stem, suffix = os.path.splitext(path)
    compression = SUFFIXES.get(suffix.lower())
    if compression:
        suffix = os.path.splitext(stem)[1]
    return {".pcap": "pcap", ".pcapng": "pcapng"}.get(suffix.lower(), "itch"), compression


def _fields(packet: np.void) -> dict[str, int]:
    return {name: int(packet[name]) for name in PACKET.names or ()}


class CaptureWriter:
    """A capture that is being written: ``path``, ``kind``, ``compression``."""

    def __init__(
        self, path: str, compression: str | None, form: PcapForm | PcapngForm | DailyForm
    ) -> None:
        """Raises `CaptureError` where the file cannot be made."""
        self.path, self.kind, self.compression = path, form.kind, compression
        self._form = form
        self._packets = self._bytes = self._file_bytes = 0
        self._buffer = np.empty(BUFFER_BYTES, np.uint8)
        self._begin = self._buffer.ctypes.data
        self._used = 0
        self._closed = False
        self._compressor = compressor(compression)
        try:
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by close)
        except IsADirectoryError:
            raise CaptureError(f"{path}: is a directory; name a file in it") from None
        except FileNotFoundError:
            raise CaptureError(f"{path}: its directory does not exist; make it first") from None
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or str(error)
            raise CaptureError(f"{path!r}: cannot be written ({what})") from None

    @property
    def counters(self) -> dict[str, int]:
        """Packets and bytes of packets taken, bytes of the file written so far."""
        return {
            "packets": self._packets,
            "bytes": self._bytes,
            "file_bytes": self._file_bytes,
        }

    @property
    def written(self) -> str:
        """One line that says what the file is and holds."""
        how = f", {self.compression}" if self.compression else ""
        what = "runs of messages" if self.kind == "itch" else "packets"
        return f"{self.path}: {self.kind}{how}, {self._packets} {what}, {self._file_bytes} bytes"

    def write(self, packets: np.ndarray) -> None:
        """Append the packets of a `PACKET` array, copying their bytes.

        A daily file takes `LINK_MESSAGES` only, and only the other kinds take the rest; a pcap file
        takes one link type.  ``wire_length`` below ``length`` is written as ``length``.  Raises
        `CaptureError` for what the file cannot hold, and where the disk takes no more.
        """
        from tickpath.capture import compose

        if self._closed:
            raise CaptureError(f"{self.path}: is closed; nothing more can be written to it")
        packets = np.ascontiguousarray(packets, PACKET)
        first = 0
        while first < len(packets):
            begin, end = self._begin + self._used, self._begin + BUFFER_BYTES
            after, position, status = self._form.compose(packets, first, begin, end)
            self._used = position - self._begin
            self._packets += after - first
            self._bytes += int(packets["length"][first:after].sum(dtype=np.uint64))
            first = after
            if status == compose.FULL:
                self._flush()
            elif status == compose.LINK:
                self._append(self._form.announce(int(packets["link"][first])))
            elif status != compose.DONE:
                reason = compose.REASONS[status].format(**_fields(packets[first]))
                raise CaptureError(f"{self.path}: packet {self._packets + 1} {reason}")

    def write_bytes(
        self, data: bytes, ts_recv: int = 0, link: int = LINK_ETHERNET, wire_length: int = 0
    ) -> None:
        """Append one packet; ``wire_length`` where more of it was on the wire than in ``data``."""
        contents = np.frombuffer(data or b"\0", np.uint8)
        packet = np.zeros(1, PACKET)
        packet["address"], packet["length"] = contents.ctypes.data, len(data)
        packet["wire_length"] = max(wire_length, len(data))
        packet["ts_recv"], packet["link"] = ts_recv, link
        self.write(packet)

    def close(self) -> None:
        """Finish the file.  Raises `CaptureError` where the disk takes no more."""
        if self._closed:
            return
        try:
            self._append(self._form.finish())
            self._flush()
            self._put(self._compressor.flush())
        finally:
            self._abandon()

    def __enter__(self) -> "CaptureWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(CaptureError):  # the error that is under way says more
            self.close()

    def _append(self, header: bytes) -> None:
        """Put a header of the file's own behind what was formatted so far."""
        if self._used + len(header) > BUFFER_BYTES:
            self._flush()
        self._buffer[self._used : self._used + len(header)] = np.frombuffer(header, np.uint8)
        self._used += len(header)

    def _abandon(self) -> None:
        """Close without writing; a disk may report only now what it did not take."""
        self._closed = True
        try:
            self._file.close()
        except OSError as error:
            raise self._failed(error) from None

    def _flush(self) -> None:
        used, self._used = self._used, 0
        self._put(self._compressor.compress(self._buffer[:used].data))

    def _put(self, contents: Any) -> None:
        """Write all of ``contents``: the system may take a part at a time."""
        rest = memoryview(contents)
        try:
            while rest:
                count = self._file.write(rest)
                self._file_bytes += count
                rest = rest[count:]
        except OSError as error:
            self._closed = True
            self._file.close()
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> CaptureError:
        after = f"after {self._file_bytes} bytes"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return CaptureError(
                f"{self.path}: the disk is full {after}; free space, then write again"
            )
        return CaptureError(f"{self.path}: cannot be written {after} ({error.strerror})")


_FORMS: dict[str, type[PcapForm] | type[PcapngForm] | type[DailyForm]] = {
    "pcap": PcapForm,
    "pcapng": PcapngForm,
    "itch": DailyForm,
}


def create_capture(
    path: str | os.PathLike[str],
    kind: str | None = None,
    *,
    nanoseconds: bool = True,
    byte_order: str = "little",
) -> CaptureWriter:
    """See `tickpath.capture.create_capture`."""
    name = os.fsdecode(path)
    named, compression = form_of(name)
    kind = kind or named
    if kind not in _FORMS:
        raise ValueError(f"kind is one of {', '.join(_FORMS)}, not {kind!r}")
    if byte_order not in ("little", "big"):
        raise ValueError(f"byte_order is 'little' or 'big', not {byte_order!r}")
    form = _FORMS[kind](name, byte_order, nanoseconds)
    return CaptureWriter(name, compression, form)

"""A pcapng file with one interface for each line, in nanoseconds.

Only whole blocks are ever left in the file: what a full disk took of the last ones is cut off
again, so whatever was written can be read.  Blocks wait in a buffer of bounded size.
"""

import contextlib
import errno
import os
import struct

from tickpath.packet import LINK_ETHERNET
from tickpath.record.error import RecordError
from tickpath.wire import pcapng
from tickpath.wire.pcapng import PCAPNG

BUFFER_BYTES = 1 << 20
"""Written at once; at most so much is lost with the machine."""
SNAP_LENGTH = 1 << 18
"""The option that names an interface, of the pcapng specification."""
_NANOSECONDS = 9
_LAYOUTS = PCAPNG["little"]
_CODES = {"u16": "H", "u32": "I"}
_PACKET = struct.Struct("<" + "".join(_CODES[e.kind] for e in _LAYOUTS["enhanced_packet"].fields))
_TRAILER = struct.Struct("<" + _CODES[_LAYOUTS["block_trailer"]["block_total_length"].kind])
_LOW = (1 << 32) - 1

assert _PACKET.size == _LAYOUTS["enhanced_packet"].length


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % pcapng.ALIGNMENT)


def _block(name: str, contents: bytes, **values: int) -> bytes:
    length = _LAYOUTS[name].length + len(contents) + _TRAILER.size
    fixed = _LAYOUTS[name].encode(block_total_length=length, **values)
    return fixed + contents + _TRAILER.pack(length)


def _option(code: int, value: bytes) -> bytes:
    return _LAYOUTS["option"].encode(option_code=code, option_length=len(value)) + _padded(value)


def _interface(name: str) -> bytes:
    options = _option(pcapng.OPTION_IF_NAME, name.encode())
    options += _option(pcapng.OPTION_IF_TSRESOL, bytes([_NANOSECONDS]))
    options += _option(pcapng.OPTION_END, b"")
    return _block(
        "interface_description",
        options,
        block_type=pcapng.INTERFACE_DESCRIPTION,
        link_type=LINK_ETHERNET,
        snap_len=SNAP_LENGTH,
    )


class RecordFile:
    """See the module's text."""

    def __init__(self, path: str, interfaces: list[str]) -> None:
        """An existing file is replaced.  Raises `RecordError` where it cannot be made."""
        self.path = path
        self.packets = self.bytes_written = 0
        """Packets that are in the file for good, and its length."""
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o644)
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or str(error)
            raise RecordError(f"{path}: cannot be made: {what}; name a file to write") from None
        self._is_open = True
        header = _block(
            "section_header",
            b"",
            block_type=pcapng.SECTION_HEADER,
            byte_order_magic=pcapng.BYTE_ORDER_MAGIC,
            version_major=pcapng.VERSION_MAJOR,
            section_length=pcapng.SECTION_LENGTH_UNKNOWN,
        )
        self._put([header, *map(_interface, interfaces)], packets=0)

    def write(self, interface: int, ts_recv: int, frame: bytes) -> None:
        """Append a frame.  Raises `RecordError` where the disk takes no more."""
        contents = _padded(frame)
        total = _PACKET.size + len(contents) + _TRAILER.size
        fixed = _PACKET.pack(
            pcapng.ENHANCED_PACKET,
            total,
            interface,
            ts_recv >> 32,
            ts_recv & _LOW,
            len(frame),
            len(frame),
        )
        self._waiting.append(fixed + contents + _TRAILER.pack(total))
        self._waiting_bytes += total
        if self._waiting_bytes >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits.  Raises `RecordError` where the disk takes no more."""
        blocks, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._put(blocks, packets=len(blocks))

    def close(self) -> None:
        """Write what waits, and close.  Raises `RecordError` where the disk takes no more."""
        if not self._is_open:
            return
        try:
            self.flush()
        finally:
            self._close()

    def _put(self, blocks: list[bytes], packets: int) -> None:
        rest, begin = memoryview(b"".join(blocks)), self.bytes_written
        try:
            while rest:
                count = os.write(self._file, rest)
                self.bytes_written += count
                rest = rest[count:]
        except OSError as error:
            whole = self._cut(blocks, begin)
            self.packets += whole if packets else 0
            self._close()
            raise self._failed(error) from None
        self.packets += packets

    def _cut(self, blocks: list[bytes], begin: int) -> int:
        """Leave whole blocks only; gives how many of these are."""
        end, whole = begin, 0
        for block in blocks:
            if end + len(block) > self.bytes_written:
                break
            end += len(block)
            whole += 1
        self.bytes_written = end
        with contextlib.suppress(OSError):  # a device has no length
            os.ftruncate(self._file, end)
        return whole

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            os.close(self._file)

    def _failed(self, error: OSError) -> RecordError:
        held = f"{self.packets} packets are in it and can be read"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return RecordError(f"{self.path}: the disk is full: {held}; free space, record again")
        return RecordError(f"{self.path}: cannot be written: {error.strerror}: {held}")

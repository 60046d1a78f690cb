"""Compressed captures: gzip members and zstd frames, one after another, expanded piece by piece.

Input is fed in pieces so small that even the most extreme ratio of the format yields a bounded
output per piece: 1032:1 for deflate, 128 KiB per 4 bytes for zstd.  A corrupt stream yields what
stands before the corruption, then says why it stopped; it never raises.
"""

import zlib
from typing import Any, Protocol

import zstandard

GZIP_MAGIC = b"\x1f\x8b\x08"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
"""The last three bytes of the magic of a skippable frame; the first is 0x50 to 0x5F."""

SUFFIXES = {".gz": "gzip", ".zst": "zstd"}

PIECE_BYTES = {"gzip": 16 << 10, "zstd": 1 << 10}
"""At most 16 MiB and 32 MiB of output a piece, for a file made to expand without end."""

_OTHER_FORMATS = {
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf": "7z",
}


def compression_of(head: bytes) -> str | None:
    """``"gzip"``, ``"zstd"`` or None, by the first bytes of a file."""
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    if head.startswith(ZSTD_MAGIC):
        return "zstd"
    if head[1:4] == ZSTD_SKIPPABLE and head[0] & 0xF0 == 0x50:
        return "zstd"
    return None


def unread_compression_of(head: bytes) -> str | None:
    """Name of a compression that is recognised, but not read here."""
    return next((name for magic, name in _OTHER_FORMATS.items() if head.startswith(magic)), None)


class Expander:
    """Members (gzip) or frames (zstd) one after another; a subclass opens and feeds one of them."""

    name = ""
    unit = ""

    def __init__(self) -> None:
        self.piece_bytes = PIECE_BYTES[self.name]
        self.problem: str | None = None
        self.taken = 0  # compressed bytes expanded so far
        self._member: Any = None
        self.members = 0

    @property
    def is_whole(self) -> bool:
        """True where the stream may end here: not inside a member."""
        return self._member is None

    def expand(self, piece: bytes) -> bytes:
        """What ``piece`` expands to; sets ``problem`` where the stream is corrupt."""
        expanded = []
        end = self.taken + len(piece)
        while piece and self.problem is None:
            self.taken = end - len(piece)
            if self._member is None:
                piece = self._between(piece)
                if not piece:
                    break
                self.taken = end - len(piece)
                self._member = self._open()
            expanded.append(self._feed(piece))
            if self.problem is not None:
                return b"".join(expanded)
            if not self._member.eof:
                break
            piece = self._member.unused_data
            self._member = None
            self.members += 1
        self.taken = end
        return b"".join(expanded)

    def _between(self, piece: bytes) -> bytes:
        return piece

    def _open(self) -> Any:
        raise NotImplementedError

    def _feed(self, piece: bytes) -> bytes:
        raise NotImplementedError

    def _stop(self, reason: object) -> None:
        where = f"{self.unit} {self.members + 1}"
        self.problem = (
            f"{where} of the {self.name} stream is corrupt near offset {self.taken}: {reason}"
        )


class GzipExpander(Expander):
    """gzip, with several members and zero padding behind them, as the gzip command reads it."""

    name = "gzip"
    unit = "member"

    def _between(self, piece: bytes) -> bytes:
        return piece.lstrip(b"\0") if self.members else piece

    def _open(self) -> Any:
        return zlib.decompressobj(wbits=31)

    def _feed(self, piece: bytes) -> bytes:
        before = self._member.copy()
        try:
            return self._member.decompress(piece)
        except zlib.error:
            # zlib drops the output of a call that fails, so take the piece again byte by byte.
            self._member = before
        expanded = []
        try:
            for at in range(len(piece)):
                expanded.append(self._member.decompress(piece[at : at + 1]))
                self.taken += 1
        except zlib.error as error:
            self._stop(str(error).partition(": ")[2] or error)
        return b"".join(expanded)


class ZstdExpander(Expander):
    """zstd, with several frames and skippable ones; windows up to 128 MiB, as the zstd command."""

    name = "zstd"
    unit = "frame"

    def _open(self) -> Any:
        return zstandard.ZstdDecompressor().decompressobj()

    def _feed(self, piece: bytes) -> bytes:
        try:
            return self._member.decompress(piece)
        except zstandard.ZstdError as error:
            # What the piece held before the corruption is lost: there is no copy to go back to.
            self._stop(str(error).rpartition(": ")[2])
            return b""


EXPANDERS: dict[str, type[Expander]] = {"gzip": GzipExpander, "zstd": ZstdExpander}


class Compressor(Protocol):
    """The common part of the libraries' compressors."""

    def compress(self, content: Any) -> bytes: ...

    def flush(self) -> bytes: ...


class _Stored:
    """No compression."""

    def compress(self, content: Any) -> Any:
        return content

    def flush(self) -> bytes:
        return b""


GZIP_LEVEL = 4
ZSTD_LEVEL = 3


def compressor(name: str | None) -> Compressor:
    """A compressor of one member or frame, with its checksum; None stores."""
    if name == "gzip":
        return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    if name == "zstd":
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()
    return _Stored()

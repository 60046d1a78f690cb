"""pcapng files, read and written: sections, their interfaces, and what these tell the loops.

Packets stay in the walk; each section header, interface description and malformed block comes here.
"""

import ctypes
from typing import Any

import numpy as np

from tickpath.capture import counters as slot
from tickpath.capture.error import CaptureError
from tickpath.capture.interface import SECOND_NS, describe
from tickpath.capture.pcap import MAX_PACKET_BYTES
from tickpath.packet import LINK_MESSAGES
from tickpath.wire import pcapng

MAX_INTERFACES = 1024
"""Described in one section; packets of further ones are counted and not lent."""


def _order_of(section_header: bytes) -> str:
    magic = pcapng.PCAPNG["little"]["section_header"]["byte_order_magic"]
    number = magic.get(section_header, magic.offset, "little")
    return "little" if number == pcapng.BYTE_ORDER_MAGIC else "big"


def _version(section_header: bytes) -> int:
    layout = pcapng.PCAPNG[_order_of(section_header)]["section_header"]
    return layout.decode(section_header)["version_major"]


class PcapngBlocks:
    """The blocks of a pcapng file, read by `walk.walk_pcapng`."""

    kind = "pcapng"

    def __init__(self, path: str, head: bytes, tally: np.ndarray) -> None:
        """``head`` is the content's beginning.  Raises `CaptureError` for a version not read."""
        from tickpath.capture import walk

        self._tally = tally
        self._order = "little"
        self._interfaces = np.zeros(MAX_INTERFACES, walk.INTERFACE_DTYPE)
        self._known = 0
        self._malformed_at: int | None = None
        self._read = 0
        if len(head) >= pcapng.PCAPNG["little"]["section_header"].length:
            version = _version(head)
            if version != pcapng.VERSION_MAJOR:
                raise CaptureError(f"{path}: is pcapng version {version}; version 1 is read")

    def walk(
        self, begin: int, length: int, packets: np.ndarray, final: bool
    ) -> tuple[int, int, int, int]:
        """(bytes used, packets, `walk.Status`, its detail) of a window."""
        from tickpath.capture import walk

        at, count, status, detail = walk.walk_pcapng(
            np.uint64(begin),
            np.uint64(begin + length),
            packets,
            self._tally,
            self._order == "big",
            self._interfaces,
            np.uint64(self._known),
        )
        used = int(at) - begin
        if status in (walk.SECTION, walk.INTERFACE, walk.MALFORMED):
            block = ctypes.string_at(int(at), int(detail))
            if status == walk.SECTION and _version(block) != pcapng.VERSION_MAJOR:
                status, detail = walk.VERSION, _version(block)
            else:
                self._take(status, block, self._read + used)
                used, status, detail = used + int(detail), walk.FULL, 0
        self._read += used
        return used, count, status, int(detail)

    def _take(self, status: int, block: bytes, offset: int) -> None:
        """A section header, interface description or malformed block, found at ``offset``."""
        from tickpath.capture import walk

        if status == walk.SECTION:
            self._order, self._known = _order_of(block), 0
            return
        if status == walk.INTERFACE:
            if self._known == MAX_INTERFACES:
                self._tally[slot.INTERFACES_OVER] += np.uint64(1)
                return
            # A malformed description keeps its number, or later interfaces would get wrong ones.
            self._known += 1
            if describe(self._interfaces[self._known - 1], block, self._order):
                return
        self._tally[slot.BLOCKS_MALFORMED] += np.uint64(1)
        if self._malformed_at is None:
            self._malformed_at = offset

    def findings(self) -> list[str]:
        """What is to be said when the whole file was read."""
        if self._malformed_at is None:
            return []
        count = int(self._tally[slot.BLOCKS_MALFORMED])
        return [
            f"{count} malformed blocks were passed over, the first at offset {self._malformed_at}"
        ]


def _block(byte_order: str, name: str, contents: bytes = b"", **values: Any) -> bytes:
    """A whole block: its fixed part, contents that are a multiple of four bytes, its trailer."""
    protocol = pcapng.PCAPNG[byte_order]
    length = protocol[name].length + len(contents) + protocol["block_trailer"].length
    fixed = protocol[name].encode(block_total_length=length, **values)
    return fixed + contents + protocol["block_trailer"].encode(block_total_length=length)


class PcapngForm:
    """Blocks for a new pcapng file, by `compose.compose_pcapng`; one interface per link type."""

    kind = "pcapng"

    def __init__(self, path: str, byte_order: str, nanoseconds: bool) -> None:
        self._path, self._order = path, byte_order
        self._tsresol = 9 if nanoseconds else 6
        self._interfaces = np.full(2**16, -1, np.int64)
        self._known = 0
        self._begun = False

    def compose(
        self, packets: np.ndarray, first: int, begin: int, end: int
    ) -> tuple[int, int, int]:
        """(first packet not written, position in the buffer, `compose.Status`)."""
        from tickpath.capture import compose

        after, position, status = compose.compose_pcapng(
            packets,
            first,
            np.uint64(begin),
            np.uint64(end),
            self._order == "big",
            np.uint64(SECOND_NS // 10**self._tsresol),
            self._interfaces,
            np.uint64(MAX_PACKET_BYTES),
        )
        return after, int(position), status

    def announce(self, link: int) -> bytes:
        """The description of an interface of a link type, behind the section header if first."""
        if link == LINK_MESSAGES:
            raise CaptureError(
                f"{self._path}: pcapng takes packets, not bare messages; write .itch"
            )
        if self._known == MAX_INTERFACES:
            raise CaptureError(
                f"{self._path}: has {self._known} link types, more than readers take; "
                f"write those of link type {link} to another file"
            )
        header = self.finish()
        self._interfaces[link] = self._known
        self._known += 1
        protocol = pcapng.PCAPNG[self._order]
        tsresol = protocol["if_tsresol"].encode(if_tsresol=self._tsresol)
        option = protocol["option"].encode(
            option_code=pcapng.OPTION_IF_TSRESOL, option_length=len(tsresol)
        )
        last = protocol["option"].encode(option_code=pcapng.OPTION_END)
        return header + _block(
            self._order,
            "interface_description",
            option + tsresol.ljust(pcapng.ALIGNMENT, b"\0") + last,
            block_type=pcapng.INTERFACE_DESCRIPTION,
            link_type=link,
            snap_len=MAX_PACKET_BYTES,
        )

    def finish(self) -> bytes:
        """What a file without packets still needs: its section header."""
        if self._begun:
            return b""
        self._begun = True
        return _block(
            self._order,
            "section_header",
            block_type=pcapng.SECTION_HEADER,
            byte_order_magic=pcapng.BYTE_ORDER_MAGIC,
            version_major=pcapng.VERSION_MAJOR,
            section_length=pcapng.SECTION_LENGTH_UNKNOWN,
        )

"""pcap files, read and written: the header in front, and what it tells the loops."""

import numpy as np

from tickpath.capture.error import CaptureError
from tickpath.capture.interface import link_type
from tickpath.packet import LINK_ETHERNET, LINK_MESSAGES
from tickpath.wire import pcap

MAX_PACKET_BYTES = 256 << 10
"""Longest packet of a pcap file, as in libpcap and Wireshark, where the header allows no more."""
MAX_SNAP_BYTES = 16 << 20
"""Largest snapshot length that is believed; a larger one means that packets were not limited."""

FRACTIONS = {pcap.MAGIC_MICROSECONDS: 10**6, pcap.MAGIC_NANOSECONDS: 10**9}
"""Parts of a second that `ts_fraction` counts, by magic number."""


class PcapRecords:
    """The records of a pcap file, read by `walk.walk_pcap`."""

    kind = "pcap"

    def __init__(self, path: str, head: bytes, tally: np.ndarray) -> None:
        """``head`` is the content's beginning.  Raises `CaptureError` for a version not read."""
        layout = pcap.PCAP["little"]["file_header"]
        self._tally = tally
        self._header_bytes = layout.length  # still to be passed over
        if len(head) < layout.length:
            return  # cut inside the header: the first walk finds that out
        magic = layout["magic_number"].get(head, 0, "little")
        self._order = "little" if magic in FRACTIONS else "big"
        header = pcap.PCAP[self._order]["file_header"].decode(head)
        version = header["version_major"], header["version_minor"]
        if version[0] != pcap.VERSION[0] or version[1] < pcap.VERSION[1]:
            raise CaptureError(
                f"{path}: is pcap version {version[0]}.{version[1]}; 2.4 is read; "
                "convert it with editcap -F nsecpcap"
            )
        longest = header["snap_len"] if header["snap_len"] <= MAX_SNAP_BYTES else 0
        self._form = (
            self._order == "big",
            np.uint64(FRACTIONS[header["magic_number"]]),
            np.uint64(link_type(header["link_type"])),
            np.uint64(max(longest, MAX_PACKET_BYTES)),
        )

    def walk(
        self, begin: int, length: int, packets: np.ndarray, final: bool
    ) -> tuple[int, int, int, int]:
        """(bytes used, packets, `walk.Status`, its detail) of a window."""
        from tickpath.capture import walk

        skip = self._header_bytes
        if length < skip:
            return 0, 0, walk.MORE, skip
        self._header_bytes = 0
        first, end = np.uint64(begin + skip), np.uint64(begin + length)
        at, count, status, detail = walk.walk_pcap(first, end, packets, self._tally, *self._form)
        return int(at) - begin, count, status, int(detail)

    def findings(self) -> list[str]:
        """What is to be said when the whole file was read."""
        return []


class PcapForm:
    """Records for a new pcap file, made by `compose.compose_pcap`."""

    kind = "pcap"

    def __init__(self, path: str, byte_order: str, nanoseconds: bool) -> None:
        self._path, self._order = path, byte_order
        self._magic = pcap.MAGIC_NANOSECONDS if nanoseconds else pcap.MAGIC_MICROSECONDS
        self._link: int | None = None

    def compose(
        self, packets: np.ndarray, first: int, begin: int, end: int
    ) -> tuple[int, int, int]:
        """(first packet not written, position in the buffer, `compose.Status`)."""
        from tickpath.capture import compose

        if self._link is None:
            return first, begin, compose.LINK
        after, position, status = compose.compose_pcap(
            packets,
            first,
            np.uint64(begin),
            np.uint64(end),
            self._order == "big",
            np.uint64(FRACTIONS[self._magic]),
            np.uint64(self._link),
            np.uint64(MAX_PACKET_BYTES),
        )
        return after, int(position), status

    def announce(self, link: int) -> bytes:
        """The file's header, which names the one link type that its packets may have."""
        if link == LINK_MESSAGES:
            raise CaptureError(f"{self._path}: pcap takes packets, not bare messages; write .itch")
        if self._link is not None:
            raise CaptureError(
                f"{self._path}: a pcap file has one link type, this one {self._link}, and not "
                f"{link} too; write .pcapng"
            )
        self._link = link
        return pcap.PCAP[self._order]["file_header"].encode(
            magic_number=self._magic,
            version_major=pcap.VERSION[0],
            version_minor=pcap.VERSION[1],
            snap_len=MAX_PACKET_BYTES,
            link_type=link,
        )

    def finish(self) -> bytes:
        """What a file without packets still needs."""
        return self.announce(LINK_ETHERNET) if self._link is None else b""

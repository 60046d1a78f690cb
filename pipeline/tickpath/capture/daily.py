"""Nasdaq daily files, read and written: messages back to back, each behind its length, in runs.

There is nothing in such a file that tells corruption from messages: whatever the prefixes say is
passed on, and the engine counts what no ITCH message is.
"""

import numpy as np

from tickpath.capture.error import CaptureError
from tickpath.packet import LINK_MESSAGES


class DailyRuns:
    """The runs of a daily file, read by `walk.walk_messages`."""

    kind = "itch"

    def __init__(self, path: str, head: bytes, tally: np.ndarray) -> None:
        self._tally = tally

    def walk(
        self, begin: int, length: int, packets: np.ndarray, final: bool
    ) -> tuple[int, int, int, int]:
        """(bytes used, runs, `walk.Status`, its detail) of a window."""
        from tickpath.capture import walk

        first, end = np.uint64(begin), np.uint64(begin + length)
        run = np.uint64(walk.RUN_BYTES)
        at, count, status, detail = walk.walk_messages(first, end, packets, self._tally, run)
        return int(at) - begin, count, status, int(detail)

    def findings(self) -> list[str]:
        """What is to be said when the whole file was read."""
        return []


class DailyForm:
    """Messages for a new daily file, copied as they are by `compose.compose_messages`."""

    kind = "itch"

    def __init__(self, path: str, byte_order: str, nanoseconds: bool) -> None:
        self._path = path
        self._offset = np.uint64(0)  # in the packet that comes next

    def compose(
        self, packets: np.ndarray, first: int, begin: int, end: int
    ) -> tuple[int, int, int]:
        """(first run not written whole, position in the buffer, `compose.Status`)."""
        from tickpath.capture import compose

        link = np.uint64(LINK_MESSAGES)
        after, position, status, offset = compose.compose_messages(
            packets, first, np.uint64(begin), np.uint64(end), link, self._offset
        )
        self._offset = np.uint64(offset)
        return after, int(position), status

    def announce(self, link: int) -> bytes:
        """Refuse packets: a daily file has one link type only."""
        raise CaptureError(
            f"{self._path}: a daily file takes bare messages, not packets of link type {link}; "
            "write .pcap or .pcapng"
        )

    def finish(self) -> bytes:
        """A daily file has no header."""
        return b""

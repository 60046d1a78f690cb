"""Captures: packets out of files and into files, without libpcap.

    with open_capture("day.pcap.zst") as capture:
        for packets in capture.batches():    # arrays of `tickpath.packet.PACKET`
            ...

pcap, pcapng, Nasdaq daily files and TCP PITCH text, plain, gzip or zstd, told apart by their
content.  Plain files are mapped and packets lent in place; compressed ones pass through one bounded
buffer, and text becomes messages in another.  The invariant: a packet that is lent lies wholly
inside bytes that were read, whatever the file holds; the worst a file can do is end early, which is
a counter and a finding and never an exception.

Nothing heavy is imported here: Numba is loaded when the first packet is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tickpath.capture.error import CaptureError

if TYPE_CHECKING:
    from tickpath.capture.reader import Capture
    from tickpath.capture.writer import CaptureWriter

__all__ = ["CaptureError", "create_capture", "open_capture"]


def open_capture(path: str | os.PathLike[str]) -> Capture:
    """The capture at ``path``, its kind recognised by content.

    Raises `CaptureError` where the file is missing, unreadable, empty, a directory, or of no known
    kind.  Use it as a context manager, or call ``close``.
    """
    from tickpath.capture import reader

    return reader.open_capture(path)


def create_capture(
    path: str | os.PathLike[str],
    kind: str | None = None,
    *,
    nanoseconds: bool = True,
    byte_order: str = "little",
) -> CaptureWriter:
    """A new capture at ``path``; an existing file is replaced.

    ``kind`` is ``"pcap"``, ``"pcapng"`` or ``"itch"`` (bare messages, a daily file); by default the
    name decides: ``.pcap``, ``.pcapng``, anything else a daily file; a further ``.gz`` or ``.zst``
    compresses.  ``nanoseconds=False`` writes microseconds, which drops the last three digits.
    Raises `CaptureError` where the file cannot be made.
    """
    from tickpath.capture import writer

    return writer.create_capture(path, kind, nanoseconds=nanoseconds, byte_order=byte_order)

"""ITCH 5.0 messages of a capture or a daily file, one after the other."""

import ctypes
from collections import Counter
from collections.abc import Iterator

from tickpath.capture import open_capture
from tickpath.decode_packet import payload
from tickpath.exchange.packing import Packing
from tickpath.packet import LINK_MESSAGES
from tickpath.wire.frame import IP_PROTOCOL_UDP
from tickpath.wire.moldudp64 import END_OF_SESSION, MOLDUDP64

_HEADER = Packing(MOLDUDP64["downstream_packet"])
_BLOCK = Packing(MOLDUDP64["message_block"])
_PREFIX = _BLOCK.message.length


def messages(path: str, counters: Counter[str]) -> Iterator[bytes]:
    """The messages in the order of the file, whatever their sequence numbers say.

    ``counters`` has what was passed over, under the decoder's names.  Raises `CaptureError`.
    """
    with open_capture(path) as capture:
        for batch in capture.batches():
            for address, _, length, _, link, *_ in batch.tolist():
                packet = ctypes.string_at(address, length)
                if link == LINK_MESSAGES:
                    yield from _blocks(packet, 0, counters)
                    continue
                carried = payload(link, packet, counters)
                if carried is None or carried.protocol != IP_PROTOCOL_UDP:
                    continue
                datagram = carried.data
                if len(datagram) < _HEADER.message.length:
                    counters["mold_invalid"] += 1
                elif _HEADER.unpack(datagram).message_count != END_OF_SESSION:
                    yield from _blocks(datagram, _HEADER.message.length, counters)


def _blocks(run: bytes, at: int, counters: Counter[str]) -> Iterator[bytes]:
    while at + _PREFIX <= len(run):
        begin = at + _PREFIX
        end = begin + _BLOCK.unpack(run, at).message_length
        if end > len(run):
            counters["mold_truncated"] += 1
            return
        yield run[begin:end]
        at = end

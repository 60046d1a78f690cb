"""What kind of capture a file is, by its first bytes and never by its name.

pcap and pcapng have magic numbers.  A daily file has none: it is one where a walk over its first
messages meets, behind plausible length prefixes, the types and lengths of ITCH 5.0.
"""

from tickpath.capture.compression import unread_compression_of
from tickpath.wire import pcap, pcapng
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64

HEAD_BYTES = 16 << 10
"""Bytes of content that recognition looks at."""
_MESSAGES = 64

_PREFIX = MOLDUDP64["message_block"]["message_length"]


def _magic(head: bytes, order: str) -> int:
    magic = pcap.PCAP[order]["file_header"]["magic_number"]
    return magic.get(head, 0, order) if len(head) >= magic.size else 0


def _is_pcapng(head: bytes) -> bool:
    """A section header, with a byte-order magic as far as it is there."""
    layout = pcapng.PCAPNG["little"]["section_header"]
    kind, magic = layout["block_type"], layout["byte_order_magic"]
    if len(head) < kind.size or kind.get(head, 0, "little") != pcapng.SECTION_HEADER:
        return False
    if len(head) < magic.offset + magic.size:
        return True
    orders = ("little", "big")
    return any(magic.get(head, magic.offset, each) == pcapng.BYTE_ORDER_MAGIC for each in orders)


def _is_daily(head: bytes) -> bool:
    """At least one message, and at least half of the first ones, are those of ITCH 5.0.

    Zero lengths (end of session) say nothing; a message that is cut counts by its prefix and type.
    """
    known = unknown = at = 0
    while at + _PREFIX.size < len(head) and known + unknown < _MESSAGES:
        length = _PREFIX.get(head, at, "big")
        at += _PREFIX.size
        if not length:
            continue
        if length == ITCH50.lengths[head[at]]:
            known += 1
        else:
            unknown += 1
        at += length
    return known > 0 and known >= unknown


def recognise(head: bytes) -> str | None:
    """``"pcap"``, ``"pcapng"``, ``"itch"`` or None for content that begins with ``head``."""
    if {_magic(head, "little"), _magic(head, "big")} & {
        pcap.MAGIC_MICROSECONDS,
        pcap.MAGIC_NANOSECONDS,
    }:
        return "pcap"
    if _is_pcapng(head):
        return "pcapng"
    return "itch" if _is_daily(head) else None


def why_unknown(head: bytes) -> str:
    """What content that is not recognised looks like, and what to do about it."""
    if pcap.MAGIC_MODIFIED in (_magic(head, "little"), _magic(head, "big")):
        return "is a modified (Kuznetzov) pcap; convert it with editcap -F nsecpcap"
    other = unread_compression_of(head)
    if other:
        return f"is compressed with {other}; expand it first, or compress with gzip or zstd"
    shown = head[:8].hex(" ")
    return (
        f"is no capture that is known (it begins with {shown}); pcap, pcapng and ITCH 5.0 daily "
        "files are read, plain, .gz or .zst; editcap -F nsecpcap converts others"
    )

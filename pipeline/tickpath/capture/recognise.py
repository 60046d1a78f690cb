"""What kind of capture a file is, by its first bytes and never by its name.

pcap and pcapng have magic numbers.  A daily file has none: it is one where a walk over its first
messages meets, behind plausible length prefixes, the types and lengths of ITCH 5.0.  Text is PITCH
where lines have a time, and the length that goes with their type.
"""

from tickpath.capture.compression import unread_compression_of
from tickpath.wire import pcap, pcapng
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath.wire.pitch_ascii import PITCH_ASCII, SEQUENCED

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


def _is_pitch_line(line: bytes) -> bool:
    """Eight digits and a type, behind an optional S, and the length of that type."""
    text = line.removesuffix(b"\r").removeprefix(SEQUENCED.encode())
    at = PITCH_ASCII.type_offset
    return text[:at].isdigit() and len(text) > at and len(text) == PITCH_ASCII.lengths[text[at]]


def _is_pitch_ascii(head: bytes) -> bool:
    """At least one line, and at least half of the first ones, are those of TCP PITCH."""
    lines = [line for line in head.split(b"\n")[:_MESSAGES] if line]
    if len(head) == HEAD_BYTES and len(lines) < _MESSAGES:
        lines = lines[:-1]  # it is cut
    known = sum(map(_is_pitch_line, lines))
    return known > 0 and 2 * known >= len(lines)


def recognise(head: bytes) -> str | None:
    """What content is that begins with ``head``.

    ``"pcap"``, ``"pcapng"``, ``"pitch_ascii"``, ``"itch"`` or None.
    """
    if {_magic(head, "little"), _magic(head, "big")} & {
        pcap.MAGIC_MICROSECONDS,
        pcap.MAGIC_NANOSECONDS,
    }:
        return "pcap"
    if _is_pcapng(head):
        return "pcapng"
    if _is_pitch_ascii(head):
        return "pitch_ascii"
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
        "files and PITCH text are read, plain, .gz or .zst; editcap -F nsecpcap converts others"
    )

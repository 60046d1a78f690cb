"""pcapng: blocks that carry packets, and what describes their section and interface.

Source: IETF draft-ietf-opsawg-pcapng (PCAP Next Generation Capture File Format).  Every block
begins with `block_header` and ends with `block_trailer`, its length counts both and is a multiple
of four.  The byte-order magic of the section header holds until the next section header.
"""

from tickpath.wire.table import Message, Protocol

_HEADER = (("block_type", "u32"), ("block_total_length", "u32"))

_LAYOUTS = (
    ("block_header", 8, _HEADER),
    ("block_trailer", 4, (("block_total_length", "u32"),)),
    (
        "section_header",
        24,
        (
            *_HEADER,
            ("byte_order_magic", "u32"),
            ("version_major", "u16"),
            ("version_minor", "u16"),
            ("section_length", "u64"),
        ),
    ),
    (
        "interface_description",
        16,
        (*_HEADER, ("link_type", "u16"), ("reserved", "u16"), ("snap_len", "u32")),
    ),
    (
        "enhanced_packet",
        28,
        (
            *_HEADER,
            ("interface_id", "u32"),
            ("timestamp_high", "u32"),
            ("timestamp_low", "u32"),
            ("captured_packet_length", "u32"),
            ("original_packet_length", "u32"),
        ),
    ),
    ("simple_packet", 12, (*_HEADER, ("original_packet_length", "u32"))),
    (
        "packet",  # obsolete, still found in old captures
        28,
        (
            *_HEADER,
            ("interface_id", "u16"),
            ("drops_count", "u16"),
            ("timestamp_high", "u32"),
            ("timestamp_low", "u32"),
            ("captured_packet_length", "u32"),
            ("original_packet_length", "u32"),
        ),
    ),
    ("option", 4, (("option_code", "u16"), ("option_length", "u16"))),
    ("if_tsresol", 1, (("if_tsresol", "u8"),)),
    ("if_tsoffset", 8, (("if_tsoffset", "i64"),)),
)

PCAPNG = {
    order: Protocol(
        f"pcapng_{order}",
        tuple(Message("", name, length, fields, order=order) for name, length, fields in _LAYOUTS),
    )
    for order in ("little", "big")
}
"""The protocol by byte order, ``"little"`` or ``"big"``."""

SECTION_HEADER = 0x0A0D0D0A  # reads the same in both byte orders
INTERFACE_DESCRIPTION = 1
PACKET = 2
SIMPLE_PACKET = 3
ENHANCED_PACKET = 6

BYTE_ORDER_MAGIC = 0x1A2B3C4D
VERSION_MAJOR = 1
SECTION_LENGTH_UNKNOWN = 0xFFFF_FFFF_FFFF_FFFF

ALIGNMENT = 4
"""Blocks, packets and option values are padded to a multiple of this."""

OPTION_END = 0
OPTION_IF_NAME = 2
OPTION_IF_TSRESOL = 9
OPTION_IF_TSOFFSET = 14

TSRESOL_DEFAULT = 6
"""Microseconds, where an interface has no `if_tsresol`."""
TSRESOL_POWER_OF_TWO = 0x80
"""The bit of `if_tsresol` that makes it a negative power of two instead of ten."""

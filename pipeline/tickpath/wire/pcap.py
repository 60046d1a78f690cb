"""pcap: the file's header and the header before each packet, in both byte orders.

Source: IETF draft-ietf-opsawg-pcap (PCAP Capture File Format), libpcap's savefile format 2.4.  The
magic number tells the byte order of every other field and the unit of `ts_fraction`.
"""

from tickpath.wire.table import Message, Protocol

_LAYOUTS = (
    (
        "file_header",
        24,
        (
            ("magic_number", "u32"),
            ("version_major", "u16"),
            ("version_minor", "u16"),
            ("this_zone", "i32"),
            ("significant_figures", "u32"),
            ("snap_len", "u32"),
            (
                "link_type",
                "u32",
            ),  # the low 16 bits; above them the length of a frame check sequence
        ),
    ),
    (
        "packet_record",
        16,
        (
            ("ts_seconds", "u32"),
            ("ts_fraction", "u32"),
            ("captured_packet_length", "u32"),
            ("original_packet_length", "u32"),
        ),
    ),
)

PCAP = {
    order: Protocol(
        f"pcap_{order}",
        tuple(Message("", name, length, fields, order=order) for name, length, fields in _LAYOUTS),
    )
    for order in ("little", "big")
}
"""The protocol by byte order, ``"little"`` or ``"big"``."""

MAGIC_MICROSECONDS = 0xA1B2C3D4
MAGIC_NANOSECONDS = 0xA1B23C4D
MAGIC_MODIFIED = 0xA1B2CD34
"""Kuznetzov's variant, whose records have eight bytes more: recognised, not read."""

VERSION = (2, 4)

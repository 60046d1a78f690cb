"""The TCP header, under SoupBinTCP.

Source: RFC 9293.  Big-endian; the data offset counts words of four bytes, in its upper four bits.
"""

from tickpath.wire.table import Message, Protocol

TCP = Protocol(
    "tcp",
    (
        Message(
            "",
            "tcp",
            20,
            (
                ("source_port", "u16"),
                ("destination_port", "u16"),
                ("sequence_number", "u32"),
                ("acknowledgment_number", "u32"),
                ("data_offset", "u8"),
                ("flags", "u8"),
                ("window", "u16"),
                ("checksum", "u16"),
                ("urgent_pointer", "u16"),
            ),
        ),
    ),
)

FLAG_SYN = 0x02

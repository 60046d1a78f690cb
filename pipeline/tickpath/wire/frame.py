"""Frames around a datagram: Ethernet II, VLAN tags, Linux cooked capture, IPv4, UDP.

Sources: IEEE 802.3 and 802.1Q, libpcap's LINKTYPE_LINUX_SLL (113) and LINKTYPE_LINUX_SLL2 (276),
RFC 791, RFC 768.
"""

from tickpath.wire.table import Message, Protocol

FRAME = Protocol(
    "frame",
    (
        Message(
            "",
            "ethernet",
            14,
            (("destination", "bytes:6"), ("source", "bytes:6"), ("ether_type", "u16")),
        ),
        Message("", "vlan_tag", 4, (("tag_control_information", "u16"), ("ether_type", "u16"))),
        Message(
            "",
            "linux_sll",
            16,
            (
                ("packet_type", "u16"),
                ("arphrd_type", "u16"),
                ("address_length", "u16"),
                ("address", "bytes:8"),
                ("protocol", "u16"),
            ),
        ),
        Message(
            "",
            "linux_sll2",
            20,
            (
                ("protocol", "u16"),
                ("reserved", "u16"),
                ("interface_index", "u32"),
                ("arphrd_type", "u16"),
                ("packet_type", "u8"),
                ("address_length", "u8"),
                ("address", "bytes:8"),
            ),
        ),
        Message(
            "",
            "ipv4",
            20,
            (
                ("version_ihl", "u8"),
                ("type_of_service", "u8"),
                ("total_length", "u16"),
                ("identification", "u16"),
                ("flags_fragment_offset", "u16"),
                ("time_to_live", "u8"),
                ("protocol", "u8"),
                ("header_checksum", "u16"),
                ("source_address", "u32"),
                ("destination_address", "u32"),
            ),
        ),
        Message(
            "",
            "udp",
            8,
            (
                ("source_port", "u16"),
                ("destination_port", "u16"),
                ("length", "u16"),
                ("checksum", "u16"),
            ),
        ),
    ),
)

ETHER_TYPE_IPV4 = 0x0800
ETHER_TYPE_IPV6 = 0x86DD
ETHER_TYPE_VLAN = 0x8100
ETHER_TYPE_QINQ = 0x88A8
ETHER_TYPE_QINQ_OLD = 0x9100
IP_PROTOCOL_TCP = 6
IP_PROTOCOL_UDP = 17

"""What a transport lends to an executor: packets, by address, with their receive time.

A transport's ``poll`` gives an array of `PACKET` records; the bytes behind each address stay valid
and unchanged until ``release``.  Nothing is copied on the way.  A capture of bare messages (a daily
file) lends runs of length-prefixed messages as if each were one packet of link type
`LINK_MESSAGES`, so that one loop serves both.
"""

import numpy as np

PACKET = np.dtype(
    [
        ("address", "<u8"),
        ("ts_recv", "<u8"),  # nanoseconds since the Unix epoch; 0 where the capture has none
        ("length", "<u4"),  # bytes that can be read at address
        ("wire_length", "<u4"),  # bytes the packet had on the wire (more where it was cut)
        ("link", "<u2"),  # link type, as in pcap files, or LINK_MESSAGES
        ("line", "<u2"),  # which of the transport's sources lent it; LINK_DATAGRAM: its port
        ("group", "<u4"),  # LINK_DATAGRAM: the IPv4 address that it was sent to
    ]
)

LINK_ETHERNET = 1
LINK_RAW = 101
LINK_LINUX_SLL = 113
LINK_IPV4 = 228
LINK_LINUX_SLL2 = 276
LINK_PITCH = 0xFFFA
"""Not of pcap: messages of multicast PITCH back to back, each of which begins with its length."""
LINK_INPUT = 0xFFF9
"""Not of pcap: one record of another engine's input stream (`tickpath.wire.inputs`)."""
LINK_NOTHING = 0xFFF8
"""Not of pcap: no packet, only its receive time; what waited is looked at again."""
LINK_FOREIGN = 0xFFFB
"""What a file's link type becomes that is one of ours below: no capture may give commands."""
LINK_DATAGRAM = 0xFFFC
"""Not of pcap: what a UDP socket gives, without any header in front of it."""
LINK_RESPONSES = 0xFFFE
"""Not of pcap: messages of an order session to us, each behind a 2-byte big-endian length."""
LINK_COMMANDS = 0xFFFD
"""Not of pcap: operator commands (`tickpath.wire.control`), each behind such a length."""
LINK_MESSAGES = 0xFFFF
"""Not a link type of pcap: messages back to back, each behind a 2-byte big-endian length."""

/* Written by python -m tickpath_backends.headers from tickpath.packet; not edited by hand. */
#ifndef TICKPATH_PACKET_H
#define TICKPATH_PACKET_H

#include <stdint.h>

struct packet {
    uint64_t address;
    uint64_t ts_recv;
    uint32_t length;
    uint32_t wire_length;
    uint16_t link;
    uint16_t line;
    uint32_t group;
};

#define LINK_ETHERNET 1
#define LINK_RAW 101
#define LINK_LINUX_SLL 113
#define LINK_IPV4 228
#define LINK_LINUX_SLL2 276
#define LINK_PITCH 65530
#define LINK_INPUT 65529
#define LINK_NOTHING 65528
#define LINK_FOREIGN 65531
#define LINK_DATAGRAM 65532
#define LINK_RESPONSES 65534
#define LINK_COMMANDS 65533
#define LINK_MESSAGES 65535

#endif

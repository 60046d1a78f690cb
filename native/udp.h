/* Kernel sockets, one a group: read without waiting into buffers that are lent until release. */
#ifndef TICKPATH_UDP_H
#define TICKPATH_UDP_H

#include "packet.h"

/* A group's socket: bound, joined, not blocking.  Address and port are in host byte order. */
struct udp_group {
    uint32_t address;
    uint16_t port;
    int32_t socket;
};

struct udp_counters {
    uint64_t packets;
    uint64_t bytes;
    uint64_t oversize;            /* datagrams larger than a buffer, dropped */
    uint64_t receive_errors;      /* what the kernel reported on a group's socket */
    uint64_t timestamps_missing;  /* the time of reading taken, the kernel having given none */
    uint64_t orders_sent;
    uint64_t orders_dropped;      /* no room in the socket, or no way there */
    uint64_t orders_refused;      /* nobody listens where one sent before went to (ICMP) */
    uint64_t orders_malformed;
};

struct udp;

/* `buffers` holds `count` of `size` bytes; timestamps: 0 none, 1 the kernel's, 2 the card's, else
 * the kernel's.  uses_epoll: one system call names the groups that have packets, which does not
 * work together with SO_BUSY_POLL.  order_socket: connected, or -1.  NULL where there is no memory. */
struct udp *udp_new(const struct udp_group *groups, uint32_t group_count, uint8_t *buffers,
                    uint32_t size, uint32_t count, uint32_t timestamps, int32_t uses_epoll,
                    int32_t order_socket);
void udp_free(struct udp *udp);
struct udp_counters *udp_counters(struct udp *udp);

/* transport.h says what these do. */
uint64_t udp_poll(void *transport, struct packet *packets, uint64_t most);
void udp_release(void *transport);
uint64_t udp_send(void *transport, const uint8_t *messages, uint64_t length);

#endif

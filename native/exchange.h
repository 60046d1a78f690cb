/* The other side of a wire-to-wire measurement: sends a session by a plan, takes the orders.
 *
 * Open loop: when a packet leaves is decided beforehand, and does not depend on what comes back.
 * One thread does both in turns, and never blocks.  Times are CLOCK_MONOTONIC in nanoseconds.
 *
 * Orders come as datagrams, seen in a ring of frames, or by the order session's TCP connection.
 */
#ifndef TICKPATH_EXCHANGE_H
#define TICKPATH_EXCHANGE_H

#include "packet.h"

enum { EXCHANGE_BATCH = 32 }; /* overdue packets that leave in one system call */

/* Frames that the kernel puts into memory that we share with it (TPACKET_V2). */
struct ring {
    int fd;
    uint8_t *map;
    uint64_t bytes;
    uint32_t frames;
    uint32_t frame_size;
    uint64_t next;              /* the frame to look at next */
    uint64_t given_back;        /* frames before this one are the kernel's */
};

/* 0 or a negative errno; `frames` is a power of two.  Needs CAP_NET_RAW. */
int ring_open(struct ring *ring, int interface, uint32_t frames, uint32_t frame_size);
void ring_close(struct ring *ring);

/* Frames and those of them that were dropped since the last call; 0 or a negative errno. */
int ring_counters(struct ring *ring, uint64_t *packets, uint64_t *dropped);

/* As transport.h has them. */
uint64_t ring_poll(void *ring, struct packet *packets, uint64_t most);
void ring_release(void *ring);

struct exchange_order {
    uint64_t arrived_ns;        /* when it was seen in the ring, or the whole of it was read */
    uint64_t offset;            /* of its bytes in `bytes`; of a packet's, from its type on */
    uint64_t length;
};

/* Shared with the process that started this one; each line of 64 bytes has one writer. */
struct exchange_page {
    uint64_t start_ns;          /* time 0 of the plan; 0: not yet */
    uint64_t stop;
    uint64_t pad[6];
    uint64_t ready;
    uint64_t sent;              /* packets so far */
    uint64_t orders;
    uint64_t finished;
};

struct exchange {
    struct exchange_page *page;
    struct ring ring;
    int fd;                     /* AF_PACKET socket that frames leave by */
    int stream;                 /* TCP socket that orders come by; negative: the ring has them */
    const struct packet *packets;
    const uint64_t *due_ns;     /* after the start, never falling */
    uint64_t *sent_ns;          /* when the system call began; 0: not sent */
    uint64_t number;
    struct exchange_order *orders;
    uint64_t orders_room;
    uint8_t *bytes;
    uint64_t bytes_room;
    uint64_t bytes_used;
    uint64_t partial;           /* bytes behind those used: the start of a packet of the stream */
    uint64_t order_port;
    uint64_t linger_ns;         /* after the last packet: how long orders are waited for */
    uint64_t refused;           /* by the kernel: no room on the wire */
    uint64_t overflowed;        /* orders beyond the room */
    uint64_t calls;             /* system calls that sent */
};

/* Send packet `n` at start + due_ns[n] and take orders; 0 or a negative errno: ECONNRESET also
 * where the other side closed the stream, ENOBUFS where there is no room for more of it. */
int exchange_run(struct exchange *exchange);

struct drained {
    uint64_t packets;
    uint64_t ns;
};

/* Poll and release until nothing comes: what receiving what waits costs, and nothing else. */
void exchange_drain(uint64_t poll, uint64_t release, void *transport, struct packet *packets,
                    uint64_t most, struct drained *drained);

#endif

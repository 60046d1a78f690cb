/* Bare receive loops, without any engine: when each numbered packet was in the program's hands.
 *
 * A packet's number is the first 8 bytes of its UDP payload, big-endian.  Each loop ends when all
 * packets have come, or none for a while after the sender had finished.  For benchmarks only.
 */
#ifndef TICKPATH_RECEIVE_H
#define TICKPATH_RECEIVE_H

#include "packet.h"

struct receive {
    uint64_t *arrived_ns;       /* CLOCK_MONOTONIC by number; 0: it did not come */
    uint64_t number;            /* of packets that are sent */
    const uint64_t *finished;   /* not 0 when the sender has ended */
    uint64_t idle_ns;           /* no packet for so long after that: the rest is lost */
    uint64_t received;
    uint64_t begun_ns;          /* of the first call that gave a packet, and after the last one */
    uint64_t ended_ns;
};

/* A transport's functions (transport.h), polled. */
void receive_polled(struct receive *receive, uint64_t poll, uint64_t release, void *transport,
                    uint64_t burst);

/* A socket: `each` datagrams a call, by recv where that is 1, else by recvmmsg.  Whether it waits
 * is the socket's own setting; one that waits needs SO_RCVTIMEO, so as to end. */
void receive_socket(struct receive *receive, int socket, uint32_t each);

#endif

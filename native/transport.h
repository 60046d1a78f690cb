/* What every live transport offers to the engine's loop: three functions on one state.
 *
 * tickpath.backend.Native holds their addresses; the loop is compiled by Numba and calls them
 * without crossing into Python.  Each transport declares its own under names of its own
 * (udp_poll, afxdp_poll, ...) in NAME.h and has TRANSPORT_FUNCTIONS(NAME) in NAME.c, which
 * refuses to compile where a signature differs.
 *
 * Headers of this directory that Python reads too (packet.h and NAME.h) are plain declarations:
 * cffi gets them without their lines that begin with '#'.
 */
#ifndef TICKPATH_TRANSPORT_H
#define TICKPATH_TRANSPORT_H

#include "packet.h"

/* Lend up to `most` packets: fill that many records from `packets` on, and say how many.
 *
 * - It never blocks, and gives 0 where nothing has come.
 * - The bytes at packet.address belong to the caller, who may not write them, until `release`.
 * - Polls may follow each other without a release between them: what they lend adds up, until
 *   there is no room left, and then they give 0.  What arrives meanwhile waits in the kernel or
 *   the card, and is counted where that has no room either.
 * - wire_length is length: a packet that did not fit whole is counted and not lent.
 * - ts_recv is CLOCK_REALTIME in nanoseconds, by the best source there is.
 */
typedef uint64_t (*transport_poll)(void *transport, struct packet *packets, uint64_t most);

/* Give back everything that was lent since the last release. */
typedef void (*transport_release)(void *transport);

/* Send each message of a run as one datagram to `transport.orders_to`.
 *
 * Each message stands behind its length, two bytes, big-endian.  Gives how many were handed to
 * the kernel or the card; those for which there was no room are counted as orders_dropped and
 * not tried again, a run that ends within a message as orders_malformed.  Never blocks.
 */
typedef uint64_t (*transport_send)(void *transport, const uint8_t *messages, uint64_t length);

#define TRANSPORT_FUNCTIONS(name) \
    TRANSPORT_IS(transport_poll, name##_poll); \
    TRANSPORT_IS(transport_release, name##_release); \
    TRANSPORT_IS(transport_send, name##_send)
#define TRANSPORT_IS(type, function) \
    _Static_assert(__builtin_types_compatible_p(type, __typeof__(&function)), \
                   #function " is not a " #type)

#endif

/* The `udp` transport.
 *
 * Buffers are taken in order from the first one on and all come back at once, so that a program
 * which keeps up uses the same few cache lines for ever.  A group whose last read found nothing is
 * read by one recvmsg, which hands over a single packet soonest; one that had a packet is read by
 * recvmmsg, because more are likely to wait: that looks once more into an empty queue, which costs
 * a lone packet 0.3 us.
 */
#define _GNU_SOURCE
#include "udp.h"
#include "messages.h"
#include "transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <linux/errqueue.h>  /* after time.h, whose timespec it takes for granted */

TRANSPORT_FUNCTIONS(udp);

enum {
    BATCH = 64,        /* most datagrams of one system call */
    CONTROL = 128,     /* bytes of a datagram's ancillary data: one SCM_TIMESTAMPING takes 64 */
    SECOND = 1000000000,
};

struct udp {
    struct udp_group *groups;
    uint8_t *had_packets;  /* of each group: whether its last read found any */
    uint32_t group_count, next_group;
    uint8_t *buffers;
    uint32_t size, count, lent;
    uint32_t timestamps;
    int32_t order_socket;
    struct udp_counters counters;
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    uint8_t control[BATCH][CONTROL] __attribute__((aligned(16)));
};

struct udp *udp_new(const struct udp_group *groups, uint32_t group_count, uint8_t *buffers,
                    uint32_t size, uint32_t count, uint32_t timestamps, int32_t order_socket)
{
    struct udp *udp = calloc(1, sizeof *udp);
    if (!udp)
        return NULL;
    udp->groups = calloc(group_count, sizeof *groups);
    udp->had_packets = calloc(group_count, 1);
    if (!udp->groups || !udp->had_packets) {
        udp_free(udp);
        return NULL;
    }
    memcpy(udp->groups, groups, group_count * sizeof *groups);
    udp->group_count = group_count;
    udp->buffers = buffers;
    udp->size = size;
    udp->count = count;
    udp->timestamps = timestamps;
    udp->order_socket = order_socket;
    for (uint32_t i = 0; i < BATCH; i++) {
        udp->vectors[i].iov_len = size;
        udp->headers[i].msg_hdr.msg_iov = &udp->vectors[i];
        udp->headers[i].msg_hdr.msg_iovlen = 1;
        udp->headers[i].msg_hdr.msg_control = timestamps ? udp->control[i] : NULL;
    }
    return udp;
}

void udp_free(struct udp *udp)
{
    if (!udp)
        return;
    free(udp->groups);
    free(udp->had_packets);
    free(udp);
}

struct udp_counters *udp_counters(struct udp *udp)
{
    return &udp->counters;
}

static uint64_t nanoseconds(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * SECOND + (uint64_t)time->tv_nsec;
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return nanoseconds(&time);
}

/* When a datagram came, by its ancillary data; 0 where that does not say. */
static uint64_t received_at(struct udp *udp, struct msghdr *header)
{
    for (struct cmsghdr *each = CMSG_FIRSTHDR(header); each; each = CMSG_NXTHDR(header, each)) {
        if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_TIMESTAMPING)
            continue;
        struct scm_timestamping stamps;
        memcpy(&stamps, CMSG_DATA(each), sizeof stamps);
        struct timespec *card = &stamps.ts[2], *kernel = &stamps.ts[0];
        if (udp->timestamps == 2 && card->tv_sec)
            return nanoseconds(card);
        return nanoseconds(kernel);
    }
    return 0;
}

/* Read up to `most` datagrams of a group into the buffers from `lent` on; gives how many came. */
static uint32_t receive(struct udp *udp, uint32_t number, uint32_t most)
{
    int socket = udp->groups[number].socket;
    if (most > BATCH)
        most = BATCH;
    for (uint32_t i = 0; i < most; i++) {
        udp->vectors[i].iov_base = udp->buffers + (uint64_t)(udp->lent + i) * udp->size;
        udp->headers[i].msg_hdr.msg_controllen = udp->timestamps ? CONTROL : 0;
    }
    /* With MSG_TRUNC the length is the datagram's, also where the buffer was too small for it. */
    int came;
    if (most > 1) {
        came = recvmmsg(socket, udp->headers, most, MSG_DONTWAIT | MSG_TRUNC, NULL);
    } else if (udp->timestamps) {
        ssize_t length = recvmsg(socket, &udp->headers[0].msg_hdr, MSG_DONTWAIT | MSG_TRUNC);
        udp->headers[0].msg_len = (uint32_t)length;
        came = length < 0 ? -1 : 1;
    } else {
        ssize_t length = recv(socket, udp->vectors[0].iov_base, udp->size,
                              MSG_DONTWAIT | MSG_TRUNC);
        udp->headers[0].msg_len = (uint32_t)length;
        came = length < 0 ? -1 : 1;
    }
    if (came < 0) {
        if (errno != EAGAIN && errno != EINTR)
            udp->counters.receive_errors++;
        return 0;
    }
    return (uint32_t)came;
}

/* Records of what `receive` read; gives how many. */
static uint32_t lend(struct udp *udp, uint32_t number, uint32_t came, struct packet *packets)
{
    const struct udp_group *group = &udp->groups[number];
    uint64_t read_at = udp->timestamps ? 0 : now();
    uint32_t lent = 0;
    for (uint32_t i = 0; i < came; i++) {
        uint32_t length = udp->headers[i].msg_len;
        udp->counters.packets++;
        udp->counters.bytes += length;
        if (length > udp->size) {
            udp->counters.oversize++;
            continue;
        }
        uint64_t time = read_at;
        if (udp->timestamps && !(time = received_at(udp, &udp->headers[i].msg_hdr))) {
            udp->counters.timestamps_missing++;
            time = now();
        }
        packets[lent++] = (struct packet){
            .address = (uint64_t)(uintptr_t)udp->vectors[i].iov_base,
            .ts_recv = time,
            .length = length,
            .wire_length = length,
            .link = LINK_DATAGRAM,
            .line = group->port,
            .group = group->address,
        };
    }
    udp->lent += came;
    return lent;
}

/* One look at each group, the first one in turn, each with its share of what is left to fill. */
uint64_t udp_poll(void *transport, struct packet *packets, uint64_t most)
{
    struct udp *udp = transport;
    uint64_t room = udp->count - udp->lent;
    if (most > room)
        most = room;
    uint64_t share = most / udp->group_count, lent = 0;
    uint32_t number = udp->next_group;
    for (uint32_t left = udp->group_count; left && lent < most; left--) {
        uint64_t wanted = 1;
        if (udp->had_packets[number] && share > 1)
            wanted = share;
        uint32_t came = receive(udp, number, (uint32_t)wanted);
        udp->had_packets[number] = came > 0;
        if (came)
            lent += lend(udp, number, came, packets + lent);
        if (++number == udp->group_count)
            number = 0;
    }
    udp->next_group = number;
    return lent;
}

void udp_release(void *transport)
{
    ((struct udp *)transport)->lent = 0;
}

/* Whether one order was handed to the kernel.  An error that an earlier one left on the socket
 * comes up here before this one is sent, so it is tried once more. */
static int send_one(struct udp *udp, const uint8_t *message, uint32_t length)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (send(udp->order_socket, message, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return 1;
        if (errno != ECONNREFUSED)
            return 0;
        udp->counters.orders_refused++;
    }
    return 0;
}

uint64_t udp_send(void *transport, const uint8_t *messages, uint64_t length)
{
    struct udp *udp = transport;
    struct messages run = {messages, messages + length};
    const uint8_t *message;
    uint32_t size;
    uint64_t sent = 0;
    while ((message = next_message(&run, &size))) {
        if (send_one(udp, message, size))
            sent++;
        else
            udp->counters.orders_dropped++;
    }
    if (run.at != run.end)
        udp->counters.orders_malformed++;
    udp->counters.orders_sent += sent;
    return sent;
}

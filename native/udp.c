/* The `udp` transport.
 *
 * Buffers are taken in order from the first one on and all come back at once, so that a program
 * which keeps up uses the same few cache lines for ever.  A group that the last poll found empty is
 * read by one recv, which hands over a lone packet 0.4 us sooner than recvmmsg, which looks again
 * into what is empty by then; a group that had packets is read by recvmmsg, because more are
 * likely to wait.  A look into an empty socket takes 0.3 to 0.5 us and epoll_wait 0.6 us, so
 * that where there are many groups the latter says which of them to read.
 */
#define _GNU_SOURCE
#include "udp.h"
#include "messages.h"
#include "transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>  /* after time.h, whose timespec it takes for granted */

TRANSPORT_FUNCTIONS(udp);

enum {
    BATCH = 64,        /* most datagrams of one system call */
    CONTROL = 128,     /* bytes of a datagram's ancillary data: one SCM_TIMESTAMPING takes 64 */
    SECOND = 1000000000,
};

struct udp {
    struct udp_group *groups;
    uint64_t *found_at;  /* of each group: the number of the last poll that found packets of it */
    uint64_t polls;
    uint32_t group_count, next_group;
    int32_t epoll;  /* -1: each group is looked at */
    uint8_t *buffers;
    uint32_t size, count, lent;
    uint32_t timestamps;
    int32_t order_socket;
    struct udp_counters counters;
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    uint8_t control[BATCH][CONTROL] __attribute__((aligned(16)));
};

/* Have one system call say which groups have packets; without it each is looked at. */
static void watch_groups(struct udp *udp)
{
    udp->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < udp->group_count && udp->epoll >= 0; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        if (epoll_ctl(udp->epoll, EPOLL_CTL_ADD, udp->groups[i].socket, &event) < 0) {
            close(udp->epoll);
            udp->epoll = -1;
        }
    }
}

struct udp *udp_new(const struct udp_group *groups, uint32_t group_count, uint8_t *buffers,
                    uint32_t size, uint32_t count, uint32_t timestamps, int32_t uses_epoll,
                    int32_t order_socket)
{
    struct udp *udp = calloc(1, sizeof *udp);
    if (!udp)
        return NULL;
    udp->groups = calloc(group_count, sizeof *groups);
    udp->found_at = calloc(group_count, sizeof *udp->found_at);
    udp->epoll = -1;
    udp->polls = 1;
    if (!udp->groups || !udp->found_at) {
        udp_free(udp);
        return NULL;
    }
    memcpy(udp->groups, groups, group_count * sizeof *groups);
    udp->group_count = group_count;
    if (uses_epoll)
        watch_groups(udp);
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
    free(udp->found_at);
    if (udp->epoll >= 0)
        close(udp->epoll);
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
    /* What is not lent is not given back either: its buffers are the next ones again. */
    if (lent)
        udp->lent += came;
    return lent;
}

/* Lend what a group has, up to `most`. */
static uint64_t take(struct udp *udp, uint32_t number, struct packet *packets, uint64_t most)
{
    int is_likely_more = udp->found_at[number] == udp->polls - 1;
    uint32_t came = receive(udp, number, is_likely_more ? (uint32_t)most : 1);
    if (!came)
        return 0;
    udp->found_at[number] = udp->polls;
    return lend(udp, number, came, packets);
}

/* Groups that have packets, each with its share of what is to fill.  The kernel puts those that it
 * has named behind the others, so that none is forgotten. */
static uint64_t take_ready(struct udp *udp, struct packet *packets, uint64_t most)
{
    struct epoll_event ready[BATCH];
    int count = epoll_wait(udp->epoll, ready, most < BATCH ? (int)most : BATCH, 0);
    uint64_t lent = 0;
    for (int i = 0; i < count; i++)
        lent += take(udp, ready[i].data.u32, packets + lent, most / (uint64_t)count);
    return lent;
}

/* The next group in turn that has packets: one that was found is not kept waiting for a look at
 * the others. */
static uint64_t take_next(struct udp *udp, struct packet *packets, uint64_t most)
{
    uint64_t lent = 0;
    for (uint32_t left = udp->group_count; left && !lent; left--) {
        lent = take(udp, udp->next_group, packets, most);
        if (++udp->next_group == udp->group_count)
            udp->next_group = 0;
    }
    return lent;
}

uint64_t udp_poll(void *transport, struct packet *packets, uint64_t most)
{
    struct udp *udp = transport;
    uint64_t room = udp->count - udp->lent;
    if (most > room)
        most = room;
    if (!most)
        return 0;
    udp->polls++;
    return udp->epoll < 0 ? take_next(udp, packets, most) : take_ready(udp, packets, most);
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

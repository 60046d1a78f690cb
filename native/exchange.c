/* See exchange.h. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"
#include "frame.h"
#include "messages.h"
#include "transport.h"

enum { RING_BLOCK = 1 << 20, ORDERS_A_TURN = 8, STREAM_A_TURN = 1 << 16 };

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t u16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

/* ---------------------------------------------------------------- ring */

static struct tpacket2_hdr *frame_at(const struct ring *ring, uint64_t number)
{
    return (void *)(ring->map + (number & (ring->frames - 1)) * ring->frame_size);
}

static int refuse(struct ring *ring)
{
    int error = errno;
    close(ring->fd);
    ring->fd = -1;
    return -error;
}

int ring_open(struct ring *ring, int interface, uint32_t frames, uint32_t frame_size)
{
    int version = TPACKET_V2, one = 1;
    memset(ring, 0, sizeof *ring);
    ring->frames = frames;
    ring->frame_size = frame_size;
    ring->bytes = (uint64_t)frames * frame_size;
    struct tpacket_req request = {
        .tp_block_size = RING_BLOCK,
        .tp_block_nr = (unsigned)(ring->bytes / RING_BLOCK),
        .tp_frame_size = frame_size,
        .tp_frame_nr = frames,
    };
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_IP),
        .sll_ifindex = interface,
    };
    /* Without a protocol nothing comes before it is bound. */
    ring->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (ring->fd < 0)
        return -errno;
    if (setsockopt(ring->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) ||
        setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request))
        return refuse(ring);
    setsockopt(ring->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
    ring->map = mmap(NULL, ring->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd,
                     0);
    if (ring->map == MAP_FAILED)
        return refuse(ring);
    if (bind(ring->fd, (void *)&address, sizeof address)) {
        munmap(ring->map, ring->bytes);
        return refuse(ring);
    }
    return 0;
}

void ring_close(struct ring *ring)
{
    if (ring->fd < 0)
        return;
    munmap(ring->map, ring->bytes);
    close(ring->fd);
    ring->fd = -1;
}

int ring_counters(struct ring *ring, uint64_t *packets, uint64_t *dropped)
{
    struct tpacket_stats stats;
    socklen_t size = sizeof stats;
    if (getsockopt(ring->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size))
        return -errno;
    *packets = stats.tp_packets;
    *dropped = stats.tp_drops;
    return 0;
}

uint64_t ring_poll(void *of, struct packet *packets, uint64_t most)
{
    struct ring *ring = of;
    uint64_t number = 0;
    /* Frames that are lent are still marked as ours: not more than a round of them. */
    while (number < most && ring->next - ring->given_back < ring->frames) {
        struct tpacket2_hdr *frame = frame_at(ring, ring->next);
        if (!(__atomic_load_n(&frame->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            break;
        packets[number++] = (struct packet){
            .address = (uint64_t)(uintptr_t)frame + frame->tp_mac,
            .ts_recv = (uint64_t)frame->tp_sec * 1000000000u + frame->tp_nsec,
            .length = frame->tp_snaplen,
            .wire_length = frame->tp_len,
            .link = LINK_ETHERNET,
        };
        ring->next++;
    }
    return number;
}

void ring_release(void *of)
{
    struct ring *ring = of;
    for (; ring->given_back < ring->next; ring->given_back++)
        __atomic_store_n(&frame_at(ring, ring->given_back)->tp_status, TP_STATUS_KERNEL,
                         __ATOMIC_RELEASE);
}

/* ---------------------------------------------------------------- orders */

/* The UDP payload of a frame to the orders' port; NULL for anything else. */
static const uint8_t *order_in(const struct packet *p, uint64_t port, uint32_t *length)
{
    const uint8_t *frame = (const uint8_t *)(uintptr_t)p->address, *ip = frame + ETHERNET_SIZE;
    if (p->length < ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE ||
        u16(frame + ETHERNET_ETHER_TYPE_OFFSET) != ETHER_TYPE_IPV4 ||
        ip[IPV4_PROTOCOL_OFFSET] != IP_PROTOCOL_UDP)
        return NULL;
    const uint8_t *udp = ip + (ip[IPV4_VERSION_IHL_OFFSET] & 15) * 4;
    uint32_t room = p->length - (uint32_t)(udp - frame), said;
    if (udp + UDP_SIZE > frame + p->length || u16(udp + UDP_DESTINATION_PORT_OFFSET) != port)
        return NULL;
    said = u16(udp + UDP_LENGTH_OFFSET);
    if (said < UDP_SIZE || said > room)
        return NULL;
    *length = said - UDP_SIZE;
    return udp + UDP_SIZE;
}

static void take_datagrams(struct exchange *x)
{
    struct packet seen[ORDERS_A_TURN];
    uint64_t number = ring_poll(&x->ring, seen, ORDERS_A_TURN);
    if (!number)
        return;
    uint64_t now = now_ns();
    for (uint64_t n = 0; n < number; n++) {
        uint32_t length;
        const uint8_t *order = order_in(seen + n, x->order_port, &length);
        if (!order)
            continue;
        uint64_t place = x->page->orders;
        if (place == x->orders_room || x->bytes_used + length > x->bytes_room) {
            x->overflowed++;
            continue;
        }
        x->orders[place] = (struct exchange_order){now, x->bytes_used, length};
        memcpy(x->bytes + x->bytes_used, order, length);
        x->bytes_used += length;
        __atomic_store_n(&x->page->orders, place + 1, __ATOMIC_RELEASE);
    }
    ring_release(&x->ring);
}

/* Packets of the stream, each behind a 2-byte length as messages of a run are, read to where they
 * stay; one that is cut waits for its rest, and arrives with it. */
static int take_stream(struct exchange *x)
{
    uint64_t behind = x->bytes_used + x->partial, room = x->bytes_room - behind;
    uint32_t length;
    const uint8_t *order;
    if (!room)
        return -ENOBUFS;
    ssize_t came = recv(x->stream, x->bytes + behind, room < STREAM_A_TURN ? room : STREAM_A_TURN,
                        MSG_DONTWAIT);
    if (came < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (!came)
        return -ECONNRESET;
    uint64_t now = now_ns();
    struct messages run = {x->bytes + x->bytes_used, x->bytes + behind + came};
    while ((order = next_message(&run, &length))) {
        uint64_t place = x->page->orders;
        if (place == x->orders_room) {
            x->overflowed++;
            continue;
        }
        x->orders[place] = (struct exchange_order){now, (uint64_t)(order - x->bytes), length};
        __atomic_store_n(&x->page->orders, place + 1, __ATOMIC_RELEASE);
    }
    x->bytes_used = (uint64_t)(run.at - x->bytes);
    x->partial = (uint64_t)(run.end - run.at);
    return 0;
}

static int take_orders(struct exchange *x)
{
    if (x->stream >= 0)
        return take_stream(x);
    take_datagrams(x);
    return 0;
}

/* ---------------------------------------------------------------- sending */

static int leave_one(struct exchange *x, uint64_t at, uint64_t now)
{
    const struct packet *p = x->packets + at;
    x->sent_ns[at] = now;
    x->calls++;
    if (send(x->fd, (const void *)(uintptr_t)p->address, p->length, 0) >= 0)
        return 0;
    if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
        return -errno;
    x->sent_ns[at] = 0;
    x->refused++;
    return 0;
}

/* Several that are overdue: one system call, so that an open loop does not fall back further. */
static int leave(struct exchange *x, uint64_t at, uint64_t number, uint64_t now)
{
    struct mmsghdr headers[EXCHANGE_BATCH];
    struct iovec parts[EXCHANGE_BATCH];
    if (number == 1)
        return leave_one(x, at, now);
    memset(headers, 0, number * sizeof *headers);
    for (uint64_t n = 0; n < number; n++) {
        const struct packet *p = x->packets + at + n;
        parts[n] = (struct iovec){(void *)(uintptr_t)p->address, p->length};
        headers[n].msg_hdr.msg_iov = parts + n;
        headers[n].msg_hdr.msg_iovlen = 1;
        x->sent_ns[at + n] = now;
    }
    x->calls++;
    int sent = sendmmsg(x->fd, headers, (unsigned)number, 0);
    if (sent < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
        return -errno;
    for (uint64_t n = sent < 0 ? 0 : (uint64_t)sent; n < number; n++) {
        int failed = leave_one(x, at + n, now_ns()); /* each one's own chance */
        if (failed)
            return failed;
    }
    return 0;
}

int exchange_run(struct exchange *x)
{
    uint64_t next = 0, start, end = 0;
    int failed;
    memmove(x->bytes, x->bytes + x->bytes_used, x->partial);
    x->bytes_used = 0;
    __atomic_store_n(&x->page->ready, 1, __ATOMIC_RELEASE);
    while (!(start = __atomic_load_n(&x->page->start_ns, __ATOMIC_ACQUIRE)))
        if (__atomic_load_n(&x->page->stop, __ATOMIC_ACQUIRE))
            return 0;
    for (;;) {
        if ((failed = take_orders(x)))
            return failed;
        uint64_t now = now_ns();
        if (next == x->number) {
            end = end ? end : now + x->linger_ns;
            if (now >= end)
                break;
        } else if (now >= start + x->due_ns[next]) {
            uint64_t number = 1;
            while (number < EXCHANGE_BATCH && next + number < x->number &&
                   now >= start + x->due_ns[next + number])
                number++;
            if ((failed = leave(x, next, number, now)))
                return failed;
            next += number;
            __atomic_store_n(&x->page->sent, next, __ATOMIC_RELEASE);
        }
        if (__atomic_load_n(&x->page->stop, __ATOMIC_RELAXED))
            break;
    }
    __atomic_store_n(&x->page->finished, 1, __ATOMIC_RELEASE);
    return 0;
}

void exchange_drain(uint64_t poll, uint64_t release, void *transport, struct packet *packets,
                    uint64_t most, struct drained *drained)
{
    uint64_t start = now_ns(), end = start, number;
    drained->packets = 0;
    while ((number = ((transport_poll)(uintptr_t)poll)(transport, packets, most))) {
        ((transport_release)(uintptr_t)release)(transport);
        drained->packets += number;
        end = now_ns();
    }
    drained->ns = end - start;
}

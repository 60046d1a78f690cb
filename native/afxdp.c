/* The `afxdp` transport.
 *
 * Every queue of the interface that is taken has a socket and memory of its own.  The kernel takes
 * free frames from the fill ring and puts packets on the receive ring; a packet is lent where it
 * lies.  Lent packets stay on the receive ring, whose consumer index moves only at release: so the
 * ring itself remembers which frames to give back.
 *
 * Orders have frames of their own.  One that the kernel did not take at once is voided in its ring
 * slot and counted as dropped, since an order that leaves when the interface comes up again, long
 * after it was decided, is worse than none.
 */
#define _GNU_SOURCE
#include "afxdp.h"
#include "datagram.h"
#include "messages.h"
#include "ring.h"
#include "transport.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/bpf.h>

TRANSPORT_FUNCTIONS(afxdp);

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#define SO_BUSY_POLL_BUDGET 70
#endif

enum {
    SECOND = 1000000000,
    BUSY_POLL_US = 20,   /* any number but 0: how long the driver spins is not asked for */
    BUSY_POLL_BUDGET = 64,
    MOST_KICKS = 64,     /* the kernel transmits 32 packets a call, where it copies them */
};
static const uint64_t VOID_FRAME = ~0ull;  /* an address outside of our memory */

struct queue {
    int32_t socket;
    uint8_t *memory;
    struct ring fill, completion, receive, transmit;
    uint32_t filled;    /* producer of fill */
    uint32_t released;  /* consumer of receive */
    uint32_t taken;     /* lent up to here */
    uint32_t number;
    int is_zero_copy;
};

struct afxdp {
    struct queue *queues;
    uint32_t opened, most_queues, next_queue;
    uint32_t frame_size, frames, tx_frames;
    int need_wakeup, busy_poll;
    uint32_t transmitted;  /* producer of the first queue's transmit ring */
    uint32_t reclaimed;    /* consumer of its completion ring */
    uint64_t *free_frames;
    uint32_t free_count;
    uint64_t voided;
    uint32_t longest;
    struct datagram datagram;
    struct afxdp_counters counters;
};

static int32_t bpf(int command, union bpf_attr *attributes)
{
    long result = syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return result < 0 ? -errno : (int32_t)result;
}

int32_t afxdp_map(uint32_t queues)
{
    union bpf_attr attributes = {0};
    attributes.map_type = BPF_MAP_TYPE_XSKMAP;
    attributes.key_size = attributes.value_size = sizeof(uint32_t);
    attributes.max_entries = queues;
    return bpf(BPF_MAP_CREATE, &attributes);
}

int32_t afxdp_program(const uint8_t *instructions, uint32_t count, char *log, uint32_t log_size)
{
    union bpf_attr attributes = {0};
    attributes.prog_type = BPF_PROG_TYPE_XDP;
    attributes.insns = (uintptr_t)instructions;
    attributes.insn_cnt = count;
    attributes.license = (uintptr_t) "GPL";
    attributes.log_buf = (uintptr_t)log;
    attributes.log_size = log_size;
    attributes.log_level = 1;
    return bpf(BPF_PROG_LOAD, &attributes);
}

int32_t afxdp_attach(int32_t program, uint32_t ifindex, uint32_t flags)
{
    union bpf_attr attributes = {0};
    attributes.link_create.prog_fd = (uint32_t)program;
    attributes.link_create.target_ifindex = ifindex;
    attributes.link_create.attach_type = BPF_XDP;
    attributes.link_create.flags = flags;
    return bpf(BPF_LINK_CREATE, &attributes);
}

struct afxdp *afxdp_new(uint32_t queues, uint32_t frame_size, uint32_t frames, uint32_t tx_frames)
{
    struct afxdp *afxdp = calloc(1, sizeof *afxdp);
    if (!afxdp)
        return NULL;
    afxdp->queues = calloc(queues, sizeof *afxdp->queues);
    afxdp->free_frames = calloc(tx_frames ? tx_frames : 1, sizeof *afxdp->free_frames);
    if (!afxdp->queues || !afxdp->free_frames) {
        afxdp_free(afxdp);
        return NULL;
    }
    afxdp->most_queues = queues;
    afxdp->frame_size = frame_size;
    afxdp->frames = frames;
    afxdp->tx_frames = tx_frames;
    afxdp->longest = UINT32_MAX;  /* without an address orders are dropped, whatever their size */
    for (uint32_t i = 0; i < tx_frames; i++)
        afxdp->free_frames[afxdp->free_count++] = (uint64_t)(frames + i) * frame_size;
    return afxdp;
}

uint64_t afxdp_queue_bytes(const struct afxdp *afxdp, uint32_t number)
{
    return (uint64_t)(afxdp->frames + (number ? 0 : afxdp->tx_frames)) * afxdp->frame_size;
}

static int32_t set(int32_t socket, int option, const void *value, uint32_t size)
{
    return setsockopt(socket, SOL_XDP, option, value, size) < 0 ? -errno : 0;
}

#define TRY(what, call) \
    do { \
        *step = what; \
        int32_t result = (call); \
        if (result < 0) \
            return result; \
    } while (0)

static int32_t map_rings(struct afxdp *afxdp, struct queue *queue, uint32_t tx_size,
                         const char **step)
{
    struct xdp_mmap_offsets offsets;
    socklen_t size = sizeof offsets;
    *step = "XDP_MMAP_OFFSETS";
    if (getsockopt(queue->socket, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) < 0)
        return -errno;
    TRY("map fill ring", ring_map(&queue->fill, queue->socket, XDP_UMEM_PGOFF_FILL_RING,
                                  &offsets.fr, afxdp->frames, sizeof(uint64_t)));
    TRY("map completion ring",
        ring_map(&queue->completion, queue->socket, XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr,
                 tx_size, sizeof(uint64_t)));
    TRY("map receive ring", ring_map(&queue->receive, queue->socket, XDP_PGOFF_RX_RING,
                                     &offsets.rx, afxdp->frames, sizeof(struct xdp_desc)));
    TRY("map transmit ring", ring_map(&queue->transmit, queue->socket, XDP_PGOFF_TX_RING,
                                      &offsets.tx, tx_size, sizeof(struct xdp_desc)));
    return 0;
}

static int32_t open_queue(struct afxdp *afxdp, struct queue *queue, uint32_t ifindex,
                          uint16_t bind_flags, int32_t busy_poll, const char **step)
{
    uint32_t tx_size = afxdp->tx_frames ? afxdp->tx_frames : 1;
    struct xdp_umem_reg memory = {
        .addr = (uintptr_t)queue->memory,
        .len = afxdp_queue_bytes(afxdp, (uint32_t)(queue - afxdp->queues)),
        .chunk_size = afxdp->frame_size,
    };
    *step = "socket";
    queue->socket = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (queue->socket < 0)
        return -errno;
    TRY("XDP_UMEM_REG", set(queue->socket, XDP_UMEM_REG, &memory, sizeof memory));
    TRY("XDP_UMEM_FILL_RING", set(queue->socket, XDP_UMEM_FILL_RING, &afxdp->frames, 4));
    TRY("XDP_UMEM_COMPLETION_RING", set(queue->socket, XDP_UMEM_COMPLETION_RING, &tx_size, 4));
    TRY("XDP_RX_RING", set(queue->socket, XDP_RX_RING, &afxdp->frames, 4));
    TRY("XDP_TX_RING", set(queue->socket, XDP_TX_RING, &tx_size, 4));
    TRY("rings", map_rings(afxdp, queue, tx_size, step));
    for (uint32_t i = 0; i < afxdp->frames; i++)
        *ring_frame(&queue->fill, i) = (uint64_t)i * afxdp->frame_size;
    queue->filled = afxdp->frames;
    ring_produce(&queue->fill, queue->filled);
    if (busy_poll) {
        const int options[][2] = {{SO_PREFER_BUSY_POLL, 1},
                                  {SO_BUSY_POLL, BUSY_POLL_US},
                                  {SO_BUSY_POLL_BUDGET, BUSY_POLL_BUDGET}};
        *step = "busy polling";
        for (uint32_t i = 0; i < sizeof options / sizeof *options; i++)
            if (setsockopt(queue->socket, SOL_SOCKET, options[i][0], &options[i][1], 4) < 0)
                return -errno;
    }
    struct sockaddr_xdp address = {
        .sxdp_family = AF_XDP,
        .sxdp_ifindex = ifindex,
        .sxdp_queue_id = queue->number,
        .sxdp_flags = bind_flags,
    };
    *step = "bind";
    if (bind(queue->socket, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    struct xdp_options options = {0};
    socklen_t size = sizeof options;
    *step = "XDP_OPTIONS";
    if (getsockopt(queue->socket, SOL_XDP, XDP_OPTIONS, &options, &size) < 0)
        return -errno;
    queue->is_zero_copy = !!(options.flags & XDP_OPTIONS_ZEROCOPY);
    return 0;
}

static void close_queue(struct queue *queue)
{
    ring_unmap(&queue->fill);
    ring_unmap(&queue->completion);
    ring_unmap(&queue->receive);
    ring_unmap(&queue->transmit);
    if (queue->socket >= 0)
        close(queue->socket);
    queue->socket = -1;
}

int32_t afxdp_open(struct afxdp *afxdp, uint8_t *memory, uint32_t ifindex, uint32_t queue,
                   uint16_t bind_flags, int32_t busy_poll, const char **step)
{
    struct queue *each = &afxdp->queues[afxdp->opened];
    *step = "queues";
    if (afxdp->opened == afxdp->most_queues)
        return -ENOSPC;
    each->memory = memory;
    each->number = queue;
    afxdp->need_wakeup = !!(bind_flags & XDP_USE_NEED_WAKEUP);
    afxdp->busy_poll = busy_poll;
    int32_t result = open_queue(afxdp, each, ifindex, bind_flags, busy_poll, step);
    if (result < 0)
        close_queue(each);
    else
        afxdp->opened++;
    return result;
}

int32_t afxdp_connect(struct afxdp *afxdp, int32_t map, uint32_t number)
{
    struct queue *queue = &afxdp->queues[number];
    union bpf_attr attributes = {0};
    attributes.map_fd = (uint32_t)map;
    attributes.key = (uintptr_t)&queue->number;
    attributes.value = (uintptr_t)&queue->socket;
    return bpf(BPF_MAP_UPDATE_ELEM, &attributes);
}

int32_t afxdp_is_zero_copy(const struct afxdp *afxdp, uint32_t number)
{
    return afxdp->queues[number].is_zero_copy;
}

void afxdp_orders(struct afxdp *afxdp, const uint8_t *headers, uint32_t longest)
{
    datagram_prepare(&afxdp->datagram, headers);
    afxdp->longest = longest;
}

void afxdp_free(struct afxdp *afxdp)
{
    if (!afxdp)
        return;
    for (uint32_t i = 0; i < afxdp->opened; i++)
        close_queue(&afxdp->queues[i]);
    free(afxdp->queues);
    free(afxdp->free_frames);
    free(afxdp);
}

struct afxdp_counters *afxdp_counters(struct afxdp *afxdp)
{
    struct xdp_statistics total = {0};
    for (uint32_t i = 0; i < afxdp->opened; i++) {
        struct xdp_statistics each = {0};
        socklen_t size = sizeof each;
        if (getsockopt(afxdp->queues[i].socket, SOL_XDP, XDP_STATISTICS, &each, &size) < 0)
            continue;
        total.rx_dropped += each.rx_dropped;
        total.rx_ring_full += each.rx_ring_full;
        total.rx_fill_ring_empty_descs += each.rx_fill_ring_empty_descs;
        total.rx_invalid_descs += each.rx_invalid_descs;
        total.tx_invalid_descs += each.tx_invalid_descs;
    }
    struct afxdp_counters *counters = &afxdp->counters;
    counters->rx_dropped = total.rx_dropped;
    counters->rx_ring_full = total.rx_ring_full;
    counters->fill_ring_empty = total.rx_fill_ring_empty_descs;
    counters->rx_invalid_descs = total.rx_invalid_descs;
    counters->tx_invalid_descs = total.tx_invalid_descs > afxdp->voided
                                     ? total.tx_invalid_descs - afxdp->voided : 0;
    return counters;
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* Lend what a queue has, up to `most`; where it has nothing, the driver may have to be told. */
static uint64_t take(struct afxdp *afxdp, struct queue *queue, struct packet *packets,
                     uint64_t most)
{
    uint32_t waiting = ring_produced(&queue->receive) - queue->taken;
    if (!waiting) {
        if (afxdp->busy_poll || (afxdp->need_wakeup && ring_needs_wakeup(&queue->fill))) {
            recvfrom(queue->socket, NULL, 0, MSG_DONTWAIT, NULL, NULL);
            afxdp->counters.wakeups++;
        }
        return 0;
    }
    if (waiting > most)
        waiting = (uint32_t)most;
    uint64_t time = now(), bytes = 0;
    for (uint32_t i = 0; i < waiting; i++) {
        const struct xdp_desc *each = ring_packet(&queue->receive, queue->taken + i);
        packets[i] = (struct packet){
            .address = (uint64_t)(uintptr_t)queue->memory + each->addr,
            .ts_recv = time,
            .length = each->len,
            .wire_length = each->len,
            .link = LINK_ETHERNET,
            .line = (uint16_t)queue->number,
        };
        bytes += each->len;
    }
    queue->taken += waiting;
    afxdp->counters.packets += waiting;
    afxdp->counters.bytes += bytes;
    return waiting;
}

/* One look at each queue, the first one in turn, each with its share of what is left to fill. */
uint64_t afxdp_poll(void *transport, struct packet *packets, uint64_t most)
{
    struct afxdp *afxdp = transport;
    if (afxdp->opened == 1)
        return take(afxdp, afxdp->queues, packets, most);
    uint64_t share = most / afxdp->opened, lent = 0;
    uint32_t number = afxdp->next_queue;
    for (uint32_t left = afxdp->opened; left && lent < most; left--) {
        lent += take(afxdp, &afxdp->queues[number], packets + lent, share ? share : 1);
        if (++number == afxdp->opened)
            number = 0;
    }
    afxdp->next_queue = number;
    return lent;
}

void afxdp_release(void *transport)
{
    struct afxdp *afxdp = transport;
    uint64_t frame = ~(uint64_t)(afxdp->frame_size - 1);
    for (uint32_t i = 0; i < afxdp->opened; i++) {
        struct queue *queue = &afxdp->queues[i];
        if (queue->released == queue->taken)
            continue;
        while (queue->released != queue->taken)
            *ring_frame(&queue->fill, queue->filled++) =
                ring_packet(&queue->receive, queue->released++)->addr & frame;
        ring_consume(&queue->receive, queue->released);
        ring_produce(&queue->fill, queue->filled);
    }
}

/* Take back the frames of orders that are on the wire.  Kernels differ in whether they also report
 * void ones; the frames of these came back when they were voided. */
static void reclaim(struct afxdp *afxdp)
{
    struct ring *completion = &afxdp->queues->completion;
    uint32_t done = ring_produced(completion);
    if (done == afxdp->reclaimed)
        return;
    for (; afxdp->reclaimed != done; afxdp->reclaimed++) {
        uint64_t frame = *ring_frame(completion, afxdp->reclaimed);
        if (frame != VOID_FRAME && afxdp->free_count < afxdp->tx_frames)
            afxdp->free_frames[afxdp->free_count++] = frame;
    }
    ring_consume(completion, afxdp->reclaimed);
}

/* Orders from `first` on that the kernel has not taken are not to be sent any more.  It reads a
 * slot when it comes to it, and skips one whose address is outside of our memory. */
static uint32_t void_unsent(struct afxdp *afxdp, uint32_t first)
{
    struct ring *transmit = &afxdp->queues->transmit;
    uint32_t voided = 0;
    for (; first != afxdp->transmitted; first++) {
        struct xdp_desc *each = ring_packet(transmit, first);
        if (each->addr == VOID_FRAME)
            continue;
        afxdp->free_frames[afxdp->free_count++] = each->addr;
        each->addr = VOID_FRAME;
        voided++;
    }
    afxdp->voided += voided;
    return voided;
}

/* Have what is on the transmit ring sent; gives how many orders were not taken and are void. */
static uint32_t transmit(struct afxdp *afxdp)
{
    struct queue *queue = afxdp->queues;
    struct ring *ring = &queue->transmit;
    ring_produce(ring, afxdp->transmitted);
    if (queue->is_zero_copy && afxdp->need_wakeup && !ring_needs_wakeup(ring))
        return 0;
    for (uint32_t kick = 0; kick < MOST_KICKS; kick++) {
        if (sendto(queue->socket, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN
            && errno != EBUSY && errno != ENOBUFS && errno != EINTR) {
            afxdp->counters.transmit_errors++;
            /* Down or gone: its driver reads the ring no more, whatever the mode. */
            if (!queue->is_zero_copy || errno == ENETDOWN || errno == ENXIO)
                return void_unsent(afxdp, ring_consumed(ring));
            return 0;
        }
        if (queue->is_zero_copy || ring_consumed(ring) == afxdp->transmitted)
            return 0;
    }
    /* Where the kernel copies it does so in our calls only: nothing runs against us here. */
    return void_unsent(afxdp, ring_consumed(ring));
}

static int is_full(const struct afxdp *afxdp)
{
    const struct ring *ring = &afxdp->queues->transmit;
    return afxdp->transmitted - ring_consumed(ring) == ring->size;
}

/* Put one order on the transmit ring; 0 where there is no room. */
static int put_order(struct afxdp *afxdp, const uint8_t *message, uint32_t length)
{
    struct ring *ring = &afxdp->queues->transmit;
    if (!afxdp->free_count || is_full(afxdp))
        return 0;
    uint64_t frame = afxdp->free_frames[--afxdp->free_count];
    length = datagram_write(&afxdp->datagram, afxdp->queues->memory + frame, message, length);
    *ring_packet(ring, afxdp->transmitted++) = (struct xdp_desc){.addr = frame, .len = length};
    return 1;
}

uint64_t afxdp_send(void *transport, const uint8_t *messages, uint64_t length)
{
    struct afxdp *afxdp = transport;
    struct messages run = {messages, messages + length};
    const uint8_t *message;
    uint32_t size;
    uint64_t put = 0, dropped = 0, unsent = 0;
    reclaim(afxdp);
    if (is_full(afxdp)) {  /* maybe of void ones, which go only when the kernel is told to look */
        unsent = transmit(afxdp);
        reclaim(afxdp);
    }
    while ((message = next_message(&run, &size))) {
        if (size > afxdp->longest)
            afxdp->counters.orders_oversize++;
        else if (put_order(afxdp, message, size))
            put++;
        else
            dropped++;
    }
    if (run.at != run.end)
        afxdp->counters.orders_malformed++;
    if (put)
        unsent += transmit(afxdp);
    /* Unsent ones may be of earlier calls, where a driver that was slow to take them went down. */
    afxdp->counters.orders_dropped += dropped + unsent;
    afxdp->counters.orders_sent += put - unsent;
    return put > unsent ? put - unsent : 0;
}

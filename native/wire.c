/* See wire.h.  One frame at a time: found out, put together, sent.
 *
 * Ethernet packets go out as they were captured, but for what would keep them from arriving: the
 * destination's hardware address, a checksum that was never right (a sender's own capture has such),
 * VLAN tags where the receiver cannot take them.  Packets of other links get an Ethernet header,
 * bare datagrams all headers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "frame.h"
#include "transport.h"
#include "wire.h"

enum {
    MAX_VLAN_TAGS = 4,
    SPINS = 4096,               /* looks before the core is lent to others */
    SLICE_NS = 50000000,
    CLOSE_NS = 100000,          /* a wait this short is spun, a longer one slept */
    LONGEST_NAP_NS = 10000000,
    FOREIGN_NAP_NS = 200000,
    RETRIES = 1000,
    PACE_SHIFT = 20
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void nap(uint64_t ns)
{
    struct timespec t = {0, (long)ns};
    nanosleep(&t, NULL);
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static uint64_t load(const uint64_t *cell)
{
    return __atomic_load_n(cell, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *cell, uint64_t value)
{
    __atomic_store_n(cell, value, __ATOMIC_RELEASE);
}

static uint32_t u16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

static uint32_t u32(const uint8_t *at) { return u16(at) << 16 | u16(at + 2); }

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

/* ---------------------------------------------------------------- groups */

static uint64_t place_of(uint64_t key) { return (key * 0x9E3779B97F4A7C15u >> 54) % WIRE_GROUPS; }

static int has_group(const struct wire_groups *groups, uint64_t key)
{
    for (uint64_t at = place_of(key); groups->keys[at]; at = (at + 1) % WIRE_GROUPS)
        if (groups->keys[at] == key)
            return 1;
    return 0;
}

int wire_add_group(struct wire_groups *groups, uint64_t address, uint64_t port)
{
    uint64_t key = address << 16 | port, at = place_of(key);
    if (!key)
        return 0;
    while (groups->keys[at] && groups->keys[at] != key)
        at = (at + 1) % WIRE_GROUPS;
    if (groups->keys[at])
        return 0;
    if (groups->count >= WIRE_MOST_GROUPS)
        return -1;
    groups->keys[at] = key;
    groups->count++;
    return 0;
}

/* ---------------------------------------------------------------- what a packet is */

struct found {
    uint64_t key;               /* of the group of a whole UDP datagram; 0: it is none */
    const uint8_t *network;     /* behind the link header and tags; NULL: not known */
    uint32_t tags;              /* VLAN tags before it */
    uint32_t header;            /* bytes of the IPv4 header */
    uint32_t udp_length;
};

static const uint8_t *tagged(const uint8_t *at, const uint8_t *end, uint32_t *type, uint32_t *tags)
{
    while (*tags < MAX_VLAN_TAGS && (*type == ETHER_TYPE_VLAN || *type == ETHER_TYPE_QINQ ||
                                     *type == ETHER_TYPE_QINQ_OLD)) {
        if (at + VLAN_TAG_SIZE > end)
            return NULL;
        *type = u16(at + VLAN_TAG_ETHER_TYPE_OFFSET);
        at += VLAN_TAG_SIZE;
        ++*tags;
    }
    return at;
}

static const uint8_t *network_of(const struct packet *p, const uint8_t *at, const uint8_t *end,
                                 uint32_t *type, uint32_t *tags)
{
    switch (p->link) {
    case LINK_ETHERNET:
        if (at + ETHERNET_SIZE > end)
            return NULL;
        *type = u16(at + ETHERNET_ETHER_TYPE_OFFSET);
        return tagged(at + ETHERNET_SIZE, end, type, tags);
    case LINK_LINUX_SLL:
        if (at + LINUX_SLL_SIZE > end)
            return NULL;
        *type = u16(at + LINUX_SLL_PROTOCOL_OFFSET);
        return tagged(at + LINUX_SLL_SIZE, end, type, tags);
    case LINK_LINUX_SLL2:
        if (at + LINUX_SLL2_SIZE > end)
            return NULL;
        *type = u16(at + LINUX_SLL2_PROTOCOL_OFFSET);
        return tagged(at + LINUX_SLL2_SIZE, end, type, tags);
    case LINK_RAW:
    case LINK_IPV4:
        if (at >= end)
            return NULL;
        *type = at[0] >> 4 == 6 ? ETHER_TYPE_IPV6 : ETHER_TYPE_IPV4;
        return at;
    default:
        return NULL;
    }
}

/* The same datagrams as tickpath.frame takes, apart from the question of the group. */
static struct found find(const struct packet *p, uint32_t *type)
{
    struct found f = {0, NULL, 0, 0, 0};
    const uint8_t *begin = (const uint8_t *)(uintptr_t)p->address, *end = begin + p->length;
    if (p->link == LINK_DATAGRAM) {
        f.key = (uint64_t)p->group << 16 | p->line;
        return f;
    }
    *type = 0;
    const uint8_t *ip = network_of(p, begin, end, type, &f.tags);
    f.network = ip;
    if (!ip || *type != ETHER_TYPE_IPV4 || ip + IPV4_SIZE > end)
        return f;
    uint32_t header = (ip[IPV4_VERSION_IHL_OFFSET] & 15u) * 4;
    uint32_t total = u16(ip + IPV4_TOTAL_LENGTH_OFFSET);
    if (ip[IPV4_VERSION_IHL_OFFSET] >> 4 != 4 || header < IPV4_SIZE || total < header + UDP_SIZE ||
        ip + total > end || u16(ip + IPV4_FLAGS_FRAGMENT_OFFSET_OFFSET) & 0x3FFF ||
        ip[IPV4_PROTOCOL_OFFSET] != IP_PROTOCOL_UDP)
        return f;
    uint32_t length = u16(ip + header + UDP_LENGTH_OFFSET);
    if (length < UDP_SIZE || header + length > total)
        return f;
    f.header = header;
    f.udp_length = length;
    f.key = (uint64_t)u32(ip + IPV4_DESTINATION_ADDRESS_OFFSET) << 16 |
            u16(ip + header + UDP_DESTINATION_PORT_OFFSET);
    return f;
}

static int is_wanted(const struct packet *p, const struct wire_groups *groups)
{
    uint32_t type;
    struct found f = find(p, &type);
    return f.key && has_group(groups, f.key);
}

int wire_look(struct wire_survey *survey, const struct packet *packets, uint64_t number,
              int collect)
{
    for (uint64_t n = 0; n < number; n++) {
        const struct packet *p = packets + n;
        uint32_t type;
        struct found f = find(p, &type);
        uint64_t length = p->link == LINK_DATAGRAM ? p->length + IPV4_SIZE + UDP_SIZE
                          : !f.network ? p->length
                          : (uint64_t)((const uint8_t *)(uintptr_t)p->address + p->length -
                                       f.network) + f.tags * VLAN_TAG_SIZE;
        if (length > survey->longest)
            survey->longest = length;
        survey->packets++;
        if (f.key && p->wire_length <= p->length) {
            survey->wanted++;
            if (collect && wire_add_group(&survey->groups, f.key >> 16, f.key & 0xFFFF))
                return -1;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- checksums */

static uint64_t sum_of(const uint8_t *at, uint32_t length, uint64_t sum)
{
    for (; length > 1; at += 2, length -= 2)
        sum += u16(at);
    return length ? sum + ((uint64_t)at[0] << 8) : sum;
}

static uint32_t folded(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint32_t)sum;
}

static void sign_header(uint8_t *ip, uint32_t header)
{
    put16(ip + IPV4_HEADER_CHECKSUM_OFFSET, 0);
    put16(ip + IPV4_HEADER_CHECKSUM_OFFSET, ~folded(sum_of(ip, header, 0)) & 0xFFFF);
}

/* A kernel throws away packets from nowhere (0.0.0.0/8) or from a group, and those that checksums do
 * not agree with; 1 where something had to be changed. */
static int mend(const struct wire_player *w, uint8_t *ip, uint32_t header, uint32_t udp_length)
{
    int mended = 0;
    uint8_t *udp = ip + header, *source = ip + IPV4_SOURCE_ADDRESS_OFFSET;
    if (source[0] == 0 || source[0] >= 224) {
        put32(source, w->own_address);
        mended = 1;
    }
    if (folded(sum_of(ip, header, 0)) != 0xFFFF) {
        sign_header(ip, header);
        mended = 1;
    }
    if (u16(udp + UDP_CHECKSUM_OFFSET)) {
        uint64_t sum = sum_of(ip + IPV4_SOURCE_ADDRESS_OFFSET, 8, IP_PROTOCOL_UDP + udp_length);
        if (folded(sum_of(udp, udp_length, sum)) != 0xFFFF) {
            put16(udp + UDP_CHECKSUM_OFFSET, 0); /* none, which is allowed */
            mended = 1;
        }
    }
    return mended;
}

/* ---------------------------------------------------------------- one frame */

static void ethernet_for(struct wire_player *w, uint8_t *frame, uint32_t address)
{
    uint8_t *to = frame + ETHERNET_DESTINATION_OFFSET;
    if (address >> 28 == 14) { /* RFC 1112: the low 23 bits of a multicast group */
        put16(to, 0x0100);
        put32(to + 2, 0x5E000000u | (address & 0x7FFFFF));
    } else if (address == 0xFFFFFFFFu) {
        memset(to, 0xFF, 6);
    } else {
        memcpy(to, w->mac, 6);
    }
}

static uint32_t around_datagram(struct wire_player *w, const struct packet *p)
{
    uint8_t *ip = w->frame + ETHERNET_SIZE, *udp = ip + IPV4_SIZE;
    memset(w->frame, 0, ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE);
    memcpy(w->frame + ETHERNET_SOURCE_OFFSET, w->own_mac, 6);
    put16(w->frame + ETHERNET_ETHER_TYPE_OFFSET, ETHER_TYPE_IPV4);
    ethernet_for(w, w->frame, p->group);
    ip[IPV4_VERSION_IHL_OFFSET] = 4 << 4 | IPV4_SIZE / 4;
    put16(ip + IPV4_TOTAL_LENGTH_OFFSET, IPV4_SIZE + UDP_SIZE + p->length);
    ip[IPV4_TIME_TO_LIVE_OFFSET] = 1;
    ip[IPV4_PROTOCOL_OFFSET] = IP_PROTOCOL_UDP;
    put32(ip + IPV4_SOURCE_ADDRESS_OFFSET, w->own_address);
    put32(ip + IPV4_DESTINATION_ADDRESS_OFFSET, p->group);
    sign_header(ip, IPV4_SIZE);
    put16(udp + UDP_SOURCE_PORT_OFFSET, w->port);
    put16(udp + UDP_DESTINATION_PORT_OFFSET, p->line);
    put16(udp + UDP_LENGTH_OFFSET, UDP_SIZE + p->length);
    memcpy(udp + UDP_SIZE, (const void *)(uintptr_t)p->address, p->length);
    return ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE + p->length;
}

/* Bytes of the frame for a captured packet; 0 where there can be none. */
static uint32_t compose(struct wire_player *w, const struct packet *p, const struct found *f,
                        uint32_t type, int wanted)
{
    const uint8_t *begin = (const uint8_t *)(uintptr_t)p->address, *end = begin + p->length;
    if (p->link == LINK_DATAGRAM)
        return around_datagram(w, p);
    uint32_t front = ETHERNET_SIZE, length;
    if (p->link == LINK_ETHERNET && (f->tags <= w->keeps_tags || !wanted)) {
        memcpy(w->frame, begin, p->length);
        length = p->length;
        if (f->network)
            front = (uint32_t)(f->network - begin);
    } else {
        if (!f->network)
            return 0;
        memcpy(w->frame + ETHERNET_DESTINATION_OFFSET, w->mac, 6);
        memcpy(w->frame + ETHERNET_SOURCE_OFFSET, w->own_mac, 6);
        if (p->link == LINK_ETHERNET) {
            memcpy(w->frame, begin, ETHERNET_ETHER_TYPE_OFFSET);
            w->page->untagged++;
        }
        put16(w->frame + ETHERNET_ETHER_TYPE_OFFSET, type);
        memcpy(w->frame + ETHERNET_SIZE, f->network, (size_t)(end - f->network));
        length = ETHERNET_SIZE + (uint32_t)(end - f->network);
    }
    if (wanted) {
        uint8_t *ip = w->frame + front;
        ethernet_for(w, w->frame, u32(ip + IPV4_DESTINATION_ADDRESS_OFFSET));
        w->page->mended += (uint64_t)mend(w, ip, f->header, f->udp_length);
    }
    return length;
}

static int put(struct wire_player *w, uint32_t length)
{
    for (int tries = 0; tries < RETRIES; tries++) {
        if (send(w->fd, w->frame, length, 0) >= 0)
            return 0;
        if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
            return -errno;
        w->page->retried++;
        nap(SPINS);
    }
    return 1;
}

/* ---------------------------------------------------------------- waiting */

/* Wait until at most `most` wanted packets are under way; WIRE_DONE where that is so. */
static int await_taken(struct wire_player *w, uint64_t most, uint64_t slice_end)
{
    struct wire_page *page = w->page;
    uint64_t spins = 0;
    while (page->wanted - page->written_off > load(&page->taken) + most) {
        if (load(&page->stop))
            return WIRE_STOPPED;
        if (++spins < SPINS) {
            relax();
            continue;
        }
        sched_yield();
        uint64_t now = now_ns(), taken = load(&page->taken);
        if (taken != w->stalled_at || !w->stalled_since) {
            w->stalled_at = taken;
            w->stalled_since = now;
        }
        if (now - w->stalled_since > w->write_off_ns) {
            if (page->write_offs == WIRE_WRITE_OFFS)
                return WIRE_GAVE_UP;
            page->write_offs++;
            page->written_off = page->wanted - taken;
            w->stalled_since = 0;
        }
        if (now >= slice_end)
            return WIRE_SLICE;
    }
    w->stalled_since = 0;
    return WIRE_DONE;
}

/* Wait until a packet is due; WIRE_SLICE where that is too long to wait here. */
static int await_due(struct wire_player *w, uint64_t ts, uint64_t slice_end)
{
    if (!w->pace_start_ns) {
        w->pace_start_ns = now_ns();
        w->pace_first_ts = ts;
    }
    uint64_t passed = ts > w->pace_first_ts ? ts - w->pace_first_ts : 0;
    uint64_t due = w->pace_start_ns +
                   (uint64_t)((unsigned __int128)passed * w->pace_scale >> PACE_SHIFT);
    for (;;) {
        uint64_t now = now_ns();
        if (now >= due) {
            if (now - due > w->page->latest_ns)
                w->page->latest_ns = now - due;
            return WIRE_DONE;
        }
        if (load(&w->page->stop))
            return WIRE_STOPPED;
        if (now >= slice_end)
            return WIRE_SLICE;
        uint64_t left = due - now;
        if (left > CLOSE_NS)
            nap(left - CLOSE_NS < LONGEST_NAP_NS ? left - CLOSE_NS : LONGEST_NAP_NS);
        else
            relax();
    }
}

/* ---------------------------------------------------------------- playing */

static int play_one(struct wire_player *w, const struct packet *p, uint64_t slice_end)
{
    struct wire_page *page = w->page;
    uint32_t type = 0;
    if (w->paced) {
        int waited = await_due(w, p->ts_recv, slice_end);
        if (waited)
            return waited;
    }
    if (p->wire_length > p->length) {
        page->cut++;
        return 0;
    }
    struct found f = find(p, &type);
    int wanted = f.key && has_group(w->groups, f.key);
    if (w->window && wanted) {
        uint64_t most = w->in_order && f.key != w->last_group ? 0 : w->window - 1;
        int waited = await_taken(w, most, slice_end);
        if (waited)
            return waited;
        w->last_group = f.key;
    }
    uint32_t overhead = ETHERNET_SIZE + f.tags * VLAN_TAG_SIZE;
    if (p->length + ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE > WIRE_FRAME) {
        page->too_long++;
        return 0;
    }
    uint32_t length = compose(w, p, &f, type, wanted);
    if (!length || length < ETHERNET_SIZE || length > w->mtu + overhead) {
        page->too_long += length != 0;
        page->unknown += length == 0;
        return 0;
    }
    if (wanted) {
        w->foreign_in_a_row = 0;
    } else if (w->window && ++w->foreign_in_a_row >= w->window) {
        w->foreign_in_a_row = 0; /* these may take room too, and nobody says when they are gone */
        nap(FOREIGN_NAP_NS);
    }
    if (wanted) /* before it leaves: it may be taken before send is over */
        store(&page->wanted, page->wanted + 1);
    int failed = put(w, length);
    if (failed) {
        if (wanted)
            store(&page->wanted, page->wanted - 1);
        page->unsent++;
        return failed < 0 && errno != EINVAL && errno != EMSGSIZE ? failed : 0;
    }
    page->foreign += !wanted;
    page->bytes += length;
    return 0;
}

int wire_play(struct wire_player *w, const struct packet *packets, uint64_t *first,
              uint64_t number)
{
    uint64_t slice_end = now_ns() + SLICE_NS;
    while (*first < number) {
        if (load(&w->page->stop))
            return WIRE_STOPPED;
        int code = play_one(w, packets + *first, slice_end);
        if (code)
            return code;
        ++*first;
        if (*first % 64 == 0 && now_ns() >= slice_end)
            return WIRE_SLICE;
    }
    return WIRE_DONE;
}

/* ---------------------------------------------------------------- the receiver's meter */

uint64_t wire_poll(void *meter, struct packet *packets, uint64_t most)
{
    struct wire_meter *m = meter;
    uint64_t number = ((transport_poll)(uintptr_t)m->poll)(m->transport, packets, most);
    for (uint64_t n = 0; n < number; n++)
        m->lent += (uint64_t)is_wanted(packets + n, m->groups);
    return number;
}

void wire_release(void *meter)
{
    struct wire_meter *m = meter;
    ((transport_release)(uintptr_t)m->release)(m->transport);
    if (m->lent) {
        m->taken += m->lent;
        m->lent = 0;
        store(&m->page->taken, m->taken);
    }
}

uint64_t wire_send(void *meter, const uint8_t *messages, uint64_t length)
{
    struct wire_meter *m = meter;
    return ((transport_send)(uintptr_t)m->send)(m->transport, messages, length);
}

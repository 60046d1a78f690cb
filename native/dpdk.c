/* A transport over a DPDK port: packets are lent where the driver put them.
 *
 * One thread opens, polls, sends and closes.  A poll asks each queue once for a burst, frees what
 * is not the feed, and lends the rest in the drivers' buffers; a release frees these in one go.
 * The receive pool has as many buffers as are configured, for those in the rings and those that
 * are lent: where the engine keeps too many, the driver finds none, drops, and counts.
 *
 * Pools outlive a transport whose port stays (a card's), because its rings hold their buffers
 * until it is configured anew; those of a virtual device go with it.
 */
#define _GNU_SOURCE            /* fopencookie */
#define ALLOW_EXPERIMENTAL_API /* rte_eth_read_clock, which is not in the stable ABI yet */
#include "dpdk.h"
#include "datagram.h"
#include "messages.h"
#include "transport.h"

#include <stdlib.h>

#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

#include "dpdk_clock.h"
#include "dpdk_eal.h"
#include "dpdk_groups.h"

TRANSPORT_FUNCTIONS(dpdk);
_Static_assert(sizeof((struct dpdk_options){0}.headers) == DATAGRAM_HEADERS, "dpdk.h");

enum {
    BURST = 64, /* mbufs that a driver is asked for, or given, at once */
    AHEAD = 4,  /* packets whose headers are fetched before they are looked at */
    MOST_CACHED = 256,
    LAST_BURSTS = 256, /* of each queue, that are thrown away when a port is closed */
    MOST_EXTRA = 1024, /* counts of a driver that are looked through */
};

struct dpdk {
    uint16_t port, queues, next_queue;
    uint32_t waiting_at, waiting_end;
    uint32_t lent_end, room;
    struct groups groups;
    uint64_t ts_recv; /* of the burst that is waiting */
    struct dpdk_counters counts;
    struct rte_mbuf *waiting[BURST];
    struct rte_mbuf **lent;
    struct rte_mempool *send_pool;
    uint32_t most_sent; /* bytes of a message */
    struct datagram datagram;
    int timestamp_offset;
    uint64_t timestamp_flag;
    struct device_clock clock;
    struct rte_eth_stats before;
    struct dpdk_facts facts;
};

static struct {
    struct rte_mempool *receive, *send;
} pools[RTE_MAX_ETHPORTS];

/* ---------------------------------------------------------------- receiving */

static int fill(struct dpdk *dpdk)
{
    uint16_t queue = dpdk->next_queue;
    dpdk->next_queue = queue + 1 == dpdk->queues ? 0 : queue + 1;
    dpdk->waiting_at = 0;
    dpdk->waiting_end = rte_eth_rx_burst(dpdk->port, queue, dpdk->waiting, BURST);
    if (!dpdk->waiting_end)
        return 0;
    dpdk->ts_recv = now_ns();
    for (uint32_t n = 0; n < dpdk->waiting_end && n < AHEAD; n++)
        rte_prefetch0(rte_pktmbuf_mtod(dpdk->waiting[n], void *));
    if (dpdk->clock.multiplier && dpdk->ts_recv - dpdk->clock.ns > CLOCK_EVERY_NS) {
        uint64_t ticks;
        if (!rte_eth_read_clock(dpdk->port, &ticks))
            clock_move(&dpdk->clock, ticks, now_ns());
    }
    return 1;
}

static inline uint64_t received_at(const struct dpdk *dpdk, struct rte_mbuf *mbuf)
{
    if (!dpdk->clock.multiplier || !(mbuf->ol_flags & dpdk->timestamp_flag))
        return dpdk->ts_recv;
    return clock_ns(&dpdk->clock,
                    *RTE_MBUF_DYNFIELD(mbuf, dpdk->timestamp_offset, rte_mbuf_timestamp_t *));
}

uint64_t dpdk_poll(void *transport, struct packet *packets, uint64_t most)
{
    struct dpdk *dpdk = transport;
    struct rte_mbuf *refused[BURST];
    uint64_t lent = 0;
    uint32_t refused_end = 0;
    uint16_t asked = 0;
    if (unlikely(most > dpdk->room - dpdk->lent_end)) {
        most = dpdk->room - dpdk->lent_end;
        dpdk->counts.lent_full += !most;
    }
    while (lent < most) {
        if (dpdk->waiting_at == dpdk->waiting_end) {
            rte_pktmbuf_free_bulk(refused, refused_end);
            refused_end = 0;
            if (asked++ == dpdk->queues)
                break;
            if (!fill(dpdk))
                continue;
        }
        uint32_t at = dpdk->waiting_at++;
        if (at + AHEAD < dpdk->waiting_end)
            rte_prefetch0(rte_pktmbuf_mtod(dpdk->waiting[at + AHEAD], void *));
        struct rte_mbuf *mbuf = dpdk->waiting[at];
        enum verdict verdict = frame_verdict(&dpdk->groups, rte_pktmbuf_mtod(mbuf, uint8_t *),
                                             mbuf->data_len);
        if (unlikely(verdict == FRAME_CUT) && mbuf->nb_segs > 1 && !rte_pktmbuf_linearize(mbuf))
            verdict = FRAME_WANTED;
        if (unlikely(verdict != FRAME_WANTED)) {
            dpdk->counts.filtered += verdict == FRAME_OTHER;
            dpdk->counts.oversize += verdict == FRAME_CUT;
            refused[refused_end++] = mbuf;
            continue;
        }
        dpdk->lent[dpdk->lent_end++] = mbuf;
        packets[lent++] = (struct packet){
            .address = (uint64_t)rte_pktmbuf_mtod(mbuf, uintptr_t),
            .ts_recv = received_at(dpdk, mbuf),
            .length = mbuf->data_len,
            .wire_length = mbuf->data_len,
            .link = LINK_ETHERNET,
        };
        dpdk->counts.bytes += mbuf->data_len;
    }
    rte_pktmbuf_free_bulk(refused, refused_end);
    dpdk->counts.packets += lent;
    return lent;
}

void dpdk_release(void *transport)
{
    struct dpdk *dpdk = transport;
    rte_pktmbuf_free_bulk(dpdk->lent, dpdk->lent_end);
    dpdk->lent_end = 0;
}

/* ---------------------------------------------------------------- sending */

static struct rte_mbuf *order(struct dpdk *dpdk, const uint8_t *message, uint32_t length)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(dpdk->send_pool);
    if (unlikely(!mbuf))
        return NULL;
    uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
    mbuf->data_len = (uint16_t)datagram_write(&dpdk->datagram, frame, message, length);
    mbuf->pkt_len = mbuf->data_len;
    return mbuf;
}

static uint64_t flush(struct dpdk *dpdk, struct rte_mbuf **burst, uint16_t count)
{
    uint16_t taken = rte_eth_tx_burst(dpdk->port, 0, burst, count);
    rte_pktmbuf_free_bulk(burst + taken, count - taken);
    dpdk->counts.orders_sent += taken;
    dpdk->counts.orders_dropped += count - taken;
    return taken;
}

uint64_t dpdk_send(void *transport, const uint8_t *messages, uint64_t length)
{
    struct dpdk *dpdk = transport;
    struct rte_mbuf *burst[BURST];
    struct messages run = {messages, messages + length};
    const uint8_t *message;
    uint32_t size;
    uint64_t sent = 0;
    uint16_t count = 0;
    while ((message = next_message(&run, &size))) {
        if (unlikely(size > dpdk->most_sent)) {
            dpdk->counts.orders_oversize++;
            continue;
        }
        struct rte_mbuf *mbuf = order(dpdk, message, size);
        if (unlikely(!mbuf)) {
            dpdk->counts.orders_dropped++;
            continue;
        }
        burst[count++] = mbuf;
        if (count == BURST) {
            sent += flush(dpdk, burst, count);
            count = 0;
        }
    }
    if (run.at != run.end)
        dpdk->counts.orders_malformed++;
    return count ? sent + flush(dpdk, burst, count) : sent;
}

/* ---------------------------------------------------------------- opening */

#define STEP(call, name) \
    do { \
        *step = name; \
        if ((*code = (call)) < 0) \
            return *code; \
    } while (0)

/* Without huge pages a pool would leave a gap wherever a buffer crossed a page, so that each took a
 * page.  net_af_xdp takes no notice of these gaps when it says to the kernel where its memory ends:
 * frames behind that are never given back, and when all of the fill ring are such ones nothing is
 * received any more.  Addresses are virtual there, and need no pages that are next to each other. */
static struct rte_mempool *new_pool(const char *kind, uint16_t port, uint32_t buffers, int node)
{
    static unsigned made;
    char name[RTE_MEMPOOL_NAMESIZE];
    struct rte_pktmbuf_pool_private room = {.mbuf_data_room_size = RTE_MBUF_DEFAULT_BUF_SIZE};
    unsigned size = sizeof(struct rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE;
    unsigned flags = rte_eal_has_hugepages() ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
    /* A name of its own each time: a new pool is made before the old one can go. */
    snprintf(name, sizeof name, "tp_%s_%u_%u", kind, port, made++);
    unsigned cached = buffers / 4 < MOST_CACHED ? buffers / 4 : MOST_CACHED;
    struct rte_mempool *pool = rte_mempool_create_empty(name, buffers, size, cached, sizeof room,
                                                        node, flags);
    if (!pool)
        return NULL;
    int code = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
    if (!code) {
        rte_pktmbuf_pool_init(pool, &room);
        code = rte_mempool_populate_default(pool);
    }
    if (code < 0) {
        rte_mempool_free(pool);
        rte_errno = -code;
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

static void spread_over_queues(struct rte_eth_conf *conf, const struct rte_eth_dev_info *info,
                               uint16_t queues)
{
    uint64_t offered = info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP);
    if (queues < 2 || !offered)
        return;
    conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf->rx_adv_conf.rss_conf.rss_hf = offered;
}

static int configure(struct dpdk *dpdk, const struct dpdk_options *options, int *code,
                     const char **step)
{
    struct rte_eth_dev_info info;
    struct rte_eth_conf conf = {0};
    uint16_t port = options->port, receive = options->descriptors, send = receive;
    STEP(rte_eth_dev_info_get(port, &info), "its abilities cannot be read");
    dpdk->facts.queues_most = info.max_rx_queues;
    STEP(options->queues > info.max_rx_queues ? -ERANGE : 0, "it has fewer queues");
    /* Some drivers pair queues: as many to send as to receive, where there are so many. */
    uint16_t senders = RTE_MIN(options->queues, info.max_tx_queues);
    STEP(senders ? 0 : -ENOTSUP, "it cannot send");
    spread_over_queues(&conf, &info, options->queues);
    uint64_t ticks;
    int stamps = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TIMESTAMP &&
                 !rte_eth_read_clock(port, &ticks);
    if (stamps)
        conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_TIMESTAMP;
    STEP(rte_eth_dev_configure(port, options->queues, senders, &conf), "it cannot be configured");
    STEP(rte_eth_dev_adjust_nb_rx_tx_desc(port, &receive, &send), "its rings cannot be sized");

    int node = rte_eth_dev_socket_id(port);
    struct rte_mempool *old_receive = pools[port].receive, *old_send = pools[port].send;
    *step = "there is no memory for its buffers";
    pools[port].receive = new_pool("receive", port, options->buffers, node);
    pools[port].send = pools[port].receive ? new_pool("send", port, send * senders + 4 * BURST, node)
                                           : NULL;
    if (!pools[port].send) {
        *code = -(rte_errno ? rte_errno : ENOMEM);
        rte_mempool_free(pools[port].receive);
        pools[port].receive = old_receive;
        pools[port].send = old_send;
        return *code;
    }
    for (uint16_t queue = 0; queue < options->queues; queue++)
        STEP(rte_eth_rx_queue_setup(port, queue, receive, node, NULL, pools[port].receive),
             "a receive queue cannot be set up");
    for (uint16_t queue = 0; queue < senders; queue++)
        STEP(rte_eth_tx_queue_setup(port, queue, send, node, NULL),
             "a send queue cannot be set up");
    /* The old queues are gone, and with them the last buffers of the old pools. */
    rte_mempool_free(old_receive);
    rte_mempool_free(old_send);
    if (stamps)
        STEP(rte_mbuf_dyn_rx_timestamp_register(&dpdk->timestamp_offset, &dpdk->timestamp_flag),
             "its timestamps cannot be had");
    dpdk->send_pool = pools[port].send;
    dpdk->facts.receive_descriptors = receive;
    dpdk->facts.send_descriptors = send;
    dpdk->facts.has_device_clock = stamps;
    dpdk->facts.numa_node = node;
    snprintf(dpdk->facts.driver, sizeof dpdk->facts.driver, "%s", info.driver_name);
    return 0;
}

static void calibrate(struct dpdk *dpdk)
{
    uint64_t ticks;
    if (!dpdk->facts.has_device_clock || rte_eth_read_clock(dpdk->port, &ticks))
        return;
    dpdk->clock = (struct device_clock){.ticks = ticks, .ns = now_ns()};
    while (now_ns() - dpdk->clock.ns < CLOCK_FIRST_NS)
        rte_pause();
    if (!rte_eth_read_clock(dpdk->port, &ticks))
        clock_move(&dpdk->clock, ticks, now_ns());
}

static int start(struct dpdk *dpdk, const struct dpdk_options *options, int *code,
                 const char **step)
{
    STEP(configure(dpdk, options, code, step), *step);
    STEP(rte_eth_dev_start(dpdk->port), "it cannot be started");
    /* A driver that has no switch for it, as most virtual ones, receives everything. */
    dpdk->facts.is_all_multicast = !rte_eth_allmulticast_enable(dpdk->port);
    if (!dpdk->facts.is_all_multicast && options->is_promiscuous)
        dpdk->facts.is_promiscuous = !rte_eth_promiscuous_enable(dpdk->port);
    calibrate(dpdk);
    datagram_prepare(&dpdk->datagram, options->headers);
    rte_eth_dev_get_mtu(dpdk->port, &dpdk->facts.mtu);
    uint32_t room = rte_pktmbuf_data_room_size(dpdk->send_pool) - RTE_PKTMBUF_HEADROOM;
    dpdk->most_sent = RTE_MIN(room, dpdk->facts.mtu + (uint32_t)ETHERNET_SIZE) - DATAGRAM_HEADERS;
    memcpy(dpdk->facts.mac, dpdk_port_mac(dpdk->port), sizeof dpdk->facts.mac);
    snprintf(dpdk->facts.device, sizeof dpdk->facts.device, "%s", dpdk_port_name(dpdk->port));
    dpdk->facts.queues = dpdk->queues;
    STEP(rte_eth_stats_get(dpdk->port, &dpdk->before), "it does not count");
    return 0;
}

static void delete(struct dpdk *dpdk)
{
    free(dpdk->groups.keys);
    free(dpdk->lent);
    free(dpdk);
}

void *dpdk_open(const struct dpdk_options *options, int *code, const char **step)
{
    *step = "out of memory";
    *code = -ENOMEM;
    struct dpdk *dpdk = calloc(1, sizeof *dpdk);
    if (!dpdk)
        return NULL;
    dpdk->port = options->port;
    dpdk->queues = options->queues;
    dpdk->room = options->buffers;
    dpdk->lent = calloc(options->buffers, sizeof *dpdk->lent);
    if (!dpdk->lent || groups_make(&dpdk->groups, options->groups, options->group_count) < 0) {
        delete(dpdk);
        return NULL;
    }
    if (start(dpdk, options, code, step) < 0) {
        rte_eth_dev_stop(dpdk->port);
        delete(dpdk);
        return NULL;
    }
    return dpdk;
}

void dpdk_close(void *transport)
{
    struct dpdk *dpdk = transport;
    dpdk_release(dpdk);
    /* What is still in the rings is freed by the drivers, but for those that are somebody's own
     * ring (net_ring), where it would outlive the pool. */
    for (uint32_t bursts = 0; bursts < LAST_BURSTS * (uint32_t)dpdk->queues; bursts++) {
        rte_pktmbuf_free_bulk(dpdk->waiting + dpdk->waiting_at,
                              dpdk->waiting_end - dpdk->waiting_at);
        dpdk->waiting_at = dpdk->waiting_end = 0;
        fill(dpdk);
    }
    rte_pktmbuf_free_bulk(dpdk->waiting, dpdk->waiting_end);
    if (dpdk->facts.is_all_multicast)
        rte_eth_allmulticast_disable(dpdk->port);
    if (dpdk->facts.is_promiscuous)
        rte_eth_promiscuous_disable(dpdk->port);
    rte_eth_dev_stop(dpdk->port);
    delete(dpdk);
}

/* The port of an unplugged device: nobody holds buffers of its pools any more. */
void dpdk_forget(uint16_t port)
{
    rte_mempool_free(pools[port].receive);
    rte_mempool_free(pools[port].send);
    pools[port].receive = pools[port].send = NULL;
}

/* ---------------------------------------------------------------- what is known of it */

const struct dpdk_counters *dpdk_counters(void *transport)
{
    return &((struct dpdk *)transport)->counts;
}

int dpdk_driver_counts(void *transport, struct dpdk_driver_counts *counts)
{
    struct dpdk *dpdk = transport;
    struct rte_eth_stats now;
    int code = rte_eth_stats_get(dpdk->port, &now);
    if (code < 0)
        return code;
    const struct rte_eth_stats *before = &dpdk->before;
    *counts = (struct dpdk_driver_counts){
        .ring_full = now.imissed - before->imissed,
        .receive_errors = now.ierrors - before->ierrors,
        .no_buffers = now.rx_nombuf - before->rx_nombuf,
        .send_errors = now.oerrors - before->oerrors,
    };
    return 0;
}

void dpdk_facts(void *transport, struct dpdk_facts *facts)
{
    struct dpdk *dpdk = transport;
    struct rte_eth_link link = {0};
    if (!rte_eth_link_get_nowait(dpdk->port, &link)) {
        dpdk->facts.is_up = link.link_status;
        dpdk->facts.link_mbps = link.link_speed;
    }
    *facts = dpdk->facts;
}

int dpdk_extra_counts(void *transport, char (*names)[64], uint64_t *values, int most)
{
    struct dpdk *dpdk = transport;
    struct rte_eth_xstat *counts = calloc(MOST_EXTRA, sizeof *counts);
    struct rte_eth_xstat_name *known = calloc(MOST_EXTRA, sizeof *known);
    int number = 0;
    if (counts && known) {
        int named = rte_eth_xstats_get_names(dpdk->port, known, MOST_EXTRA);
        number = rte_eth_xstats_get(dpdk->port, counts, MOST_EXTRA);
        number = number < 0 || number > MOST_EXTRA || named != number ? 0 : RTE_MIN(number, most);
        for (int n = 0; n < number; n++) {
            snprintf(names[n], sizeof names[n], "%s", known[counts[n].id].name);
            values[n] = counts[n].value;
        }
    }
    free(counts);
    free(known);
    return number;
}

/* DPDK: its environment, its ports, and a transport over one of them. */
#ifndef TICKPATH_DPDK_H
#define TICKPATH_DPDK_H

#include "packet.h"

/* The environment abstraction layer, once in a process.  Codes are 0 or a negative errno. */
int dpdk_start(int count, char **arguments, int is_log_shown);
int dpdk_plug(const char *name, const char *arguments);
int dpdk_unplug(const char *name);
int dpdk_ports(uint16_t *ports, int most);
int dpdk_port_of(const char *name);
const char *dpdk_port_name(uint16_t port);
const uint8_t *dpdk_port_mac(uint16_t port);
const char *dpdk_version(void);
const char *dpdk_error(int code);
/* What EAL and drivers said since dpdk_forget_log. */
const char *dpdk_log(void);
void dpdk_forget_log(void);
int dpdk_has_huge_pages(void);

struct dpdk_options {
    uint16_t port;
    uint16_t queues;
    uint16_t descriptors;
    /* Buffers of the receive pool; those that are lent and those in the rings are from it. */
    uint32_t buffers;
    /* Groups as address << 16 | port; none: every UDP datagram over IPv4. */
    const uint64_t *groups;
    uint64_t group_count;
    /* Whether a port of a kernel's interface is asked for other hosts' packets by its driver. */
    int is_promiscuous;
    /* In front of orders: tickpath_backends.datagram. */
    uint8_t headers[42];
};

struct dpdk_counters {
    uint64_t packets;           /* lent */
    uint64_t bytes;
    uint64_t filtered;          /* not of the configured groups, or not UDP over IPv4 */
    uint64_t oversize;          /* did not fit whole into a buffer */
    uint64_t lent_full;         /* polls that found every buffer lent */
    uint64_t orders_sent;
    uint64_t orders_dropped;    /* no room in the send ring, or no buffer */
    uint64_t orders_oversize;   /* larger than the port's MTU lets through */
    uint64_t orders_malformed;
};

/* What the driver lost since the port was opened. */
struct dpdk_driver_counts {
    uint64_t ring_full;
    uint64_t receive_errors;
    uint64_t no_buffers;
    uint64_t send_errors;
};

struct dpdk_facts {
    char driver[64];
    char device[64];
    uint8_t mac[6];
    uint16_t queues;
    uint16_t queues_most;
    uint16_t receive_descriptors;
    uint16_t send_descriptors;
    uint16_t mtu;
    int32_t numa_node;
    uint32_t link_mbps;
    uint8_t is_up;
    uint8_t has_device_clock;
    uint8_t is_promiscuous;
    uint8_t is_all_multicast;
};

/* Configure and start a port.  NULL on failure; then `code` and `step` say what failed. */
void *dpdk_open(const struct dpdk_options *options, int *code, const char **step);
/* Stop it.  Its pools go with `dpdk_forget`, when its device is unplugged. */
void dpdk_close(void *transport);
void dpdk_forget(uint16_t port);
uint64_t dpdk_poll(void *transport, struct packet *packets, uint64_t most);
void dpdk_release(void *transport);
uint64_t dpdk_send(void *transport, const uint8_t *messages, uint64_t length);
const struct dpdk_counters *dpdk_counters(void *transport);
int dpdk_driver_counts(void *transport, struct dpdk_driver_counts *counts);
void dpdk_facts(void *transport, struct dpdk_facts *facts);
/* Further counts of the driver by name, at most `most`; gives how many there are. */
int dpdk_extra_counts(void *transport, char (*names)[64], uint64_t *values, int most);

#endif

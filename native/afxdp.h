/* AF_XDP sockets by raw system calls: packets lent in the memory that the kernel wrote them to. */
#ifndef TICKPATH_AFXDP_H
#define TICKPATH_AFXDP_H

#include "packet.h"

struct afxdp_counters {
    uint64_t packets;
    uint64_t bytes;
    uint64_t wakeups;           /* system calls made to have the driver go on */
    uint64_t rx_dropped;        /* by the kernel: no free frame, or a packet larger than one */
    uint64_t rx_ring_full;      /* by the kernel: no room in the receive ring */
    uint64_t fill_ring_empty;   /* how often the kernel found no free frame */
    uint64_t rx_invalid_descs;
    uint64_t tx_invalid_descs;
    uint64_t orders_sent;
    uint64_t orders_dropped;    /* no room in the ring, or the interface did not take them */
    uint64_t orders_oversize;   /* larger than the interface's MTU */
    uint64_t orders_malformed;
    uint64_t transmit_errors;   /* refusals of the kernel to transmit */
};

struct afxdp;

/* Each of these gives a file descriptor or 0, or what went wrong as a negative errno. */
int32_t afxdp_map(uint32_t queues);
int32_t afxdp_program(const uint8_t *instructions, uint32_t count, char *log, uint32_t log_size);
int32_t afxdp_attach(int32_t program, uint32_t ifindex, uint32_t flags);

/* State of up to `queues` sockets with `frames` frames of `frame_size` bytes each, both powers of
 * two; the first one has `tx_frames` more, for orders.  NULL where there is no memory. */
struct afxdp *afxdp_new(uint32_t queues, uint32_t frame_size, uint32_t frames, uint32_t tx_frames);
/* Bytes of memory that each queue takes; the first one the most. */
uint64_t afxdp_queue_bytes(const struct afxdp *afxdp, uint32_t number);
/* Open a queue's socket on `memory`; `step` names the system call that failed. */
int32_t afxdp_open(struct afxdp *afxdp, uint8_t *memory, uint32_t ifindex, uint32_t queue,
                   uint16_t bind_flags, int32_t busy_poll, const char **step);
/* Have the program hand the queue's packets to its socket. */
int32_t afxdp_connect(struct afxdp *afxdp, int32_t map, uint32_t number);
/* 1: the queue's driver receives into our memory without a copy; 0: it does not. */
int32_t afxdp_is_zero_copy(const struct afxdp *afxdp, uint32_t number);
/* Headers of orders (datagram.h), and the longest message that an order may be. */
void afxdp_orders(struct afxdp *afxdp, const uint8_t *headers, uint32_t longest);
void afxdp_free(struct afxdp *afxdp);
/* Refreshed from the kernel's statistics. */
struct afxdp_counters *afxdp_counters(struct afxdp *afxdp);

/* transport.h says what these do. */
uint64_t afxdp_poll(void *transport, struct packet *packets, uint64_t most);
void afxdp_release(void *transport);
uint64_t afxdp_send(void *transport, const uint8_t *messages, uint64_t length);

#endif

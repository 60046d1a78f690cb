/* See receive.h. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "frame.h"
#include "receive.h"
#include "transport.h"

enum { MOST = 256, DATAGRAM = 2048, NUMBER_BYTES = 8 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note(struct receive *r, const uint8_t *payload, uint64_t length, uint64_t now)
{
    uint64_t number = 0;
    if (length < NUMBER_BYTES)
        return;
    for (int n = 0; n < NUMBER_BYTES; n++)
        number = number << 8 | payload[n];
    if (number < r->number && !r->arrived_ns[number]) {
        r->arrived_ns[number] = now;
        r->received++;
    }
}

static int is_over(const struct receive *r, uint64_t *quiet_since)
{
    if (!__atomic_load_n(r->finished, __ATOMIC_ACQUIRE))
        return 0;
    uint64_t now = now_ns();
    if (!*quiet_since)
        *quiet_since = now;
    return now - *quiet_since > r->idle_ns;
}

void receive_polled(struct receive *r, uint64_t poll, uint64_t release, void *transport,
                    uint64_t burst)
{
    struct packet packets[MOST];
    uint64_t quiet_since = 0, begun;
    if (burst > MOST)
        burst = MOST;
    while (r->received < r->number) {
        begun = r->begun_ns ? 0 : now_ns();
        uint64_t number = ((transport_poll)(uintptr_t)poll)(transport, packets, burst);
        if (!number) {
            if (is_over(r, &quiet_since))
                return;
            continue;
        }
        for (uint64_t n = 0; n < number; n++) {
            const struct packet *p = packets + n;
            uint64_t skip = p->link == LINK_DATAGRAM ? 0 : ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE;
            if (p->length >= skip)
                note(r, (const uint8_t *)(uintptr_t)p->address + skip, p->length - skip, now_ns());
        }
        ((transport_release)(uintptr_t)release)(transport);
        if (begun)
            r->begun_ns = begun;
        quiet_since = 0;
        r->ended_ns = now_ns();
    }
}

void receive_socket(struct receive *r, int socket, uint32_t each)
{
    static uint8_t bytes[MOST][DATAGRAM];
    struct mmsghdr headers[MOST];
    struct iovec parts[MOST];
    uint64_t quiet_since = 0, begun;
    if (each > MOST)
        each = MOST;
    memset(headers, 0, sizeof headers);
    for (uint32_t n = 0; n < each; n++) {
        parts[n] = (struct iovec){bytes[n], DATAGRAM};
        headers[n].msg_hdr.msg_iov = parts + n;
        headers[n].msg_hdr.msg_iovlen = 1;
    }
    while (r->received < r->number) {
        begun = r->begun_ns ? 0 : now_ns();
        ssize_t got = each == 1 ? recv(socket, bytes[0], DATAGRAM, 0)
                                : recvmmsg(socket, headers, each, MSG_WAITFORONE, NULL);
        if (got < 0 || (each > 1 && got == 0)) {
            if (is_over(r, &quiet_since))
                return;
            continue;
        }
        if (each == 1) {
            note(r, bytes[0], (uint64_t)got, now_ns());
        } else {
            for (ssize_t n = 0; n < got; n++)
                note(r, bytes[n], headers[n].msg_len, now_ns());
        }
        if (begun)
            r->begun_ns = begun;
        quiet_since = 0;
        r->ended_ns = now_ns();
    }
}

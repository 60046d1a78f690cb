/* An order as an Ethernet frame: prepared headers, completed with each message.
 *
 * Python makes the headers once (tickpath_backends.datagram), with lengths and checksums zero;
 * what does not change from message to message is summed up once too.
 */
#ifndef TICKPATH_DATAGRAM_H
#define TICKPATH_DATAGRAM_H

#include "frame.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

enum {
    DATAGRAM_IPV4 = ETHERNET_SIZE,
    DATAGRAM_UDP = DATAGRAM_IPV4 + IPV4_SIZE,
    DATAGRAM_HEADERS = DATAGRAM_UDP + UDP_SIZE,
    DATAGRAM_LEAST = 60,  /* bytes of the shortest Ethernet frame, without its checksum */
};

struct datagram {
    uint8_t headers[DATAGRAM_HEADERS];
    uint64_t ipv4_sum, udp_sum;
};

/* Sum of 16-bit words in the order of memory: an Internet checksum does not care which (RFC 1071).
 * A last odd byte is followed by a zero one. */
static inline uint64_t datagram_sum(const uint8_t *bytes, uint32_t length)
{
    uint64_t sum = 0;
    for (; length >= 4; bytes += 4, length -= 4) {
        uint32_t word;
        memcpy(&word, bytes, 4);
        sum += word;
    }
    uint32_t rest = 0;
    memcpy(&rest, bytes, length);
    return sum + rest;
}

/* The checksum that a sum stands for, in the order of memory. */
static inline uint16_t datagram_checksum(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)~sum;
}

static inline void datagram_put(uint8_t *at, uint16_t word)
{
    memcpy(at, &word, sizeof word);
}

/* `headers`: DATAGRAM_HEADERS bytes whose lengths and checksums are zero. */
static inline void datagram_prepare(struct datagram *datagram, const uint8_t *headers)
{
    memcpy(datagram->headers, headers, DATAGRAM_HEADERS);
    datagram->ipv4_sum = datagram_sum(headers + DATAGRAM_IPV4, IPV4_SIZE);
    /* The pseudo header of RFC 768: both addresses, the protocol, and the length, added later. */
    datagram->udp_sum = datagram_sum(headers + DATAGRAM_IPV4 + IPV4_SOURCE_ADDRESS_OFFSET, 8)
                        + htons(IP_PROTOCOL_UDP)
                        + datagram_sum(headers + DATAGRAM_UDP, UDP_SIZE);
}

/* Write a whole frame with a message of `length` bytes; gives the frame's length.  There must be
 * room for DATAGRAM_HEADERS + length and for DATAGRAM_LEAST bytes. */
static inline uint32_t datagram_write(const struct datagram *datagram, uint8_t *frame,
                                      const uint8_t *message, uint32_t length)
{
    uint8_t *ipv4 = frame + DATAGRAM_IPV4, *udp = frame + DATAGRAM_UDP;
    uint16_t total = htons((uint16_t)(IPV4_SIZE + UDP_SIZE + length));
    uint16_t size = htons((uint16_t)(UDP_SIZE + length));
    memcpy(frame, datagram->headers, DATAGRAM_HEADERS);
    memcpy(frame + DATAGRAM_HEADERS, message, length);
    datagram_put(ipv4 + IPV4_TOTAL_LENGTH_OFFSET, total);
    datagram_put(ipv4 + IPV4_HEADER_CHECKSUM_OFFSET,
                 datagram_checksum(datagram->ipv4_sum + total));
    datagram_put(udp + UDP_LENGTH_OFFSET, size);
    uint16_t checksum = datagram_checksum(datagram->udp_sum + 2 * (uint64_t)size
                                          + datagram_sum(message, length));
    datagram_put(udp + UDP_CHECKSUM_OFFSET, checksum ? checksum : 0xFFFF);
    length += DATAGRAM_HEADERS;
    if (length < DATAGRAM_LEAST) {
        memset(frame + length, 0, DATAGRAM_LEAST - length);
        length = DATAGRAM_LEAST;
    }
    return length;
}

#endif

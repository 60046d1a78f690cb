/* Which frames are the feed: UDP datagrams to configured groups, behind up to four VLAN tags.

   The same walk as `tickpath.frame`, which parses again what passes here; this one only says yes
   or no.  Groups stand in an open hash table at most half full. */
#ifndef TICKPATH_DPDK_GROUPS_H
#define TICKPATH_DPDK_GROUPS_H

#include <stdint.h>
#include <stdlib.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

enum { MAX_VLAN_TAGS = 4 };

struct groups {
    uint64_t mask;  /* of the table's places */
    uint64_t count; /* none: every datagram is taken */
    uint64_t *keys; /* 0: free */
};

static const uint64_t GROUP_TAKEN = 1ull << 63;

static inline uint64_t group_place(const struct groups *groups, uint64_t key)
{
    return (key * 0x9E3779B97F4A7C15ull) >> 40 & groups->mask;
}

static inline uint64_t group_key(uint32_t address, uint16_t port)
{
    return GROUP_TAKEN | (uint64_t)address << 16 | port;
}

static inline int group_is_wanted(const struct groups *groups, uint32_t address, uint16_t port)
{
    uint64_t key = group_key(address, port);
    for (uint64_t at = group_place(groups, key); groups->keys[at]; at = (at + 1) & groups->mask)
        if (groups->keys[at] == key)
            return 1;
    return 0;
}

/* Keys are address << 16 | port.  0, or -1 without memory. */
static int groups_make(struct groups *groups, const uint64_t *keys, uint64_t count)
{
    uint64_t places = 4;
    while (places < 2 * count)
        places *= 2;
    groups->mask = places - 1;
    groups->count = count;
    groups->keys = calloc(places, sizeof *groups->keys);
    if (!groups->keys)
        return -1;
    for (uint64_t n = 0; n < count; n++) {
        uint64_t key = GROUP_TAKEN | keys[n];
        uint64_t at = group_place(groups, key);
        while (groups->keys[at] && groups->keys[at] != key)
            at = (at + 1) & groups->mask;
        groups->keys[at] = key;
    }
    return 0;
}

enum verdict { FRAME_OTHER, FRAME_WANTED, FRAME_CUT };

/* FRAME_CUT: one that is wanted, but whose end did not fit into the driver's buffer. */
static inline enum verdict frame_verdict(const struct groups *groups, const uint8_t *at,
                                         uint32_t length)
{
    const uint8_t *end = at + length;
    if (length < sizeof(struct rte_ether_hdr))
        return FRAME_OTHER;
    uint16_t type = ((const struct rte_ether_hdr *)at)->ether_type;
    at += sizeof(struct rte_ether_hdr);
    for (int tag = 0; type != RTE_BE16(RTE_ETHER_TYPE_IPV4); tag++) {
        const struct rte_vlan_hdr *vlan = (const struct rte_vlan_hdr *)at;
        if (tag == MAX_VLAN_TAGS || at + sizeof *vlan > end)
            return FRAME_OTHER;
        if (type != RTE_BE16(RTE_ETHER_TYPE_VLAN) && type != RTE_BE16(RTE_ETHER_TYPE_QINQ) &&
            type != RTE_BE16(RTE_ETHER_TYPE_QINQ1))
            return FRAME_OTHER;
        type = vlan->eth_proto;
        at += sizeof *vlan;
    }
    const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)at;
    if (at + sizeof *ip > end || ip->next_proto_id != IPPROTO_UDP)
        return FRAME_OTHER;
    if (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK))
        return FRAME_OTHER;
    const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(at + rte_ipv4_hdr_len(ip));
    if ((const uint8_t *)(udp + 1) > end)
        return FRAME_OTHER;
    uint32_t address = rte_be_to_cpu_32(ip->dst_addr);
    if (groups->count && !group_is_wanted(groups, address, rte_be_to_cpu_16(udp->dst_port)))
        return FRAME_OTHER;
    return at + rte_be_to_cpu_16(ip->total_length) > end ? FRAME_CUT : FRAME_WANTED;
}

#endif

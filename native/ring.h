/* A ring between the kernel and us, of the four kinds that an AF_XDP socket has.
 *
 * Each index has one writer.  Ours is kept in a variable of its own and published with release
 * order; the kernel's is read with acquire order.  Indices run over all 32 bits and are masked.
 */
#ifndef TICKPATH_RING_H
#define TICKPATH_RING_H

#include <errno.h>
#include <linux/if_xdp.h>
#include <stdint.h>
#include <sys/mman.h>

struct ring {
    uint32_t *producer, *consumer, *flags;
    void *entries;
    uint32_t size, mask;
    void *map;
    uint64_t map_bytes;
};

static inline int32_t ring_map(struct ring *ring, int32_t socket, uint64_t page_offset,
                               const struct xdp_ring_offset *offset, uint32_t size,
                               uint64_t entry_size)
{
    ring->map_bytes = offset->desc + size * entry_size;
    ring->map = mmap(0, ring->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, socket,
                     (off_t)page_offset);
    if (ring->map == MAP_FAILED) {
        ring->map = 0;
        return -errno;
    }
    uint8_t *base = ring->map;
    ring->producer = (uint32_t *)(base + offset->producer);
    ring->consumer = (uint32_t *)(base + offset->consumer);
    ring->flags = (uint32_t *)(base + offset->flags);
    ring->entries = base + offset->desc;
    ring->size = size;
    ring->mask = size - 1;
    return 0;
}

static inline void ring_unmap(struct ring *ring)
{
    if (ring->map)
        munmap(ring->map, ring->map_bytes);
    ring->map = 0;
}

static inline uint32_t ring_produced(const struct ring *ring)
{
    return __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
}

static inline uint32_t ring_consumed(const struct ring *ring)
{
    return __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
}

static inline void ring_produce(struct ring *ring, uint32_t index)
{
    __atomic_store_n(ring->producer, index, __ATOMIC_RELEASE);
}

static inline void ring_consume(struct ring *ring, uint32_t index)
{
    __atomic_store_n(ring->consumer, index, __ATOMIC_RELEASE);
}

static inline int ring_needs_wakeup(const struct ring *ring)
{
    return __atomic_load_n(ring->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP;
}

static inline struct xdp_desc *ring_packet(const struct ring *ring, uint32_t index)
{
    return (struct xdp_desc *)ring->entries + (index & ring->mask);
}

static inline uint64_t *ring_frame(const struct ring *ring, uint32_t index)
{
    return (uint64_t *)ring->entries + (index & ring->mask);
}

#endif

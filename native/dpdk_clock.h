/* A network device's clock in terms of CLOCK_REALTIME, for its receive timestamps.

   DPDK leaves unit and epoch of a timestamp to the device and offers a reading of the same clock.
   A straight line through two such readings converts; its foot moves every second, so that what
   the two clocks drift apart is followed.  Worst case: a reading takes as long as the bus does,
   about a microsecond, and so much is the line off. */
#ifndef TICKPATH_DPDK_CLOCK_H
#define TICKPATH_DPDK_CLOCK_H

#include <stdint.h>
#include <time.h>

enum { CLOCK_SHIFT = 32, CLOCK_FIRST_NS = 20000000 };
static const uint64_t CLOCK_EVERY_NS = 1000000000;

struct device_clock {
    uint64_t ticks, ns;  /* foot of the line */
    uint64_t multiplier; /* ns a tick, << CLOCK_SHIFT; 0: the device has no clock */
};

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Move the foot to a new reading, and tilt the line through both. */
static inline void clock_move(struct device_clock *clock, uint64_t ticks, uint64_t ns)
{
    if (ticks > clock->ticks && ns > clock->ns)
        clock->multiplier =
                (uint64_t)(((unsigned __int128)(ns - clock->ns) << CLOCK_SHIFT) / (ticks - clock->ticks));
    clock->ticks = ticks;
    clock->ns = ns;
}

static inline uint64_t clock_ns(const struct device_clock *clock, uint64_t ticks)
{
    __int128 since = (int64_t)(ticks - clock->ticks);
    return clock->ns + (uint64_t)(int64_t)(since * clock->multiplier >> CLOCK_SHIFT);
}

#endif

/* A run of messages as the engine hands it out: each behind a 2-byte big-endian length. */
#ifndef TICKPATH_MESSAGES_H
#define TICKPATH_MESSAGES_H

#include <stdint.h>

struct messages {
    const uint8_t *at, *end;
};

/* The next message's first byte and its length; NULL at the end, or where no whole one is left:
 * then `at` is not `end`. */
static inline const uint8_t *next_message(struct messages *run, uint32_t *length)
{
    uint64_t left = (uint64_t)(run->end - run->at);
    if (left < 2)
        return 0;
    uint32_t size = (uint32_t)run->at[0] << 8 | run->at[1];
    if (size > left - 2)
        return 0;
    const uint8_t *message = run->at + 2;
    run->at = message + size;
    *length = size;
    return message;
}

#endif

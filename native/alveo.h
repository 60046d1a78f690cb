/* A card with the tickpath kernel, through XRT: registers, and two buffers in the card's memory. */
#ifndef TICKPATH_ALVEO_H
#define TICKPATH_ALVEO_H

#include "packet.h"

enum { ALVEO_TEXT = 512 }; /* room of a reason, with its end */

struct alveo_card;

struct alveo_options {
    uint32_t device;            /* its index, as XRT counts */
    uint32_t pad;
    const char *xclbin;         /* path */
    const char *kernel;         /* name in it */
    uint64_t frames_bytes;
    uint64_t records_bytes;
};

/* The host's side of the buffers, and where the card sees them. */
struct alveo_memory {
    uint8_t *frames;
    uint8_t *records;
    uint64_t frames_address;
    uint64_t records_address;
};

struct alveo_access {
    uint32_t offset;
    uint32_t value;             /* what is written, or was read */
    uint32_t is_write;
    uint32_t pad;
};

/* Whatever fails says why in `text`, in one line.  Nothing is thrown beyond these functions. */

/* Cards that XRT knows; negative: XRT itself does not work. */
int alveo_devices(char *text);
/* Open a card, load the xclbin, take the kernel for this process alone; NULL where that fails. */
struct alveo_card *alveo_open(const struct alveo_options *options, struct alveo_memory *memory,
                              char *text);
void alveo_close(struct alveo_card *card);
/* Register accesses in their order; gives how many were made before one failed. */
uint64_t alveo_access(struct alveo_card *card, struct alveo_access *accesses, uint64_t count,
                      char *text);
/* The first bytes of the frames to the card; 0, or negative where that fails. */
int alveo_put(struct alveo_card *card, uint64_t bytes, char *text);
/* Bytes of the records from the card; 0, or negative where that fails. */
int alveo_get(struct alveo_card *card, uint64_t offset, uint64_t bytes, char *text);

#endif

/* Captured packets onto an interface, and the count of those that the other end has taken.
 *
 * Two processes share a `wire_page`.  The player (wire_play) sends, and counts what it sent; the
 * receiver's transport is wrapped in a `wire_meter`, which counts what was lent and given back.
 * Both take the same packets into account, the *wanted* ones: UDP datagrams, whole, to one of the
 * groups.  So the player can keep the number of packets under way below what the receiver has room
 * for, and nothing is lost however fast it plays.
 */
#ifndef TICKPATH_WIRE_H
#define TICKPATH_WIRE_H

#include "packet.h"

enum {
    WIRE_GROUPS = 1024,         /* places of the table, a power of two */
    WIRE_MOST_GROUPS = 256,     /* groups that a table takes */
    WIRE_FRAME = 65600,         /* bytes that a frame has room for */
    WIRE_WRITE_OFFS = 8,        /* times that the player goes on without an answer */
    WIRE_DONE = 0,
    WIRE_SLICE = 1,             /* time to look at the keyboard */
    WIRE_STOPPED = 2,           /* the receiver has enough */
    WIRE_GAVE_UP = 3            /* nothing was taken for too long, too often */
};

/* Each line of 64 bytes has one writer. */
struct wire_page {
    uint64_t taken;             /* wanted packets that the receiver has given back */
    uint64_t stop;              /* the receiver asks the player to end */
    uint64_t go;                /* the receiver is ready */
    uint64_t receiver_pad[5];
    uint64_t wanted;            /* sent, of which the receiver is to take each one */
    uint64_t foreign;           /* sent, which no group is for */
    uint64_t cut;               /* not sent: captured in part */
    uint64_t too_long;          /* not sent: longer than the interface takes */
    uint64_t mended;            /* sent with a checksum or source other than captured, which was wrong */
    uint64_t untagged;          /* sent without the VLAN tags that they were captured with */
    uint64_t unsent;            /* refused by the kernel again and again */
    uint64_t retried;           /* refused by the kernel at first */
    uint64_t written_off;       /* taken for lost, so as to go on */
    uint64_t write_offs;
    uint64_t latest_ns;         /* by how much a packet left later than its time, at most */
    uint64_t bytes;
    uint64_t ready;             /* waits for `go` */
    uint64_t finished;          /* all that there is was sent */
    uint64_t position;          /* bytes of the sources */
    uint64_t total;
    uint64_t unknown;           /* not sent: of a link that nobody knows */
};

struct wire_groups {
    uint64_t count;
    uint64_t keys[WIRE_GROUPS]; /* address << 16 | port; 0: empty */
};

struct wire_survey {
    struct wire_groups groups;
    uint64_t longest;           /* bytes of the largest packet behind its link header */
    uint64_t packets;
    uint64_t wanted;
};

struct wire_player {
    struct wire_page *page;
    const struct wire_groups *groups;
    int fd;                     /* AF_PACKET socket on the sender's interface */
    uint32_t mtu;               /* bytes behind the Ethernet header */
    uint64_t window;            /* packets under way at most; 0: no flow control */
    uint64_t in_order;          /* a change of group waits until all before it was taken */
    uint64_t keeps_tags;        /* packets with more VLAN tags than this lose all of them */
    uint64_t paced;             /* cycles of real time: due = start + (ts - first) * scale >> 20 */
    uint64_t pace_scale;
    uint64_t pace_first_ts;
    uint64_t pace_start_ns;
    uint64_t last_group;
    uint64_t foreign_in_a_row;
    uint64_t stalled_since;     /* when `taken` was last seen to move, while waiting */
    uint64_t stalled_at;
    uint64_t write_off_ns;      /* how long it may stand still before those under way are lost */
    uint8_t mac[8];             /* of the receiver */
    uint8_t own_mac[8];
    uint32_t own_address;       /* source of datagrams that were captured without headers */
    uint32_t port;
    uint8_t frame[WIRE_FRAME];
};

struct wire_meter {
    struct wire_page *page;
    const struct wire_groups *groups;
    void *transport;            /* the metered transport and its functions */
    uint64_t poll;
    uint64_t release;
    uint64_t send;
    uint64_t lent;              /* wanted packets since the last release */
    uint64_t taken;
};

/* Take a group into a table; 0, or -1 where it is full. */
int wire_add_group(struct wire_groups *groups, uint64_t address, uint64_t port);

/* Look at packets: the largest one, and, with `collect`, every group.  0, or -1: too many groups. */
int wire_look(struct wire_survey *survey, const struct packet *packets, uint64_t number,
              int collect);

/* Send packets *first .. number - 1 and move *first on.  Gives a WIRE_ code or a negative errno.
 *
 * It comes back after 50 ms at the latest, also where it waits.
 */
int wire_play(struct wire_player *player, const struct packet *packets, uint64_t *first,
              uint64_t number);

/* A transport's functions, with the count of what was taken. */
uint64_t wire_poll(void *meter, struct packet *packets, uint64_t most);
void wire_release(void *meter);
uint64_t wire_send(void *meter, const uint8_t *messages, uint64_t length);

#endif

"""What is counted while a capture is read: every packet, and every anomaly by name.

The reading loops add into one ``uint64`` array whose slots are these; `Capture.counters` gives it
by name.
"""

COUNTERS = (
    "packets",  # packets lent (runs of messages for a daily file)
    "bytes",  # captured bytes lent
    "packets_cut",  # packets of which fewer bytes were captured than were on the wire
    "packets_without_interface",  # pcapng: their interface was never described, so not lent
    "ts_out_of_range",  # fraction of a second and more, or a time no uint64 of nanoseconds holds
    "blocks_skipped",  # pcapng: whole blocks of a type that carries no packets
    "blocks_malformed",  # pcapng: sound frame, but the contents do not fit in it; not lent
    "interfaces_over",  # pcapng: interfaces beyond the bound of a section
    "lines_malformed",  # PITCH text: no line of its, or one whose fields are not what they must be
    "lines_unknown",  # PITCH text: a time and a type that is not known
    "lines_symbol_clear",  # PITCH text: a symbol's book is cleared, which binary PITCH cannot say
    "bytes_truncated",  # at the end, of a record that is not whole
    "bytes_unread",  # behind a corruption; of a compressed file, only what was already expanded
)

(
    PACKETS,
    BYTES,
    PACKETS_CUT,
    PACKETS_WITHOUT_INTERFACE,
    TS_OUT_OF_RANGE,
    BLOCKS_SKIPPED,
    BLOCKS_MALFORMED,
    INTERFACES_OVER,
    LINES_MALFORMED,
    LINES_UNKNOWN,
    LINES_SYMBOL_CLEAR,
    BYTES_TRUNCATED,
    BYTES_UNREAD,
) = range(len(COUNTERS))

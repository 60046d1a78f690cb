"""The bounds of recovery, each with the outcome of reaching it."""

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one line.  Times are nanoseconds."""

    request_messages: Count = 64
    """Messages of one request; what the server had no room for is asked for again."""
    requests_under_way: Count = 16
    """Requests whose answers have not come; the others wait."""
    answer_timeout_ns: Count = 50 * MILLISECOND_NS
    """Without an answer for so long, a request is repeated."""
    request_attempts: Count = 4
    """Times that one request is made of one server; then the next server is asked."""
    refusals: Count = 16
    """Refusals without any message in between; then the hole is not asked for any more."""
    fill_timeout_ns: Count = 2 * SECOND_NS
    """Without any missing message for so long, or a quota closed for longer: a snapshot."""
    fill_max_messages: Count = 100_000
    """A hole of more is not asked for, where there is a snapshot to be had."""
    kept_packets: Count = 4_096
    kept_bytes: Count = 1 << 24
    """Answers that came before their turn; what has no room is dropped and asked for again."""
    snapshot_attempts: Count = 3
    """Snapshots tried for one hole; then the gap is declared."""
    snapshot_timeout_ns: Count = 30 * SECOND_NS
    """From the connection's beginning to the snapshot's end; then the attempt has failed."""
    snapshot_retry_ns: Count = 500 * MILLISECOND_NS
    """Pause between two attempts."""
    snapshot_messages: Count = 4_000_000
    snapshot_bytes: Count = 1 << 29
    """A snapshot of more is not taken: the attempt has failed."""
    stale_retry_ns: Count = 10 * SECOND_NS
    """How long after a declared gap another snapshot is tried."""
    stale_retries: Natural = 100
    """Tries of that kind in a row; then the line stays stale until its next hole."""

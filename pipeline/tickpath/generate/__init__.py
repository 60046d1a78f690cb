"""A synthetic trading day, in Nasdaq ITCH 5.0 or Cboe PITCH 2.41: equal plans give equal bytes.

One jitted market trades through an internal order book of its own, independent of the engine's,
so what it states at the end (`Truth`) is an oracle for whoever replays the session.  Messages
become MoldUDP64 or Sequenced Unit packets, optionally damaged by seeded faults, and go to a capture
file::

    plan = SessionPlan(messages=10_000_000, symbols=8_000, seed=7)
    truth = generate("session.pcap.zst", plan)

The way of a message: `script` (what the exchange schedules) and `flow` (what its members do) act
on `book` at the times of `pace`, `messages` writes the bytes, `packets` frames them, `faults`
damages them.  For PITCH there is no second market: `pitch` says what the ITCH messages say, and
`pitch_packets` frames it.  Numbers are integers from end to end; the only source of chance is
`draw`.

Importing this package is cheap; the compiled code is loaded by the first session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tickpath.generate.plan import (
    Faults,
    GenerateError,
    SessionPlan,
    parse_faults,
)

if TYPE_CHECKING:
    import numpy as np

    from tickpath.generate.truth import Truth

__all__ = [
    "Faults",
    "GenerateError",
    "SessionPlan",
    "generate",
    "generate_messages",
    "generate_packets",
    "parse_faults",
]


def generate(
    path: str | os.PathLike[str],
    plan: SessionPlan | None = None,
    progress: Callable[[int], None] | None = None,
) -> Truth:
    """Write the session of ``plan`` to ``path`` and return what is true of it.

    The format follows the name, as in `tickpath.capture.create_capture`: ``.pcap`` and ``.pcapng``
    hold packets, ``.itch`` holds bare length-prefixed messages (ITCH only); ``.gz`` and ``.zst``
    compress.
    ``progress`` is called with the number of messages made so far, about every 25,000.

    Raises `GenerateError` for a plan that cannot be, and what `create_capture` raises.
    """
    from tickpath.capture.writer import create_capture, form_of
    from tickpath.generate.session import Session

    plan = plan or SessionPlan()
    daily = form_of(os.fsdecode(path))[0] == "itch"
    if daily and plan.feed == "pitch":
        raise GenerateError(
            f"{os.fsdecode(path)}: PITCH has no daily files; name it .pcap or .pcapng"
        )
    if daily and plan.faults.any:
        raise GenerateError(
            f"{os.fsdecode(path)}: faults damage packets and a daily file has none; "
            "name it .pcap or .pcapng"
        )
    session = Session(plan)
    with create_capture(path) as writer:
        for packets in session.runs() if daily else session.packets():
            writer.write(packets)
            if progress:
                progress(session.messages_made)
    return session.truth


def generate_messages(plan: SessionPlan) -> Iterator[np.ndarray]:
    """The session as chunks of messages, ``uint8[n]`` each: length-prefixed, PITCH back to back.

    All of PITCH's symbols are one unit's here, with one time message when the second changes.
    A chunk ends with a whole message and is only valid until the next one is asked for.
    """
    from tickpath.generate.session import Session

    return Session(plan).messages()


def generate_packets(plan: SessionPlan) -> Iterator[np.ndarray]:
    """The session as packets on the wire, ``PACKET[n]`` lent until the next ones are asked for."""
    from tickpath.generate.session import Session

    return Session(plan).packets()

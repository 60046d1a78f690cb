"""What a line does to packets: loses, repeats, delays past others, shakes and damages them.

Each packet's fate is drawn per line, and what befalls all lines at once is drawn once for all.  A
damaged packet is one that no receiver can take for a whole one: cut short, of another count, or of
another session or unit's length.  UDP's checksum finds any other damage, and such a packet is lost.
"""

import random
from collections import Counter
from typing import Annotated

import msgspec
from msgspec import Meta

from tickpath.recovery.datagram import Codec
from tickpath.serve.error import ServeError

Share = Annotated[float, Meta(ge=0, le=1)]
Microseconds = Annotated[float, Meta(ge=0, le=10_000_000)]


class LinePlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often, and how much."""

    loss: Share = 0.0
    duplicate: Share = 0.0
    reorder: Share = 0.0
    """Packets that are late by up to ``reorder_us``, so that others pass them."""
    corrupt: Share = 0.0
    reorder_us: Microseconds = 200.0
    jitter_us: Microseconds = 0.0
    """Every packet is late by a random time of up to so much."""
    burst: Share = 0.0
    """Lost packets with which more are lost, up to ``burst_packets`` in a row."""
    burst_packets: Annotated[int, Meta(ge=1, le=1_000_000)] = 32


def parse_plan(text: str, option: str) -> LinePlan:
    """The plan of ``loss=0.01,jitter_us=50``.  Raises `ServeError`."""
    said: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if name not in LinePlan.__struct_fields__ or not equals:
            known = ", ".join(LinePlan.__struct_fields__)
            raise ServeError(f"{option}: {part!r}: give NAME=NUMBER, with a name of {known}")
        try:
            said[name] = int(value) if name == "burst_packets" else float(value)
        except ValueError:
            raise ServeError(f"{option}: {name}={value!r} is no number") from None
    try:
        return msgspec.convert(said, LinePlan)
    except msgspec.ValidationError as error:
        raise ServeError(f"{option}: {error}") from None


class LineFaults:
    """One line's faults.  ``name`` is the line's, in the counters and for the seed."""

    def __init__(self, plan: LinePlan, seed: int, name: str) -> None:
        self.plan, self.name = plan, name
        self.counters: Counter[str] = Counter()
        self._chance = random.Random(f"line {name} {seed}")
        self._burst_left = 0

    def is_lost(self) -> bool:
        """Whether the next packet is lost."""
        drawn, more = self._chance.random(), self._chance.random()
        length = 1 + self._chance.randrange(self.plan.burst_packets)
        if self._burst_left:
            self._burst_left -= 1
        elif drawn < self.plan.loss:
            self._burst_left = length - 1 if more < self.plan.burst else 0
        else:
            return False
        self.counters[f"{self.name}_lost"] += 1
        return True

    def copies(self, codec: Codec, raw: bytes) -> list[tuple[int, bytes]]:
        """(how late in nanoseconds, bytes) of what becomes of a packet."""
        chance, plan = self._chance, self.plan
        draws = [chance.random() for _ in range(5)]
        if self.is_lost():
            return []
        late_ns = int(draws[0] * plan.jitter_us * 1_000)
        if draws[1] < plan.reorder:
            self.counters[f"{self.name}_delayed"] += 1
            late_ns += int(draws[2] * plan.reorder_us * 1_000)
        self.counters[f"{self.name}_sent"] += 1
        if draws[3] < plan.corrupt:
            self.counters[f"{self.name}_corrupted"] += 1
            return [(late_ns, self.damaged(codec, raw))]
        if draws[4] < plan.duplicate:
            self.counters[f"{self.name}_duplicated"] += 1
            return [(late_ns, raw), (late_ns + int(chance.random() * plan.reorder_us * 1_000), raw)]
        return [(late_ns, raw)]

    def damaged(self, codec: Codec, raw: bytes) -> bytes:
        """A packet that nobody can take for a whole one."""
        chance = self._chance
        for _ in range(8):
            at = chance.randrange(codec.HEADER_BYTES)
            wrong = raw[:at] + bytes([raw[at] ^ chance.randrange(1, 256)]) + raw[at + 1 :]
            if codec.split(wrong) is None:
                return wrong
        return raw[: chance.randrange(1, len(raw))]

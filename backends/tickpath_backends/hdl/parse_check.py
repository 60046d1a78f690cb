"""Every output of the hardware's front against the reference, and its counters.

`Checked.latencies` counts messages by their latency in cycles; words that waited in the FIFO make
it longer, so where nothing may wait a test asks for the one that there is.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tickpath import Config, Engine
from tickpath.config import Capacity, Feed
from tickpath_backends.hdl.parse_model import (
    ACTION,
    DAMAGED,
    GAPPED,
    OPERATION,
    ParseModel,
    Words,
    words_of,
)
from tickpath_backends.hdl.parse_reference import (
    COUNTERS,
    HARDWARE_ONLY,
    Front,
    Group,
    Said,
    Taken,
)


class DifferenceError(AssertionError):
    """The hardware and the reference differ; the message says where."""


@dataclass
class Checked:
    """What was compared."""

    frames: int = 0
    events: int = 0
    damaged: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    taken: list[Taken] = field(default_factory=list)


def _events(results: np.ndarray) -> Iterable[tuple[Said, int]]:
    """Results as the reference says them, and their cycles."""
    for r in results:
        what, cycle = int(r["what"]), int(r["cycle"])
        if what & GAPPED:
            yield Said("gapped", line=int(r["line"])), cycle
        low, high = (int(each) for each in r["sideband"])
        sideband = {
            "ts_event": high >> 16,
            "input_number": (high & 0xFFFF) << 48 | low >> 16,
            "tag": low & 0xFFFF,
        }
        if what & ACTION:
            yield Said("action", int(r["symbol"]), state=int(r["state"]), **sideband), cycle
        if what & OPERATION:
            names = ("symbol", "op", "order_ref", "new_order_ref", "is_sell", "price", "shares")
            values = {name: int(r[name]) for name in names}
            yield Said("operation", **values, **sideband), cycle


def compare(
    model: ParseModel,
    front: Front,
    frames: Sequence[bytes],
    bad: Iterable[int] = (),
    gaps: np.ndarray | None = None,
    drain: int | None = None,
    words: Words | None = None,
) -> Checked:
    """Feed frames to both, comparing all outputs, then all counters.  Raises `DifferenceError`."""
    damaged, seen, expected = set(bad), Checked(), []
    for number, each in enumerate(frames):
        expected += front.frame(each, number in damaged)
        seen.taken += front.taken
    words = words or words_of(frames, model.width, damaged, gaps)
    results, fed = model.run(words, drain or len(words.keep) + 64)
    first = front.frames - len(frames)
    got = list(_events(results))
    for at, (wanted, (said, cycle)) in enumerate(zip(expected, got, strict=False)):
        if wanted._replace(frame=0, end=0) != said:
            raise DifferenceError(f"output {at}:\n  expected {wanted}\n  got      {said}")
        if wanted.end:
            word = words.first[wanted.frame - first] + (wanted.end - 1) // (model.width // 8)
            seen.latencies[cycle - int(fed[word])] += 1
    if len(expected) != len(got):
        raise DifferenceError(f"{len(got)} outputs, expected {len(expected)}")
    seen.frames, seen.events = len(frames), len(expected)
    seen.damaged = int(((results["what"] & DAMAGED) != 0).sum())
    counted = {name: n for name, n in front.counters.items() if n}
    if model.counters() != counted:
        raise DifferenceError(f"counters\n  expected {counted}\n  got      {model.counters()}")
    states = (model.input_number, model.engine_time)
    if states != (front.input_number, front.engine_time):
        raise DifferenceError(f"{states}, expected {front.input_number, front.engine_time}")
    return seen


def software(groups: Mapping[Group, int], symbols: int = 65_536) -> Engine:
    """The software's engine with the same groups; two of one line are its A and its B."""
    by_line: dict[int, list[str]] = {}
    for (address, port), line in groups.items():
        text = ".".join(str(byte) for byte in address.to_bytes(4, "big"))
        by_line.setdefault(line, []).append(f"{text}:{port}")
    firsts = [each[0] for each in by_line.values()]
    twins = {each[0]: each[1] for each in by_line.values() if len(each) == 2}
    feed = Feed(format="itch50", groups=firsts, lines_b=twins)
    return Engine(Config(capacity=Capacity(symbols=symbols), feed=feed))


def assert_as_software(model: ParseModel, engine: Engine) -> None:
    """Counters, inputs and engine time after the same frames.  Raises `DifferenceError`."""
    counted = model.counters()
    shared = COUNTERS.keys() - HARDWARE_ONLY
    ours = {name: n for name, n in counted.items() if name in shared}
    theirs = {name: n for name, n in engine.counters.items() if n and name in shared}
    if ours != theirs:
        raise DifferenceError(f"counters\n  software {theirs}\n  hardware {ours}")
    block = engine.block
    state = (engine.messages, block.get("input_number"), block.get("engine_time"))
    here = (counted.get("messages", 0), model.input_number, model.engine_time)
    if state != here:
        raise DifferenceError(f"messages, inputs, engine time: software {state}, hardware {here}")

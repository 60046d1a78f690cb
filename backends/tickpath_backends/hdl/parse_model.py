"""The Verilated front in process: frames in, operations, trading actions, gaps and cycles out.

Latency is counted from the cycle in which the word with a message's last byte stands at the inputs
to the one in which the message stands at the outputs.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tickpath import jit
from tickpath_backends.hdl.parse_reference import COUNTERS, Group
from tickpath_backends.hdl.verilated import HDL, RTL, Library, Model, build, step

MODULES = (
    "parse_top",
    "parse",
    "word_fifo",
    "book_fifo",
    "ethernet_filter",
    "line_check",
    "mold_splitter",
    "aligner",
    "symbol_filter",
    "parse_counters",
)
SOURCES = (*(RTL / f"{name}.sv" for name in MODULES), HDL / "gen" / "itch_fields.sv")
SOURCES_VARIABLE = "TICKPATH_PARSE_SOURCES"
"""Names a directory whose sources the tests take instead, with a fault in them."""
OPERATION, ACTION, GAPPED, DAMAGED = 1, 2, 4, 8
"""Bits of what one cycle's outputs say; a gap comes before the operation."""

RESULT = np.dtype(
    [
        ("cycle", "u8"),
        ("order_ref", "u8"),
        ("new_order_ref", "u8"),
        ("sideband", "u8", (2,)),
        ("price", "u4"),
        ("shares", "u4"),
        ("what", "u1"),
        ("op", "u1"),
        ("symbol", "u1"),
        ("is_sell", "u1"),
        ("state", "u1"),
        ("line", "u1"),
    ]
)
DRAIN = 64
"""Cycles behind the last word after which everything has come out, but what waits in the FIFO."""
PLACES = (
    *("s_axis_tvalid", "s_axis_tdata", "s_axis_tkeep", "s_axis_tlast", "s_axis_tuser"),
    *("out_valid", "out_action", "out_gapped", "out_damaged", "out_op", "out_symbol"),
    *("out_order_ref", "out_new_order_ref", "out_is_sell", "out_price", "out_shares"),
    *("out_sideband", "out_state", "out_gapped_line"),
)
"""Ports in the order in which `_drive` is told their places."""


class Words(NamedTuple):
    """Frames as words of the stream: one row a word."""

    data: np.ndarray  # uint64[n, words of 64 bits]
    keep: np.ndarray
    flags: np.ndarray  # 1 last, 2 bad
    gap: np.ndarray  # cycles without a word before it
    first: np.ndarray  # of each frame: its first word


def words_of(
    frames: Sequence[bytes],
    width: int = 64,
    bad: Iterable[int] = (),
    gaps: np.ndarray | None = None,
) -> Words:
    """Frames as words; ``bad`` names those that are marked bad at their ends.

    ``gaps`` has the cycles before each word, repeated where there are more words; None: none.
    """
    size = width // 8
    counts = np.array([-(-len(each) // size) for each in frames], np.int64)
    first = np.concatenate([[0], np.cumsum(counts)])
    total = int(first[-1])
    raw = np.zeros(total * size, np.uint8)
    keep = np.full(total, (1 << size) - 1, np.uint64)
    flags = np.zeros(total, np.uint64)
    for number, each in enumerate(frames):
        at = int(first[number]) * size
        raw[at : at + len(each)] = np.frombuffer(each, np.uint8)
        end = int(first[number + 1]) - 1
        keep[end] = (1 << (len(each) - size * int(counts[number] - 1))) - 1
        flags[end] = 1
    for number in bad:
        flags[first[number + 1] - 1] |= np.uint64(2)
    gap = np.zeros(total, np.int64) if gaps is None else np.resize(gaps, total).astype(np.int64)
    return Words(raw.view("<u8").reshape(total, width // 64), keep, flags, gap, first)


def library(
    parameters: Mapping[str, int] | None = None,
    sources: Sequence[Path] = SOURCES,
    optimise: str = "-O2",
) -> Library:
    """The compiled front.  Raises `HdlError`."""
    return build(sources, "parse_top", parameters, optimise)


@jit.entry
def _drive(function, model, given, taken, at, data, keep, flags, gap, results, fed, clock, drain):
    """Feed words, then let ``drain`` cycles pass; gives (clock, number of results).

    ``at`` names the places of ports in the records ``given`` and ``taken`` (words).
    """
    inputs, outputs = given.ctypes.data, taken.ctypes.data
    total, wide, came, next_word, idle = len(keep), data.shape[1], 0, 0, 0
    waits = gap[0] if total else 0
    none = np.uint64(0)
    while next_word < total or idle < drain:
        offered = next_word < total and waits == 0
        given[at[0]] = np.uint64(offered)
        if offered:
            for n in range(wide):
                given[at[1] + n] = data[next_word, n]
            given[at[2]] = keep[next_word]
            given[at[3]] = flags[next_word] & np.uint64(1)
            given[at[4]] = flags[next_word] >> np.uint64(1)
            fed[next_word] = clock
            next_word += 1
            waits = gap[next_word] if next_word < total else 0
        elif next_word < total:
            waits -= 1
        else:
            idle += 1
        step(np.uint64(function), np.uint64(model), np.uint64(inputs), np.uint64(outputs))
        said = taken[at[5]] | taken[at[6]] << np.uint64(1) | taken[at[7]] << np.uint64(2)
        said |= taken[at[8]] << np.uint64(3)
        if said != none:
            if came == len(results):
                return clock, -1
            r = results[came]
            r.cycle = clock
            r.what = said
            r.op = taken[at[9]]
            r.symbol = taken[at[10]]
            r.order_ref = taken[at[11]]
            r.new_order_ref = taken[at[12]]
            r.is_sell = taken[at[13]]
            r.price = taken[at[14]]
            r.shares = taken[at[15]]
            r.sideband[0] = taken[at[16]]
            r.sideband[1] = taken[at[16] + 1]
            r.state = taken[at[17]]
            r.line = taken[at[18]]
            came += 1
        clock += 1
    given[at[0]] = none
    return clock, came


class ParseModel:
    """A Verilated front with its groups and symbols configured.

    ``symbols`` gives the symbol of a stock locate, ``groups`` the line of a group.
    """

    def __init__(
        self, made: Library, groups: Mapping[Group, int], symbols: Mapping[int, int], seed: int = 1
    ):
        self.model = Model(made, seed)
        self.groups, self.symbols = groups, symbols
        self.clock = 0
        places = []
        for name in PLACES:
            dtype = made.inputs if name in (made.inputs.names or ()) else made.outputs
            assert dtype.fields is not None
            places.append(dtype.fields[name][1] // 8)
        self._at = np.array(places, np.int64)
        self.width = next(p.width for p in made.ports if p.name == "s_axis_tdata")
        self.reset()

    def reset(self) -> None:
        """Reset, wait for the table of symbols to be cleared, configure."""
        given = self.model.inputs[0]
        for name in self.model.inputs.dtype.names or ():
            given[name] = 0
        given["rst"] = 1
        self.model.step(4)
        given["rst"], given["orders_live"] = 0, 1
        for _ in range(1 << 18):
            self.model.step()
            if self.model.outputs[0]["ready"]:
                break
        else:
            raise AssertionError("the front is not ready long after reset")
        for at, ((address, port), line) in enumerate(self.groups.items()):
            self.set_group(at, address, port, line)
        for locate, symbol in self.symbols.items():
            self.set_symbol(locate, symbol)

    def set_group(self, at: int, address: int, port: int, line: int, enabled: bool = True) -> None:
        """Write one entry of the table of groups."""
        given = self.model.inputs[0]
        given["cfg_group_we"], given["cfg_group"] = 1, at
        given["cfg_group_enabled"], given["cfg_group_line"] = enabled, line
        given["cfg_group_address"], given["cfg_group_port"] = address, port
        self.model.step()
        given["cfg_group_we"] = 0

    def set_symbol(self, locate: int, symbol: int, subscribed: bool = True) -> None:
        """Write one entry of the table of symbols."""
        given = self.model.inputs[0]
        given["cfg_locate_we"], given["cfg_locate"] = 1, locate
        given["cfg_locate_subscribed"], given["cfg_locate_symbol"] = subscribed, symbol
        self.model.step(1)
        given["cfg_locate_we"] = 0
        self.model.step(2)

    def run(self, words: Words, drain: int = DRAIN) -> tuple[np.ndarray, np.ndarray]:
        """Feed words; gives what came out (`RESULT`) and the cycle in which each word was fed."""
        results = np.zeros(len(words.keep) * self.width // 16 + 64, RESULT)
        fed = np.zeros(len(words.keep), np.uint64)
        model = self.model
        self.clock, came = _drive(
            model.library.step_address,
            model.handle,
            model.inputs.view(np.uint64).reshape(-1),
            model.outputs.view(np.uint64).reshape(-1),
            self._at,
            words.data,
            words.keep,
            words.flags,
            words.gap,
            results,
            fed,
            self.clock,
            drain,
        )
        assert came >= 0, "more outputs than the frames have messages"
        return results[:came], fed

    def counters(self) -> dict[str, int]:
        """All counters that are not zero, by name."""
        found = {}
        for name, number in COUNTERS.items():
            self.model.inputs[0]["count_select"] = number
            self.model.step(3)
            if value := int(self.model.outputs[0]["count_value"]):
                found[name] = value
        return found

    @property
    def input_number(self) -> int:
        return int(self.model.outputs[0]["input_number"])

    @property
    def engine_time(self) -> int:
        return int(self.model.outputs[0]["engine_time"])

    @property
    def fifo_peak(self) -> int:
        return int(self.model.outputs[0]["fifo_peak"])

    def close(self) -> None:
        """Free the model."""
        self.model.close()

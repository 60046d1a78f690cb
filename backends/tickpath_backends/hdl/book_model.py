"""The Verilated book in process: operations in, tops of book and cycles out.

Latency is counted in clock edges, from the one that accepts an operation to the one that loads the
register of its top of book.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tickpath import jit
from tickpath_backends.hdl.book_reference import OPERATION
from tickpath_backends.hdl.verilated import RTL, Library, Model, build, step

MODULES = (
    "book",
    "side",
    "window",
    "levels",
    "level_search",
    "cache_match",
    "cache_update",
    "order_store",
    "ram",
    "rescan",
    "side_rows",
)
SOURCES = tuple(RTL / f"{name}.sv" for name in MODULES)
SOURCES_VARIABLE = "TICKPATH_BOOK_SOURCES"
"""Names a directory whose sources the tests take instead, with a fault in them (`mutants`)."""

RESULT = np.dtype(
    [
        ("bid_px", "u4"),
        ("ask_px", "u4"),
        ("bid_sz", "u8"),
        ("ask_sz", "u8"),
        ("accepted", "u8"),  # the cycle in which it was accepted
        ("latency", "u4"),
        ("symbol", "u1"),
        ("status", "u1"),
        ("flags", "u1"),
        ("changed", "u1"),  # 1 bid, 2 ask
        ("sideband", "u8"),  # its lowest word
        ("rescans", "u8"),  # 1: its top was looked for in the store
    ]
)
IDLE_LIMIT = 400_000
"""Cycles without an output after which a run is given up: more than two rescans take."""


def library(
    parameters: Mapping[str, int] | None = None,
    sources: Sequence[Path] = SOURCES,
    optimise: str = "-O2",
) -> Library:
    """The compiled book.  Raises `HdlError`."""
    return build(sources, "book", parameters, optimise)


def library_with_fifo(parameters: Mapping[str, int] | None = None) -> Library:
    """The compiled book behind its FIFO, which takes whatever comes.  Raises `HdlError`."""
    around = [RTL / f"{name}.sv" for name in ("book_fifo", "book_counters", "book_top")]
    return build([*SOURCES, *around], "book_top", parameters)


@jit.entry
def _drive(function, model, given, taken, at, operations, results, accepted, clock, until):
    """Feed operations as fast as they are taken; gives the clock, or what went wrong.

    ``at`` names the places of ports in the records ``given`` and ``taken`` (words).  The clock is
    not let beyond ``until``.
    """
    inputs, outputs = given.ctypes.data, taken.ctypes.data
    fed, came, idle = 0, 0, 0
    total = len(operations)
    gap = int(operations[0].gap) if total else 0
    while came < total and clock < until:
        offered = fed < total and gap == 0
        given[at[0]] = np.uint64(offered)
        if offered:
            o = operations[fed]
            given[at[1]] = o.op
            given[at[2]] = o.symbol
            given[at[3]] = o.order_ref
            given[at[4]] = o.new_order_ref
            given[at[5]] = o.is_sell
            given[at[6]] = o.price
            given[at[7]] = o.shares
            given[at[8]] = np.uint64(fed)
            given[at[8] + 1] = ~np.uint64(fed)
        elif gap > 0:
            gap -= 1
        step(np.uint64(function), np.uint64(model), np.uint64(inputs), np.uint64(outputs))
        if offered and taken[at[9]] != np.uint64(0):
            accepted[fed] = clock
            fed += 1
            if fed < total:
                gap = int(operations[fed].gap)
        idle += 1
        if taken[at[10]] != np.uint64(0):
            idle = 0
            if came >= fed:
                return -1 - came
            r = results[came]
            r.symbol = taken[at[11]]
            r.bid_px = taken[at[12]]
            r.bid_sz = taken[at[13]]
            r.ask_px = taken[at[14]]
            r.ask_sz = taken[at[15]]
            r.changed = taken[at[16]] + taken[at[17]] + taken[at[17]]
            r.status = taken[at[18]]
            r.flags = taken[at[19]]
            r.rescans = taken[at[20]]
            r.sideband = taken[at[21]]
            r.accepted = accepted[came]
            r.latency = clock - accepted[came] - 1
            came += 1
        clock += 1
        if idle > IDLE_LIMIT:
            return -1000000000 - came
    given[at[0]] = np.uint64(0)
    return clock


PLACES = (
    "in_valid",
    "in_op",
    "in_symbol",
    "in_order_ref",
    "in_new_order_ref",
    "in_is_sell",
    "in_price",
    "in_shares",
    "in_sideband",
    "in_ready",
    "out_valid",
    "out_symbol",
    "out_bid_px",
    "out_bid_sz",
    "out_ask_px",
    "out_ask_sz",
    "out_bid_changed",
    "out_ask_changed",
    "out_status",
    "out_flags",
    "out_rescanned",
    "out_sideband",
)
"""Ports in the order in which `_drive` is told their places."""


class BookModel:
    """A Verilated book; ``cents`` are the symbols whose tick is 100."""

    def __init__(self, made: Library, cents: frozenset[int], seed: int = 1):
        self.model = Model(made, seed)
        self.cents = cents
        self.clock = 0
        places = []
        # Behind the FIFO there is no in_ready: `ready` says that reset is over.
        names = set(made.inputs.names or ()) | set(made.outputs.names or ())
        self._ready = "in_ready" if "in_ready" in names else "ready"
        for name in PLACES:
            name = self._ready if name == "in_ready" else name
            dtype = made.inputs if name in (made.inputs.names or ()) else made.outputs
            assert dtype.fields is not None
            places.append(dtype.fields[name][1] // 8)
        self._at = np.array(places, np.int64)
        self.reset()

    def reset(self) -> None:
        """Reset, say the ticks, and wait for the memories to be cleared.

        Raises `AssertionError` where something comes out of what was under way before.
        """
        given = self.model.inputs[0]
        given["in_valid"], given["cfg_we"], given["rst"] = 0, 0, 1
        self.model.step(5)
        given["rst"] = 0
        for symbol in range(64):
            given["cfg_we"], given["cfg_symbol"] = 1, symbol
            given["cfg_cent"] = symbol in self.cents
            self._quiet_step()
        given["cfg_we"] = 0
        for _ in range(1 << 20):
            self._quiet_step()
            if self.model.outputs[0][self._ready]:
                return
        raise AssertionError("the book is not ready a million cycles after reset")

    def _quiet_step(self) -> None:
        self.model.step()
        assert not self.model.outputs[0]["out_valid"], "a top came out of reset"

    def run(self, operations: np.ndarray, cycles: int = 1 << 60) -> np.ndarray:
        """Feed operations, for so many cycles at most; gives one `RESULT` for each.

        Raises `AssertionError` where a top is missing or one comes too much.
        """
        assert operations.dtype == OPERATION
        results = np.zeros(len(operations), RESULT)
        accepted = np.zeros(len(operations), np.uint64)
        model = self.model
        end = _drive(
            model.library.step_address,
            model.handle,
            model.inputs.view(np.uint64).reshape(-1),
            model.outputs.view(np.uint64).reshape(-1),
            self._at,
            operations,
            results,
            accepted,
            self.clock,
            self.clock + cycles,
        )
        if end < 0:
            lost = end <= -1000000000
            place = -end - (1000000000 if lost else 1)
            raise AssertionError(f"{'no top for' if lost else 'a top too many before'} {place}")
        self.clock = int(end)
        return results

    def close(self) -> None:
        """Free the model."""
        self.model.close()

"""The Verilated back of the chain in process: tops of book in, orders and verdicts out, a host.

Everything that is to happen is put into queues with the cycle in which it is due; `Back.run` steps
the model and collects what comes out with its cycle.  The host's accesses run beside the traffic,
one at a time, as a bus master makes them.
"""

import os
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tickpath_backends.hdl import registers
from tickpath_backends.hdl.registers import Operation, Protocol, Table
from tickpath_backends.hdl.verilated import HDL, RTL, Library, Model, build

GEN = HDL / "gen"
RISK = (
    RTL / "risk.sv",
    *(GEN / f"risk_{name}.sv" for name in ("products", "notional", "check", "release")),
)
ENCODE = (
    *(RTL / f"{name}.sv" for name in ("encode_top", "encode", "serialiser")),
    *(GEN / f"{name}_encode.sv" for name in ("ouch50", "ouch42", "fix44")),
)
REGISTERS = (RTL / "registers.sv",)
SOURCES = (
    *(RTL / f"{name}.sv" for name in ("back_top", "trigger", "latency", "ram")),
    GEN / "trigger_step.sv",
    *RISK,
    *ENCODE,
    *REGISTERS,
)
SOURCES_VARIABLE = "TICKPATH_BACK_SOURCES"
"""Names a directory whose sources are taken instead, with a fault in them (`mutants`)."""
LATENCY = 8
"""Cycles from a top to the first word of its order, with OUCH and nothing in front of it."""
RISK_CYCLES = 6
FIX_CYCLES = 9
"""More that a FIX order takes."""
OKAY, SLVERR = 0, 2
_PATIENCE = 200
"""Cycles that a bus access may take."""


def library(protocol: Protocol = Protocol.OUCH50, **parameters: int) -> Library:
    """The compiled `back_top`.  Raises `HdlError`."""
    given = {"PROTOCOL": int(protocol), "STAMP_BITS": 10, **parameters}
    faulty = os.environ.get(SOURCES_VARIABLE)
    if faulty:
        # It runs for a moment only.
        return build([Path(faulty) / path.name for path in SOURCES], "back_top", given, "-O0")
    return build(SOURCES, "back_top", given)


@dataclass
class Access:
    """One access of the host: ``value`` is what is written, or what was read."""

    offset: int
    value: int = 0
    is_write: bool = False
    response: int = -1
    began: int = -1
    ended: int = -1


@dataclass
class Order:
    """An order on the stream: its bytes, and when its words were there."""

    data: bytes
    shown: int
    """Cycle in which the first word came to stand at the output."""
    taken: tuple[int, ...]
    """Cycles in which the words were taken."""


@dataclass
class Verdict:
    """A verdict with its intent, as vectors, and its cycle."""

    cycle: int
    verdict: int
    intent: int

    @property
    def is_accepted(self) -> bool:
        return bool(self.verdict >> 9)

    @property
    def failed(self) -> int:
        return self.verdict >> 1 & 0xFF


@dataclass
class Back:
    """A model with its clock; ``ready`` says in which cycles a word of an order is taken."""

    library: Library
    protocol: Protocol = Protocol.OUCH50
    seed: int = 1
    cycle: int = 0
    orders: list[Order] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    locates: list[tuple[int, int, int]] = field(default_factory=list)
    ticks: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = Model(self.library, self.seed)
        self.given = self.model.inputs[0]
        self.taken = self.model.outputs[0]
        self.ready = lambda cycle: True
        self._events: dict[int, dict[str, int]] = {}
        self._accesses: deque[Access] = deque()
        self._access: Access | None = None
        self._words: list[tuple[int, int, int]] = []  # cycle, data, keep
        self._shown = -1
        self._widths = {port.name: port.width for port in self.library.ports}
        self._changed: tuple[str, ...] = ()
        self._data_bytes = self._widths["m_axis_tdata"] // 8
        self.reset()

    def reset(self) -> None:
        """Reset for some cycles: what comes out of them is nothing."""
        self._put("rst", 1)
        self.model.step(4)
        self._put("rst", 0)
        self._words, self._shown = [], -1

    # ------------------------------------------------------------ what is due

    def at(self, cycle: int, **ports: int) -> None:
        """Set ports in one cycle from now on (0: the next); they are 0 in the next one again."""
        due = self._events.setdefault(self.cycle + cycle, {})
        assert not due.keys() & ports.keys()
        due.update(ports)

    def access(self, *accesses: Access) -> tuple[Access, ...]:
        """Let the host make accesses, one after another, from the next cycle on."""
        self._accesses.extend(accesses)
        return accesses

    # ------------------------------------------------------------ the host, at once

    def write(self, offset: int, value: int) -> Access:
        """Write a register and let it be answered."""
        (made,) = self.access(Access(offset, value, True))
        self.settle()
        return made

    def read(self, offset: int) -> int:
        """Read a word.  Raises `AssertionError` where it is refused."""
        (made,) = self.access(Access(offset))
        self.settle()
        assert made.response == OKAY, hex(offset)
        return made.value

    def value(self, name: str, index: int = 0) -> int:
        """Read a register by its name, both words where it has two."""
        each = registers.BY_REGISTER[name]
        at = each.offset + index * each.bits // 8
        low = self.read(at)
        return low if each.bits == 32 else low | self.read(at + 4) << 32

    def counters(self) -> dict[str, int]:
        """All counters by name."""
        return {each.name: self.value("COUNTERS", each) for each in registers.Counter}

    def commit(self, table: Table, entry: int = 0, **values: int) -> None:
        """Write an entry of a table."""
        self.commit_vector(table, entry, registers.packed(table, values))

    def commit_vector(self, table: Table, entry: int, vector: int) -> None:
        """Write an entry given as a vector."""
        self.access(*self.committing(table, entry, vector))
        self.settle()

    def committing(self, table: Table, entry: int, vector: int) -> list[Access]:
        """The accesses that write an entry."""
        writes = registers.commit(table, entry, vector, self.protocol)
        return [Access(offset, value, True) for offset, value in writes]

    def fetch(self, table: Table, entry: int = 0) -> dict[str, int]:
        """Read an entry of a table."""
        offset = registers.BY_REGISTER["COMMAND"].offset
        self.write(offset, registers.command(Operation.FETCH, table, entry))
        words = -(-registers.entry_bits(table, self.protocol) // 32)
        vector = sum(self.value("STAGE", n) << 32 * n for n in range(words))
        return registers.unpacked(table, vector)

    # ------------------------------------------------------------ time

    def settle(self) -> None:
        """Let time pass until the host's accesses are answered."""
        for _ in range(_PATIENCE * (len(self._accesses) + 1)):
            if not self._accesses and self._access is None:
                return
            self._step()
        raise AssertionError("an access was not answered")

    def run(self, cycles: int = 0, until_quiet: int = 0) -> None:
        """Let cycles pass; with ``until_quiet`` all that is due, until nothing came for so many."""
        end = self.cycle + cycles
        if until_quiet:
            end = max([end, *(at + 1 for at in self._events)])
        while self.cycle < end:
            self._step()
        seen, quiet = (0, 0), 0
        while quiet < until_quiet:
            self._step()
            now = (len(self.verdicts), len(self.orders))
            quiet = quiet + 1 if now == seen and not self._words else 0
            seen = now

    def close(self) -> None:
        """Free the model."""
        self.model.close()

    def _put(self, name: str, value: int) -> None:
        if self._widths[name] <= 64:
            self.given[name] = value
        else:
            words = len(self.given[name])
            self.given[name] = [value >> 64 * n & 0xFFFFFFFFFFFFFFFF for n in range(words)]

    def _got(self, name: str) -> int:
        value = self.taken[name]
        if self._widths[name] <= 64:
            return int(value)
        return sum(int(word) << 64 * n for n, word in enumerate(value))

    def _step(self) -> None:
        for name in self._changed:
            self._put(name, 0)
        due = self._events.pop(self.cycle, {})
        for name, value in due.items():
            self._put(name, value)
        self._changed = tuple(due)
        is_ready = self.ready(self.cycle)
        self.given["m_axis_tready"] = is_ready
        self._drive()
        self.model.step()
        self._collect(is_ready)
        self._answer()
        self.cycle += 1

    def _drive(self) -> None:
        if self._access is None and self._accesses:
            access = self._access = self._accesses.popleft()
            access.began = self.cycle
            side = "aw" if access.is_write else "ar"
            self.given[f"s_axil_{side}addr"] = access.offset
            self.given[f"s_axil_{side}valid"] = 1
            self.given["s_axil_bready"] = self.given["s_axil_rready"] = 1
            if access.is_write:
                self.given["s_axil_wdata"] = access.value
                self.given["s_axil_wstrb"] = 15
                self.given["s_axil_wvalid"] = 1

    def _answer(self) -> None:
        access, given, taken = self._access, self.given, self.taken
        if access is None:
            return
        for side in ("aw", "w", "ar"):
            if given[f"s_axil_{side}valid"] and taken[f"s_axil_{side}ready"]:
                given[f"s_axil_{side}valid"] = 0
        side = "b" if access.is_write else "r"
        if taken[f"s_axil_{side}valid"]:
            access.response = int(taken[f"s_axil_{side}resp"])
            if not access.is_write:
                access.value = int(taken["s_axil_rdata"])
            access.ended = self.cycle
            self._access = None

    def _collect(self, is_ready: bool) -> None:
        taken = self.taken
        if taken["verdict_valid"]:
            self.verdicts.append(
                Verdict(self.cycle, self._got("verdict"), self._got("verdict_intent"))
            )
        if taken["locate_we"]:
            row = (taken["locate"], taken["locate_is_used"], taken["locate_symbol"])
            self.locates.append((int(row[0]), int(row[1]), int(row[2])))
        if taken["cfg_we"]:
            self.ticks.append((int(taken["cfg_symbol"]), int(taken["cfg_cent"])))
        if not taken["m_axis_tvalid"]:
            return
        if not self._words and self._shown < 0:
            self._shown = self.cycle
        if not is_ready:
            return
        self._words.append((self.cycle, self._got("m_axis_tdata"), int(taken["m_axis_tkeep"])))
        if taken["m_axis_tlast"]:
            data = b"".join(word_bytes(d, k, self._data_bytes) for _, d, k in self._words)
            self.orders.append(Order(data, self._shown, tuple(c for c, _, _ in self._words)))
            self._words, self._shown = [], -1


def word_bytes(data: int, keep: int, width: int) -> bytes:
    """The bytes of a word that are kept.  Raises `AssertionError` where they have a hole."""
    count = keep.bit_count()
    assert keep == (1 << count) - 1 and count, "bytes of a word are missing in the middle"
    return data.to_bytes(width, "little")[:count]


def top_ports(top: Mapping[str, int]) -> dict[str, int]:
    """A top of book, its fields by the profile's names, as ports in the cycle in which it comes."""
    names = ("symbol", "bid_px", "bid_sz", "ask_px", "ask_sz")
    sideband = top.get("ts_event", 0) << 80 | top.get("input_number", 0) << 16 | top.get("tag", 0)
    return {
        "in_valid": 1,
        **{f"in_{name}": top.get(name, 0) for name in names},
        "in_flags": top.get("flags", 0),
        "in_rescanned": top.get("rescanned", 0),
        "in_sideband": sideband,
    }


def arm(back: Back, template: int, names: Iterable[tuple[int, str]]) -> None:
    """What every session starts with: the template, the symbols' names, the switch off."""
    back.commit_vector(Table.TEMPLATE, 0, template)
    for symbol, name in names:
        raw = int.from_bytes(name.encode("ascii").ljust(8), "big")
        back.commit(Table.NAME, symbol, name=raw)
    back.write(registers.BY_REGISTER["CONTROL"].offset, 0)

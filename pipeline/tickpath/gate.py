"""The gate of the live loop: what has to have happened before orders leave through the transport.

    required   followers of the engine's ring (place, incarnation) that must have acknowledged the
               record that orders follow from: synchronous replication, nothing is lost with a host
    until      the end of a lease, in cycles of this host: behind it nothing leaves, however late
               the loop is

The loop waits for acknowledgements for `Gate.wait_ns` at most, some hundred nanoseconds where the
follower has a core of its own.  Orders that may not leave then wait here, in their order, and all
behind them; every step of the loop tries them again.  At most `MOST_BYTES` wait: what comes on top
never leaves, is counted, and is for whoever holds the lease to resolve.

A follower on another host acknowledges by a `lane`: what is new is sent before the loop waits, and
answers are taken while it does.  A gate that asks for nothing costs one load.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tickpath.clock import Clock
from tickpath.jit import entry, leaf
from tickpath.layout import engine
from tickpath.memory import accessors, cycles, load_acquire, load_u64
from tickpath.publish import FOLLOWER, FOLLOWERS, FOLLOWERS_OFFSET
from tickpath.state import Block

if TYPE_CHECKING:
    from tickpath.replica.lane import Lane

MOST_BYTES = 1 << 20
WAIT_NS = 20_000
ENDLESS = (1 << 64) - 1

GATE = np.dtype(
    [
        ("is_set", "<u8"),  # 0: orders leave at once
        ("is_behind", "<u8"),  # 1: earlier orders wait, so later ones must too
        ("until", "<u8"),  # cycles
        ("wait_cycles", "<u8"),
        ("required", "<u8"),  # address of an incarnation for each place of the ring; 0: not asked
        ("shut", "<u8"),  # how often orders were kept back
        ("lane", "<u8"),  # state of the lane to followers elsewhere; 0: there is none
        ("push", "<u8"),  # its functions
        ("pull", "<u8"),
    ]
)
gate = accessors("gate", GATE)
ZERO, ONE = np.uint64(0), np.uint64(1)
_WORD = np.uint64(8)
_PLACES, _PLACE = np.uint64(FOLLOWERS), np.uint64(FOLLOWER.itemsize)
_FIRST = np.uint64(FOLLOWERS_OFFSET)
_ACKNOWLEDGED = np.uint64(FOLLOWER.fields["acknowledged"][1])  # type: ignore[index]
_INCARNATION = np.uint64(FOLLOWER.fields["incarnation"][1])  # type: ignore[index]


@intrinsic
def call(context, function, state):
    """Call a function by its address, with the address of its state."""

    def generate(context, builder, signature, args):
        pointer = ir.FunctionType(ir.VoidType(), [ir.IntType(64)]).as_pointer()
        builder.call(builder.inttoptr(args[0], pointer), args[1:])
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), generate


@leaf
def _is_acknowledged(required, r, number):
    """Whether every required follower, in the life it had then, has a record."""
    at, place = ZERO, r + _FIRST
    while at < _PLACES:
        incarnation = load_u64(required + at * _WORD)
        if incarnation != ZERO:
            if load_acquire(place + _ACKNOWLEDGED) < number:
                return False
            if load_acquire(place + _INCARNATION) != incarnation:
                return False
        at += ONE
        place += _PLACE
    return True


@leaf
def _opens(g, r, number, wait_cycles):
    now = cycles()
    if now >= gate.until(g):
        return False
    end, lane = now + wait_cycles, gate.lane(g)
    if lane != ZERO:
        call(gate.push(g), lane)
    while not _is_acknowledged(gate.required(g), r, number):
        if lane != ZERO:
            call(gate.pull(g), lane)
        now = cycles()
        if now >= gate.until(g):
            return False
        if now >= end:
            return _is_acknowledged(gate.required(g), r, number)
    return True


@leaf
def may_leave(g, eng):
    """Whether orders that follow from the engine's last record may leave now."""
    if gate.is_set(g) == ZERO:
        return True
    if gate.is_behind(g) == ZERO and _opens(
        g, engine.publishes(eng), engine.record_number(eng), gate.wait_cycles(g)
    ):
        return True
    gate.set_shut(g, gate.shut(g) + ONE)
    return False


@entry
def _may_leave_now(g, r, number):
    """`may_leave` for orders of record ``number``, without waiting."""
    return _opens(g, r, number, ZERO)


class Gate:
    """A gate and the orders that wait at it; see the module's text."""

    def __init__(self, block: Block, clock: Clock, send: Callable[[memoryview], None]) -> None:
        """``block`` is the engine's, ``send`` the transport's."""
        self._block, self._clock, self._send = block, clock, send
        self._required = np.zeros(FOLLOWERS, np.uint64)
        self.state = np.zeros(1, GATE)
        self.state["until"] = ENDLESS
        self.state["required"] = self._required.ctypes.data
        self.address = np.uint64(self.state.ctypes.data)
        self.counters: Counter[str] = Counter()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self.waiting_bytes = 0
        self.wait_ns = WAIT_NS
        self._may_leave_now(0)  # compiled here

    @property
    def wait_ns(self) -> int:
        """How long the loop waits for acknowledgements."""
        return self._wait_ns

    @wait_ns.setter
    def wait_ns(self, wait_ns: int) -> None:
        self._wait_ns = wait_ns
        self.state["wait_cycles"] = self._clock.cycles(wait_ns)

    def ask_by(self, lane: "Lane | None") -> None:
        """Followers elsewhere are sent to, and heard, by a lane, which stays open."""
        self.state["lane"] = 0 if lane is None else lane.state
        if lane is not None:
            self.state["push"], self.state["pull"] = lane.push, lane.pull

    def require(self, followers: Mapping[int, int]) -> None:
        """From here on these have to acknowledge: incarnation (not 0) by place in the ring.

        Raises ValueError where the engine publishes to no ring, or for a place that is none.
        """
        if followers and not self._block.get("publishes"):
            raise ValueError("the engine publishes to no ring: nobody can acknowledge")
        if any(not 0 <= at < FOLLOWERS or not life for at, life in followers.items()):
            raise ValueError(f"places are 0 to {FOLLOWERS - 1}, incarnations not 0: {followers}")
        self._required[:] = 0
        for at, incarnation in followers.items():
            self._required[at] = incarnation
        self._set()

    def open_until(self, until_cycles: int | None) -> None:
        """Nothing leaves from this cycle on; None: no end."""
        self.state["until"] = ENDLESS if until_cycles is None else until_cycles
        self._set()

    def _set(self) -> None:
        is_set = self._required.any() or self.state["until"][0] != ENDLESS
        self.state["is_set"] = bool(is_set or self._waiting)

    def leave(self, orders: memoryview, number: int) -> None:
        """Orders of record ``number`` leave now, or wait."""
        if not self._waiting and self._may_leave(number):
            self._send(orders)
            return
        if self.waiting_bytes + len(orders) > MOST_BYTES:
            self.counters["orders_dropped_bytes"] += len(orders)
            return
        self._waiting.append((number, bytes(orders)))
        self.waiting_bytes += len(orders)
        self.state["is_behind"] = 1
        self.state["is_set"] = 1

    def try_again(self) -> None:
        """Send what may leave by now."""
        while self._waiting and self._may_leave(self._waiting[0][0]):
            self._send(memoryview(self._pop()))
        if not self._waiting:
            self.state["is_behind"] = 0
            self._set()

    def _pop(self) -> bytes:
        _, orders = self._waiting.popleft()
        self.waiting_bytes -= len(orders)
        return orders

    def give_up(self) -> list[bytes]:
        """What waits never leaves through here: whoever is demoted takes it away, in its order."""
        given = [self._pop() for _ in range(len(self._waiting))]
        self.try_again()
        return given

    def _may_leave(self, number: int) -> bool:
        return not self.state["is_set"][0] or self._may_leave_now(number)

    def _may_leave_now(self, number: int) -> bool:
        ring = np.uint64(self._block.get("publishes"))
        return bool(_may_leave_now(self.address, ring, np.uint64(number)))

    @property
    def shut(self) -> int:
        """How often the loop had to keep orders back."""
        return int(self.state["shut"][0])


__all__ = ["ENDLESS", "GATE", "MOST_BYTES", "WAIT_NS", "Gate", "call", "may_leave"]

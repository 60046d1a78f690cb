"""The live loop: poll, the stages, send, release, without crossing into Python.

    with Live(engine, transport) as live:
        while not stopped:
            live.step()               # a millisecond of packets, then Python has its turn

Packets are lent in place by the transport's C functions (`backend.Native`), taken through
`pipeline.process`, which is called by its address, and given back when all of a burst were taken.
Orders leave as soon as the message that asked for them is done: through the transport where
``transport.orders_to`` says so, else by whoever gets them from the engine, for which the loop
returns at once.  Nothing in it blocks, and it ends at the latest one burst after its time is over.

What has to have happened before, acknowledgements of standbys and a lease that still runs, is the
`gate`'s: `Live.gate`.  With a ``lane`` the loop itself sends the engine's ring to standbys on other
hosts, whole datagrams where it is busy and all that is new where it is not (`replica.lane_sender`).

Between two steps no message is under way, so that answers, commands and recovery may be fed; what
is still lent then is taken first by the next step.
"""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tickpath import scrub
from tickpath.backend import LiveTransport, Native
from tickpath.clock import Clock, calibrate, now_cycles
from tickpath.engine import Engine
from tickpath.gate import Gate, call, may_leave
from tickpath.jit import callback, entry, leaf
from tickpath.layout import egress, engine
from tickpath.memory import accessors, cycles
from tickpath.orders import AUDIT_LIMIT
from tickpath.packet import PACKET
from tickpath.pipeline import process
from tickpath.publish import ring

if TYPE_CHECKING:
    from tickpath.replica.lane_sender import LaneSender

STEP_NS = 1_000_000

_PROCESS = (types.uint64,) * 4
ZERO, ONE = np.uint64(0), np.uint64(1)

LIVE = np.dtype(
    [
        ("transport", "<u8"),
        ("poll", "<u8"),
        ("release", "<u8"),
        ("send", "<u8"),
        ("process", "<u8"),
        ("gate", "<u8"),  # address of its state
        ("packets", "<u8"),  # address of the records that are lent
        ("burst", "<u8"),  # most of them
        ("lent", "<u8"),  # how many are lent now
        ("taken", "<u8"),  # how many of these were taken
        ("sends", "<u8"),  # 1: orders leave through the transport
        ("keeps", "<u8"),  # 1: Python gets the orders' bytes
        ("sent", "<u8"),  # bytes in the send buffer that have left
        ("egress_limit", "<u8"),  # bytes in it beyond which Python has to empty it
        ("polls", "<u8"),
        ("bursts", "<u8"),  # polls that lent something
        ("received", "<u8"),  # packets
        ("busy_cycles", "<u8"),  # between a poll that lent something and its release
        ("lane", "<u8"),  # state of the lane that sends the engine's ring; 0: there is none
        ("idle", "<u8"),  # its functions
        ("busy", "<u8"),
    ]
)
live = accessors("live", LIVE)


@intrinsic
def _poll(context, function, transport, packets, most):
    """Call a transport's ``poll``."""

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        pointer = ir.FunctionType(word, [word] * 3).as_pointer()
        return builder.call(builder.inttoptr(args[0], pointer), args[1:])

    return types.uint64(*(types.uint64,) * 4), generate


_send = _poll
"""``send`` has arguments of the same kinds."""


_release = call
"""Call a transport's ``release``."""


@intrinsic
def _process(context, function, eng, packets, first, number):
    """Call `pipeline.process` by its address: linked in, it would be compiled again here."""

    def generate(context, builder, signature, args):
        convention = context.call_conv
        pointer = convention.get_function_type(types.uint64, _PROCESS).as_pointer()
        target = builder.inttoptr(args[0], pointer)
        # It never raises.
        _, at = convention.call_function(builder, target, types.uint64, _PROCESS, args[1:])
        return at

    return types.uint64(types.uint64, *_PROCESS), generate


@callback(types.uint64(types.uint64, types.uint64, types.uint64))
def _lends_nothing(transport, packets, most):
    return ZERO


@leaf
def _send_orders(eng, record):
    """Send what stands in the send buffer; False where Python has to see it."""
    used, sent = engine.egress_used(eng), live.sent(record)
    if used == sent:
        return True
    if live.sends(record) == ZERO or not may_leave(live.gate(record), eng):
        return False
    _send(live.send(record), live.transport(record), egress.at(eng, sent), used - sent)
    if live.keeps(record) == ZERO:
        engine.set_egress_used(eng, ZERO)
        return True
    live.set_sent(record, used)
    return used <= live.egress_limit(record)


@leaf
def _may_go_on(eng, record):
    """After a pause: send, and see whether there is anything that only Python can do."""
    if not _send_orders(eng, record):
        return False
    if engine.audit_used(eng) >= AUDIT_LIMIT or engine.bbo_used(eng) >= engine.bbo_limit(eng):
        return False
    engine.set_pause(eng, ZERO)
    return True


@leaf
def _take(eng, record):
    """Take what is lent; False where Python has to do something first."""
    while live.taken(record) < live.lent(record):
        at = _process(
            live.process(record),
            eng,
            live.packets(record),
            live.taken(record),
            live.lent(record),
        )
        live.set_taken(record, at)
        if engine.pause(eng) != ZERO and not _may_go_on(eng, record):
            return False
        if engine.stopped(eng) != ZERO:
            return False
    return True


@entry
def _spin(eng, record, until):
    """Poll and take until cycle ``until``, or until Python has to do something."""
    r = engine.publishes(eng)
    while True:
        if live.lent(record) == ZERO:
            now = cycles()
            if r != ZERO:
                # That the hot path lives is said by the hot path.
                ring.set_beat(r, now)
            number = _poll(
                live.poll(record), live.transport(record), live.packets(record), live.burst(record)
            )
            live.set_polls(record, live.polls(record) + ONE)
            if number == ZERO:
                if live.lane(record) != ZERO:
                    call(live.idle(record), live.lane(record))
                if r != ZERO and engine.scrub_every(eng) != ZERO:
                    scrub.step(eng)
                if now >= until:
                    return
                continue
            engine.set_polled_at(eng, cycles())
            live.set_lent(record, number)
            live.set_taken(record, ZERO)
            live.set_bursts(record, live.bursts(record) + ONE)
            live.set_received(record, live.received(record) + number)
        if not _take(eng, record):
            return
        _release(live.release(record), live.transport(record))
        live.set_lent(record, ZERO)
        if live.lane(record) != ZERO:
            call(live.busy(record), live.lane(record))
        now = cycles()
        live.set_busy_cycles(record, live.busy_cycles(record) + now - engine.polled_at(eng))
        if now >= until:
            return


def _address_of(function: Any, signature: tuple[types.Type, ...]) -> int:
    """Where the machine code of a jitted function is, for Numba's own calling convention."""
    function.compile(signature)
    result = function.overloads[signature]
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))


class Live:
    """An engine on an open live transport.  While it is entered, the engine takes nothing else but
    what is fed between steps.
    """

    def __init__(
        self,
        engine: Engine,
        transport: LiveTransport,
        clock: Clock | None = None,
        lane: "LaneSender | None" = None,
        *,
        is_standby: bool = False,
    ) -> None:
        """Compiles what is not compiled yet.  ``clock`` saves a calibration; ``lane`` is one of the
        engine's ring, and stays open.  A standby's orders are another engine's as well: nobody
        waits for them, so they are handed over when a step ends, not one by one."""
        self.engine, self.transport = engine, transport
        self.clock = clock or calibrate()
        config = engine.config.transport
        self._packets = np.zeros(config.burst, PACKET)
        self.record = np.zeros(1, LIVE)
        self._address = np.uint64(self.record.ctypes.data)
        native: Native = transport.native
        self.record[list(Native._fields)] = tuple(native)
        self.record["process"] = _address_of(process, _PROCESS)
        self.gate = Gate(engine.block, self.clock, transport.send)
        self.record["gate"] = self.gate.address
        self.record["packets"] = self._packets.ctypes.data
        self.record["burst"] = config.burst
        self.record["sends"] = config.orders_to is not None
        self.record["keeps"] = engine.on_orders is not None
        self.record["egress_limit"] = engine.block.get("egress_limit")
        self._is_standby = is_standby
        self._lane = lane
        if lane is not None:
            native_lane = lane.native
            self.gate.ask_by(native_lane)
            self.record["lane"], self.record["idle"] = native_lane.state, native_lane.idle
            self.record["busy"] = native_lane.busy
        # Compiled without taking anything: what has come already waits for the first step.
        self.record["poll"] = _lends_nothing.address
        _spin(engine.block.address, self._address, np.uint64(0))
        self.record["poll"] = native.poll

    def __enter__(self) -> "Live":
        self._limit = self.engine.block.get("egress_limit")
        if not self._is_standby:
            # Every message that asks for orders ends with a pause: they leave before the next one.
            self.engine.block.set("egress_limit", 0)
        self._on_orders = self.engine.on_orders
        if self.record["sends"][0]:
            self.engine.on_orders = self._give_orders
        return self

    def _give_orders(self, orders: memoryview) -> None:
        """Send what has not left in the loop, and hand all over to who had them before."""
        sent = int(self.record["sent"][0])
        if sent < len(orders):
            self.gate.leave(orders[sent:], self.engine.block.get("record_number"))
        self.record["sent"] = 0
        if self._on_orders is not None:
            self._on_orders(orders)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """What is lent was taken or is given back; the engine is again as it was."""
        block = self.engine.block
        block.set("egress_limit", self._limit)
        self.engine.on_orders = self._on_orders
        block.set("polled_at", 0)
        if self.record["lent"][0]:
            self.transport.release()
            self.record["lent"] = 0

    def step(self, step_ns: int = STEP_NS) -> int:
        """Poll for so long; gives how many packets came.  Returns earlier where orders wait."""
        block, before = self.engine.block, int(self.record["received"][0])
        if self._lane is not None:
            self._lane.turn()
        self.gate.try_again()
        until = np.uint64(now_cycles() + self.clock.cycles(step_ns))
        while True:
            _spin(block.address, self._address, until)
            self.engine.empty_buffers()
            if not block.get("cursor") or block.get("stopped"):
                break
            until = np.uint64(0)
        # No packet may end a window of a line, time does.
        if self.record["taken"][0] == self.record["lent"][0] or not self.record["lent"][0]:
            self.engine.pass_time(time.time_ns())
        return int(self.record["received"][0]) - before

    @property
    def counters(self) -> dict[str, int]:
        """What the loop did: polls, bursts, received (packets), busy_ns."""
        row = self.record[0]
        counted = {name: int(row[name]) for name in ("polls", "bursts", "received")}
        return {**counted, "busy_ns": self.clock.nanoseconds(int(row["busy_cycles"]))}

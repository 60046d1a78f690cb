"""Captures played over a private wire into a live transport, which is itself a live transport.

    played = VethPlayer(UdpTransport, ["day.pcap"], config)
    played.open()                     # two namespaces, a pair between them, the transport in one
    with Live(engine, played) as live:
        played.start()
        while not played.is_finished:
            live.step()

A first pass over the captures finds the groups, where the configuration names none, and how long
packets get.  Then a process of its own (`tickpath_backends.play`) sends them.  As fast as possible
means as fast as they are taken: the transport's functions are wrapped in ones that count what was
given back, and no more than `WINDOW` packets are ever under way, so that none is lost.  At a pace
there is no such care, as there is none on a real wire; what is lost is counted and is a finding.
Where a transport does not keep the order of packets among groups, as sockets do not, a change of
group waits until all before it was taken: a transport that does says ``KEEPS_ORDER = True``, and
``MOST_TAGS`` how many VLAN tags it takes; packets with more lose theirs, as at a switch's port.
"""

import ipaddress
import json
import mmap
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import msgspec
import numpy as np

from tickpath.backend import BackendError, Native
from tickpath.config import Config, parse_group
from tickpath.engine import group_text
from tickpath.namespace import inside
from tickpath.packet import LINK_MESSAGES, LINK_PITCH, PACKET
from tickpath_backends import native, veth
from tickpath_backends.file import FileTransport
from tickpath_backends.given import Given
from tickpath_backends.play import PACKETS_PER_READ, PlayError, groups_of

WINDOW = 256
"""Packets under way at most: half of what the smallest ring of any transport holds."""
GROUP = "239.255.77.1:26477"
"""Where messages go that came in no packet."""
IDLE_S = 1.0
"""After the last packet was sent: how long none may come before the rest is taken for lost."""
WRITE_OFF_NS = 1_000_000_000
"""How long none of those under way may be taken before the player goes on without them."""
START_S, LOOK_S, END_S = 60.0, 0.001, 5.0
"""How long the player may take to be ready and to end, and between two looks at it."""
PAGE_BYTES = mmap.PAGESIZE
SENT = ("wanted", "foreign", "cut", "too_long", "unknown", "mended", "untagged", "unsent")
"""What of the page is said in counters, with ``wire_`` in front."""
NO_RESPONSE = (
    "not measured: the engine does not know when a packet was due, the player does; "
    "wire_latest_ns is how late one left at most, and tickpath bench --backend measures response"
)
"""Of a paced play: what a replay from a file has and this has not."""
ORDERS_FROM, UNSET = 31_001, "0.0.0.0:0"
SINK_BYTES, MOST_ORDER = 1 << 24, 2048
DEVICE = "net_af_packet0"
_SO_RCVBUFFORCE = 33
_INTERFACE = re.compile(r"\b(iface=)[^,]*")
_NOWHERE = ipaddress.ip_network("0.0.0.0/8"), ipaddress.ip_network("127.0.0.0/8")


class Survey:
    """What a first pass over captures finds."""

    def __init__(self, paths: Sequence[str | os.PathLike[str]], groups: Sequence[str]) -> None:
        """``groups`` are those that the configuration names; none: all that there are."""
        module = native.load("wire")
        self._module = module
        self._survey = module.ffi.new("struct wire_survey *")
        self.has_times, self._has_runs = True, False
        transport = FileTransport(paths)
        transport.open()
        try:
            while len(packets := transport.poll(PACKETS_PER_READ)) or not transport.is_finished:
                self._look(packets, not groups)
                transport.release()
            self.counters, self.findings = transport.counters, list(transport.findings)
        finally:
            transport.close()
        self.groups = list(groups) or self._found()
        self.group = self.groups[0] if groups else GROUP
        if self._has_runs and self.group not in self.groups:
            self.groups.append(self.group)

    def _look(self, packets: np.ndarray, collect: bool) -> None:
        is_run = np.isin(packets["link"], (LINK_MESSAGES, LINK_PITCH))
        if is_run.any():
            self._has_runs, self.has_times = True, False
            packets = packets[~is_run]
        ffi = self._module.ffi
        packets = np.ascontiguousarray(packets)
        records = ffi.cast("struct packet *", packets.ctypes.data)
        if self._module.lib.wire_look(self._survey, records, len(packets), collect):
            most = int(self._module.lib.WIRE_MOST_GROUPS)
            raise BackendError(
                f"the captures have more than {most} groups: name those that matter in feed.groups"
            )

    def _found(self) -> list[str]:
        keys = sorted(int(key) for key in self._survey.groups.keys if key)
        return [group_text(key >> 16, key & 0xFFFF) for key in keys]

    @property
    def mtu(self) -> int:
        """What the wire has to take."""
        return min(max(veth.ETHERNET_MTU, int(self._survey.longest)), veth.LARGEST_MTU)

    @property
    def unicast(self) -> list[str]:
        """Addresses of groups that are none, which the receiver must have as its own."""
        found = {ipaddress.ip_address(parse_group(each)[0]) for each in self.groups}
        broadcast = ipaddress.ip_address("255.255.255.255")
        return [
            str(each)
            for each in sorted(found, key=int)
            if not each.is_multicast
            and each != broadcast
            and not any(each in network for network in _NOWHERE)
        ]


def devices_on(interface: str, eal: Sequence[str]) -> list[str]:
    """DPDK's arguments with its virtual devices on an interface, an AF_PACKET one if it has none.

    So a configuration says which driver is played to, and no more.
    """
    placed, has_device = [], False
    for word in eal:
        has_device |= word.startswith("--vdev")
        placed.append(_INTERFACE.sub(rf"\g<1>{interface}", word))
    return placed if has_device else [*placed, f"--vdev={DEVICE},iface={interface}"]


def on_wire(
    config: Config,
    wire: veth.Veth | Given,
    groups: Sequence[str],
    orders_at: str = veth.EXCHANGE_ADDRESS,
) -> Config:
    """A user's configuration, with a wire's interface and addresses, and these groups."""
    replace = msgspec.structs.replace
    name = wire.engine.interface
    dpdk = replace(config.transport.dpdk, eal=devices_on(name, config.transport.dpdk.eal))
    own = replace(config.transport, interface=name, dpdk=dpdk)
    if own.orders_to is not None:
        # Their own addresses are not on this wire: its ends are, with the same ports.
        there, here = parse_group(own.orders_to)[1], parse_group(own.orders_from or UNSET)[1]
        own = replace(
            own,
            orders_to=f"{orders_at}:{there}",
            orders_from=f"{wire.engine.address}:{here or ORDERS_FROM}",
            orders_mac=wire.orders_mac,
        )
    # Second lines are groups like any other to a transport.
    feed = replace(config.feed, groups=list(groups), lines_b={})
    return replace(config, transport=own, feed=feed)


class VethPlayer:
    """See the module's text."""

    is_live = True

    def __init__(
        self,
        transport: Callable[[Config], Any],
        paths: Sequence[str | os.PathLike[str]],
        config: Config,
        pace: float | None = None,
    ) -> None:
        """``transport`` is a live transport's class; ``pace`` times real time, None: no waiting."""
        self._class, self._paths, self._config = transport, list(paths), config
        self._pace = pace
        self._stack = ExitStack()
        self._transport: Any = None
        self._is_open = False
        self._child: subprocess.Popen[bytes] | None = None
        self._ended: list[str] = []
        self._seen, self._seen_s, self._was_over = 0, 0.0, False
        self._sink: socket.socket | None = None
        self.orders_arrived = 0
        """Datagrams at the exchange's end of the wire, where orders leave by it."""
        self._shared: Any = None
        self.lost = 0
        """Packets that were sent to a group and not taken, once the play is over."""

    @staticmethod
    def why_not() -> str | None:
        """Why nothing can be played here, as ``reason; run: command``; None where it can."""
        return native.why_not("wire") or veth.why_not()

    def open(self) -> None:
        """Survey, wire, transport and player.  Raises `BackendError`, `CaptureError`."""
        if reason := self.why_not():
            raise BackendError(f"captures cannot be played over a wire: {reason}")
        try:
            self._open()
        except PlayError as error:
            self.close()
            raise BackendError(str(error)) from None
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        feed = self._config.feed
        named = [*feed.groups, *feed.lines_b.values()] if feed.groups else []
        self._survey = survey = Survey(self._paths, list(dict.fromkeys(named)))
        self.has_times = survey.has_times
        queues = max(1, *(queue + 1 for queue in self._config.transport.afxdp.queues))
        self._wire = self._stack.enter_context(
            veth.Veth(mtu=survey.mtu, queues=queues, addresses=survey.unicast)
        )
        self._memory = os.memfd_create("tickpath-wire")
        self._stack.callback(os.close, self._memory)
        os.ftruncate(self._memory, PAGE_BYTES)
        module = native.load("wire")
        self._shared = np.frombuffer(mmap.mmap(self._memory, PAGE_BYTES), np.uint8)
        self._page = module.ffi.cast("struct wire_page *", self._shared.ctypes.data)
        self._groups = groups_of(module, survey.groups)
        self._start_child()
        self._open_sink()
        with inside(self._wire.engine.namespace):
            self._transport = self._class(on_wire(self._config, self._wire, self._survey.groups))
            self._is_open = True  # as far as it comes: what it holds by then is to be closed too
            self._transport.open()
        self._meter = meter = module.ffi.new("struct wire_meter *")
        inner: Native = self._transport.native
        meter.page, meter.groups = self._page, self._groups
        meter.transport = module.ffi.cast("void *", inner.transport)
        meter.poll, meter.release, meter.send = inner.poll, inner.release, inner.send
        self._native = Native(
            int(module.ffi.cast("uintptr_t", meter)),
            *(native.address(module, f"wire_{name}") for name in ("poll", "release", "send")),
        )
        self._module = module
        self._records = np.zeros(self._config.transport.burst, PACKET)

    def _start_child(self) -> None:
        to, here = self._wire.engine, self._wire.exchange
        mine = self._config.transport.cpu
        job = {
            "sources": [os.path.abspath(path) for path in self._paths],
            "groups": self._survey.groups,
            "group": self._survey.group,
            "namespace": here.namespace,
            "page": self._memory,
            "interface": here.interface,
            "mac": to.mac,
            "own_mac": here.mac,
            "own_address": here.address,
            "mtu": self._survey.mtu,
            "window": WINDOW,
            "in_order": not getattr(self._class, "KEEPS_ORDER", False),
            "keeps_tags": int(getattr(self._class, "MOST_TAGS", 0)),
            "write_off_ns": WRITE_OFF_NS,
            "pace": self._pace,
            "parent": os.getpid(),
            "cpus": sorted(os.sched_getaffinity(0) - {mine}) if mine is not None else [],
        }
        self._errors = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tickpath_backends.play", json.dumps(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=(here.namespace, self._memory),
            start_new_session=True,
        )

    def _open_sink(self) -> None:
        """Somebody has to be there for orders that leave by the wire."""
        if self._config.transport.orders_to is None:
            return
        with inside(self._wire.exchange.namespace):
            sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink = self._stack.enter_context(sink)
        sink.setblocking(False)
        sink.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, SINK_BYTES)
        sink.bind((self._wire.exchange.address, parse_group(self._config.transport.orders_to)[1]))

    def _empty_sink(self) -> None:
        """Count the orders that arrived."""
        if self._sink is None:
            return
        with suppress(BlockingIOError):
            while True:
                self._sink.recv(MOST_ORDER)
                self.orders_arrived += 1

    def start(self) -> None:
        """Have the player begin: who receives is ready.  Raises `BackendError`."""
        deadline_s = time.monotonic() + START_S
        while not self._page.ready and not self.is_finished:
            if time.monotonic() > deadline_s:
                raise BackendError(f"the player is not ready after {START_S:.0f} seconds")
            time.sleep(LOOK_S)
        self._page.go = 1
        self._seen_s = time.monotonic()

    # ------------------------------------------------------------ the transport's part

    @property
    def native(self) -> Native:
        """The metered functions."""
        return self._native

    def poll(self, most: int = 4096) -> np.ndarray:
        """Up to ``most`` lent packets."""
        most = min(most, len(self._records))
        records = self._module.ffi.cast("struct packet *", self._records.ctypes.data)
        number = self._module.lib.wire_poll(self._meter, records, most)
        return self._records[: int(number)]

    def release(self) -> None:
        """Give back what was lent."""
        self._module.lib.wire_release(self._meter)

    def send(self, messages: memoryview) -> None:
        """Send orders as the transport does."""
        self._transport.send(messages)

    def close(self) -> None:
        """End the player, close the transport, let go of the wire."""
        try:
            if self._child is not None:
                self._page.stop = 1
                self._end_child()
            if self._is_open:
                self._is_open = False
                with inside(self._wire.engine.namespace):
                    self._transport.close()
        finally:
            self._empty_sink()
            self._sink = None
            self._keep_counts()
            self._stack.close()

    def _keep_counts(self) -> None:
        """What the page says last outlives it."""
        if self._shared is not None:
            last = native.load("wire").ffi.new("struct wire_page *")
            last[0] = self._page[0]
            self._page, self._shared = last, None

    def _end_child(self) -> None:
        assert self._child is not None
        try:
            code = self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        self._child = None
        self._tell_end(code)

    def _tell_end(self, code: int) -> None:
        if code == 0 or self._ended:
            return
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self._ended = [f"the player ended early: {lines[-1] if lines else f'exit code {code}'}"]

    @property
    def is_finished(self) -> bool:
        """True when all that was sent was taken, or nothing has come any more for a second."""
        self._empty_sink()
        page, now_s = self._page, time.monotonic()
        code = self._child.poll() if self._child is not None else 0
        if code not in (None, 0):
            self._tell_end(int(code or 0))
        is_over = bool(page.finished) or code is not None
        if is_over and page.taken >= page.wanted:
            self.lost = 0
            return True
        # Counted from the first look that saw the end, behind which there was a poll: before it,
        # a pause of this process alone may have left packets where they wait.
        if page.taken != self._seen or not (is_over and self._was_over):
            self._seen, self._seen_s, self._was_over = int(page.taken), now_s, is_over
        if is_over and now_s - self._seen_s > IDLE_S:
            self.lost = int(page.wanted) - int(page.taken)
            return True
        return False

    @property
    def position(self) -> tuple[int, int]:
        """(bytes sent, bytes in all) of the files."""
        return int(self._page.position), int(self._page.total)

    @property
    def counters(self) -> dict[str, int]:
        """What the captures, the player and the transport counted."""
        page = self._page
        wire = {f"wire_{name}": int(getattr(page, name)) for name in SENT}
        wire["wire_taken"], wire["wire_latest_ns"] = int(page.taken), int(page.latest_ns)
        own: Mapping[str, int] = self._transport.counters
        if self._config.transport.orders_to is not None:
            self._empty_sink()
            wire["wire_orders_arrived"] = self.orders_arrived
        return {
            **{f"capture_{name}": count for name, count in self._survey.counters.items()},
            **wire,
            **{f"transport_{name}": count for name, count in own.items()},
        }

    @property
    def findings(self) -> list[str]:
        """What is wrong with the captures, and what did not get through."""
        found = [*self._survey.findings, *self._ended, *self._transport.findings]
        if lost := self.lost:
            why = {name: count for name, count in self._transport.counters.items() if count}
            counted = ", ".join(f"{name} {count:,}" for name, count in why.items())
            found.append(f"{lost:,} packets were lost on the wire; the transport counts: {counted}")
        page = self._page
        for name, text in (
            ("too_long", "are longer than the wire takes"),
            ("unsent", "were refused by the kernel"),
        ):
            if count := int(getattr(page, name)):
                found.append(f"{count:,} packets {text} and were not played")
        return found

    @property
    def environment(self) -> dict[str, Any]:
        """The transport's, and how it was played to."""
        return {
            **self._transport.environment,
            "wire": {
                "kind": self._wire.kind,
                "mtu": self._survey.mtu,
                "groups": self._survey.groups,
                "window": WINDOW if self._pace is None else None,
                "response": None if self._pace is None else NO_RESPONSE,
                "in_order_across_groups": not getattr(self._class, "KEEPS_ORDER", False),
            },
        }

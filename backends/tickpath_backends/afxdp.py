"""The afxdp transport: packets where the kernel, or the card, wrote them.

An XDP program takes the groups' packets off the interface (`xdp_program`) and hands them to an
AF_XDP socket a queue.  It is attached by a bpf_link, which is a file descriptor: however this
process ends, the kernel detaches it.  Multicast groups are joined by plain sockets, so that
switches and the card's filter let them through, though no packet ever gets to these.

UDP checksums are not verified: between virtual interfaces the kernel leaves them unfinished.  There
are no timestamps of the kernel or the card here; packets carry the time at which they were polled.
"""

import errno
import os
import socket
import time
from typing import Any

from tickpath.backend import RUN, TransportError
from tickpath.config import Config
from tickpath.wire.frame import FRAME
from tickpath_backends import datagram, interface, multicast, native, xdp_modes, xdp_program
from tickpath_backends.egress import Egress
from tickpath_backends.interface import Interface
from tickpath_backends.live import LiveTransport
from tickpath_backends.multicast import Group, Memberships
from tickpath_backends.placement import Placement, Region
from tickpath_backends.xdp_modes import MODES, Mode, RefusedError, lacking_capabilities

_AF_XDP = 44
_NEED_WAKEUP = 1 << 3
HEADROOM = 256
"""Bytes in front of each packet that the kernel keeps in its frame."""
SMALL_FRAME, LARGE_FRAME = 2048, 4096
"""Frames of either size; the kernel allows none larger than a page."""
MOST_ORDERS = 1024
"""Frames for orders on their way."""
_LINK_HEADERS = datagram.ETHERNET_BYTES + FRAME["vlan_tag"].length
"""What the MTU does not count."""
_LOG_BYTES = 1 << 16
_RELEASE_S, _LOOK_S = 1.0, 0.01
"""How long the kernel may take to give up a queue whose socket was closed a moment ago."""


class AfxdpTransport(LiveTransport):
    """Lends Ethernet frames (`LINK_ETHERNET`) of the configured groups; ``line`` is the queue."""

    NAME = "afxdp"
    KEEPS_ORDER = True
    """Of packets among groups, in each queue."""
    MOST_TAGS = 1
    """VLAN tags that the program looks behind."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._placement = Placement(config.transport)
        self._region: Region | None = None
        self._interface: Interface | None = None
        self._groups: list[Group] = []
        self._memberships: Memberships | None = None
        self._egress: Egress | None = None
        self._descriptors: list[int] = []
        self._pending: Any = None
        self._mode: str | None = None
        self._refused: dict[str, str] = {}
        self._frame_bytes = 0

    @staticmethod
    def why_not() -> str | None:
        """It needs its native part, a kernel with AF_XDP, and privilege."""
        if reason := native.why_not("afxdp"):
            return reason
        try:
            socket.socket(_AF_XDP, socket.SOCK_RAW).close()
        except PermissionError:
            pass  # said below
        except OSError as error:
            return f"the kernel has no AF_XDP sockets: {error.strerror}"
        lacking = lacking_capabilities()
        if lacking:
            return f"privilege is missing: {', '.join(lacking)}{RUN}sudo $(command -v tickpath)"
        return None

    def open(self) -> None:
        """Attach the program and take the queues.  Raises `TransportError`."""
        if self.is_open:
            raise TransportError("afxdp: already open")
        module = native.load("afxdp")
        self._findings, self._counted, self._refused = [], {}, {}
        self._watch, self._mode = None, None
        try:
            self._open(module)
        except BaseException:
            self.close()
            raise

    def _open(self, module: Any) -> None:
        transport = self._config.transport
        groups = self._groups = multicast.groups(self._config)
        if len(groups) > xdp_program.MOST_GROUPS:
            raise TransportError(
                f"feed.groups: {len(groups)} groups; afxdp takes {xdp_program.MOST_GROUPS}"
            )
        if transport.interface is None:
            raise TransportError("afxdp: transport.interface is not set")
        card = self._interface = interface.find(transport.interface)
        if not card.is_up:
            raise TransportError(f"{card.name} is down; run: sudo ip link set {card.name} up")
        self._check_queues(card)
        self._watch = interface.Watch(card)
        self._placement.apply()
        wanted = transport.afxdp.mode
        for mode in MODES:
            if wanted in ("best", mode.name):
                try:
                    self._try(module, mode, card, groups)
                    break
                except RefusedError as refusal:
                    self._refused[mode.name] = str(refusal)
                    self._let_go(module)
        else:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self._refused.items())
            raise TransportError(f"{card.name} does not offer afxdp: {reasons}")
        self._memberships = Memberships(groups, card)
        if transport.orders_to is not None:
            self._address_orders(module, card)
        self._started(module, self._pending)

    def _check_queues(self, card: Interface) -> None:
        """Queues that do not exist are an error, queues that nobody takes a finding."""
        queues = self._config.transport.afxdp.queues
        there = interface.receive_queues(card)
        if not queues or len(set(queues)) != len(queues):
            raise TransportError("transport.afxdp.queues: at least one, and each once")
        for queue in queues:
            if queue >= there:
                raise TransportError(
                    f"transport.afxdp.queues: {card.name} has no queue {queue}: it has {there}, "
                    "from 0 on"
                )
        if missed := sorted(set(range(there)) - set(queues)):
            numbers = ", ".join(map(str, missed))
            self._findings.append(
                f"afxdp: {card.name} has queues that are not taken ({numbers}): what its card puts "
                f"there is not received; set transport.afxdp.queues, or run: "
                f"sudo ethtool -L {card.name} combined {len(queues)}"
            )

    def _try(self, module: Any, mode: Mode, card: Interface, groups: list[Group]) -> None:
        """Everything between the interface and us.  Raises `RefusedError`, `TransportError`."""
        transport, lib = self._config.transport, module.lib
        queues = transport.afxdp.queues
        most = SMALL_FRAME - HEADROOM - _LINK_HEADERS
        self._frame_bytes = SMALL_FRAME if card.mtu <= most else LARGE_FRAME
        if card.mtu > LARGE_FRAME - HEADROOM - _LINK_HEADERS:
            most = LARGE_FRAME - HEADROOM - _LINK_HEADERS
            finding = f"afxdp: {card.name} has an MTU of {card.mtu}; larger packets than {most} "
            self._findings.append(finding + "bytes are dropped (rx_dropped)")
        state = lib.afxdp_new(
            len(queues), self._frame_bytes, transport.buffers, self._order_frames()
        )
        if state == module.ffi.NULL:
            raise TransportError("afxdp: no memory")
        self._pending = state
        sizes = [lib.afxdp_queue_bytes(state, number) for number in range(len(queues))]
        self._region = self._placement.region(sum(sizes))
        flags = mode.bind | (_NEED_WAKEUP if transport.afxdp.need_wakeup else 0)
        memory = self._region.address
        for queue, size in zip(queues, sizes, strict=True):
            self._open_queue(module, mode, memory, queue, flags)
            memory += size
        table = self._descriptor(lib.afxdp_map(max(queues) + 1), "the program's map")
        program = self._load(module, groups, table)
        link = lib.afxdp_attach(program, card.ifindex, mode.attach)
        if link < 0:
            raise xdp_modes.attach_error(-link, card, mode)
        self._descriptors.append(link)
        for number in range(len(queues)):
            if code := lib.afxdp_connect(state, table, number):
                raise TransportError(f"afxdp: {card.name}: the map: {os.strerror(-code)}")
        is_zero_copy = all(lib.afxdp_is_zero_copy(state, number) for number in range(len(queues)))
        self._mode = "zero-copy" if is_zero_copy else mode.name

    def _order_frames(self) -> int:
        orders = self._config.transport.orders_to is not None
        return min(self._config.transport.buffers, MOST_ORDERS) if orders else 0

    def _open_queue(self, module: Any, mode: Mode, memory: int, queue: int, flags: int) -> None:
        assert self._interface
        ffi, card = module.ffi, self._interface
        step = ffi.new("const char **")
        busy_poll = self._config.transport.afxdp.busy_poll
        where = ffi.cast("uint8_t *", memory)
        end = time.monotonic() + _RELEASE_S
        while True:
            code = module.lib.afxdp_open(
                self._pending, where, card.ifindex, queue, flags, busy_poll, step
            )
            if code != -errno.EBUSY or time.monotonic() > end:
                break
            time.sleep(_LOOK_S)
        if code:
            raise xdp_modes.socket_error(-code, ffi.string(step[0]).decode(), card, queue, mode)

    def _load(self, module: Any, groups: list[Group], table: int) -> int:
        """Have the kernel verify and take the program."""
        code = xdp_program.assemble(groups, table)
        log = module.ffi.new("char[]", _LOG_BYTES)
        descriptor = module.lib.afxdp_program(code, len(code) // 8, log, _LOG_BYTES)
        if descriptor < 0 and descriptor != -errno.EPERM:
            said = module.ffi.string(log).decode(errors="replace").strip().splitlines()
            last = f": {said[-1]}" if said else ""
            raise TransportError(
                f"afxdp: the kernel refuses the program: {os.strerror(-descriptor)}{last}"
            )
        return self._descriptor(descriptor, "the program")

    def _descriptor(self, result: int, what: str) -> int:
        """Keep a file descriptor, to be closed at the end."""
        if result < 0:
            if -result in (errno.EPERM, errno.EACCES):
                raise xdp_modes.privilege(what)
            raise TransportError(f"afxdp: {what}: {os.strerror(-result)}")
        self._descriptors.append(result)
        return result

    def _address_orders(self, module: Any, card: Interface) -> None:
        self._egress = Egress(self._config.transport, card)
        headers = self._egress.headers
        longest = min(card.mtu, self._frame_bytes - datagram.ETHERNET_BYTES)
        longest -= len(headers) - datagram.ETHERNET_BYTES
        module.lib.afxdp_orders(self._pending, headers, longest)

    def _let_go(self, module: Any) -> None:
        """Detach the program, then close the sockets, then free the memory."""
        for descriptor in reversed(self._descriptors):
            os.close(descriptor)
        self._descriptors.clear()
        if self._pending is not None:
            module.lib.afxdp_free(self._pending)
        self._pending = None
        if self._region:
            self._region.close()
        self._region = None

    def close(self) -> None:
        """Detach, leave the groups, free everything; what was lent is gone."""
        module = self._module
        if module is not None:
            self._stopped()
        elif self._pending is not None:
            module = native.load("afxdp")
        self._let_go(module)
        if self._watch:
            self._watch.close()
        if self._memberships:
            self._memberships.close()
        self._memberships = None
        if self._egress:
            self._egress.close()
        self._egress = None
        self._placement.undo()

    @property
    def environment(self) -> dict[str, Any]:
        """For a result: the mode that was really had, and why not a better one."""
        card, transport = self._interface, self._config.transport
        return {
            "transport": "afxdp",
            "interface": card.name if card else transport.interface,
            "kind": card.kind if card else None,
            "driver": interface.driver(card.name) if card else None,
            "mtu": card.mtu if card else None,
            "numa_node": interface.numa_node(card.name) if card else None,
            "groups": [str(group) for group in self._groups],
            "mode": self._mode,
            "mode_asked": transport.afxdp.mode,
            "refused": dict(self._refused),
            "queues": list(transport.afxdp.queues),
            "need_wakeup": transport.afxdp.need_wakeup,
            "busy_poll": transport.afxdp.busy_poll,
            "timestamps": "none",
            "burst": transport.burst,
            "buffers": transport.buffers,
            "buffer_bytes": self._frame_bytes,
            **self._placement.environment,
        }

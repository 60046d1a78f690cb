"""The dpdk transport: packets from a DPDK port, lent where the driver put them.

Any driver does.  A virtual device over a kernel's interface, shared memory, a file or a ring needs
neither a card of its own nor huge pages, and mostly no privilege; a card needs them all.  EAL
belongs to the process (`dpdk_eal`), a transport to one port of it, and the thread that opens it is
the one that polls, sends and closes.  Frames that are not of the feed are dropped here and counted;
what is inside the others is checked by the engine, as with captures.

What a killed process left on an interface is removed before that is taken (`dpdk_leftover`).
Groups are joined through the kernel where an interface of its is below the port; for a card that
DPDK has, the switch must be told otherwise, because nothing here speaks IGMP.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

from tickpath.backend import TransportError
from tickpath.config import Config, parse_group
from tickpath_backends import (
    datagram,
    dpdk_kernel,
    dpdk_leftover,
    interface,
    multicast,
    native,
    neighbour,
)
from tickpath_backends.dpdk_eal import EAL, Device, defaults, plan
from tickpath_backends.interface import Interface
from tickpath_backends.live import LiveTransport
from tickpath_backends.multicast import Group, Memberships
from tickpath_backends.placement import Placement

UNKNOWN_MBPS = 0xFFFF_FFFF
MOST_EXTRA = 256
"""Further counts of a driver that are looked through for losses."""
_LOSSES = ("drop", "miss", "discard", "error", "full", "nombuf", "no_buffer", "overrun")
ATTEMPTS, ATTEMPT_S = 10, 0.05
Route = tuple[Group, Group, bytes]
"""Where orders go to and come from, and the next hop's Ethernet address."""
_BASIC = ("rx_missed_errors", "rx_errors", "tx_errors", "rx_mbuf_allocation_errors")
"""Those that the driver's plain counts are too."""


class _PortError(TransportError):
    """A port that does not start."""


class DpdkTransport(LiveTransport):
    """Lends the frames of a DPDK port (`LINK_ETHERNET`)."""

    NAME = "dpdk"
    KEEPS_ORDER = True
    """Of packets among groups, in each queue."""
    MOST_TAGS = 4
    """VLAN tags that the filter looks behind."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._own = config.transport.dpdk
        self._plan = plan(self._own.eal)
        self._port = -1
        self._plugged: Sequence[Device] = ()
        self._interface: Interface | None = None
        self._memberships: Memberships | None = None
        self._drops: dpdk_kernel.Drops | None = None
        self._placement = Placement(config.transport)
        self._drivers: dpdk_kernel.Descriptors = set()
        self._facts: dict[str, Any] = {}
        self._keys: Any = None

    @staticmethod
    def why_not() -> str | None:
        """It needs its native part; what devices need shows when it opens."""
        return native.why_not("dpdk")

    @staticmethod
    def leftovers() -> list[tuple[str, str]]:
        """(what a killed process left on an interface, command that removes it)."""
        return [
            (f"{each.interface}: {each} of a process that is gone", f"sudo {each.removal}")
            for each in dpdk_leftover.left_over()
        ]

    # ------------------------------------------------------------ opening

    def open(self) -> None:
        """Start EAL where it does not run, then the port.  Raises `TransportError`."""
        if self.is_open:
            raise TransportError("dpdk: already open")
        module = native.load("dpdk")
        self._findings, self._counted, self._watch = [], {}, None
        try:
            self._open(module)
        except BaseException:
            self.close()
            raise

    def _open(self, module: Any) -> None:
        transport = self._config.transport
        for device in self._plan.devices:
            self._check_device(device)
        route = self._order_route()
        more = defaults(self._plan, transport.buffers, transport.cpu, transport.huge_pages)
        EAL.start(module, self._plan, more)
        # Now, so that EAL's own threads are not on that core.
        self._placement.apply()
        if transport.huge_pages and not module.lib.dpdk_has_huge_pages():
            raise TransportError(
                "transport.huge_pages: EAL has none, by --no-huge in transport.dpdk.eal or since "
                "an earlier start in this process"
            )
        for attempt in range(ATTEMPTS):
            try:
                self._start(module, route)
                break
            except _PortError:
                # The kernel gives an AF_XDP queue back a moment after its socket was closed.
                if attempt == ATTEMPTS - 1 or not self._is_xdp:
                    raise
                self._unplug()
                time.sleep(ATTEMPT_S)

    def _start(self, module: Any, route: Route | None) -> None:
        """Plug the devices in, and start the port."""
        sockets, old = dpdk_kernel.raw_sockets(), dpdk_kernel.xdp_descriptors()
        ports = EAL.plug(self._plan.devices)
        self._plugged = self._plan.devices
        self._port = self._choose(ports)
        if self._interface and not self._memberships:
            self._watch = interface.Watch(self._interface)
            self._memberships = Memberships(self._groups(), self._interface)
        options = self._options(module, route)
        code, step = module.ffi.new("int *"), module.ffi.new("const char **")
        with EAL.quiet() as printed:
            state = module.lib.dpdk_open(options, code, step)
        self._drivers = dpdk_kernel.xdp_descriptors() - old
        if state == module.ffi.NULL:
            name = module.ffi.string(module.lib.dpdk_port_name(self._port)).decode()
            what = module.ffi.string(step[0]).decode()
            raise _PortError(
                f"dpdk: port {self._own.port} ({name}): {what}: {EAL.why(code[0], printed)}"
            )
        self._started(module, state)
        self._drops = dpdk_kernel.Drops(dpdk_kernel.raw_sockets() - sockets)

    @property
    def _is_xdp(self) -> bool:
        return any(each.name.startswith(dpdk_leftover.DRIVER) for each in self._plan.devices)

    def _check_device(self, device: Device) -> None:
        """What can be said, and has to be cleaned, before anything is taken."""
        if device.interface is None:
            return
        try:
            found = interface.find(device.interface)
        except TransportError as error:
            reason = str(error).partition(": ")[2]
            raise TransportError(f"transport.dpdk.eal: {device.name}: {reason}") from None
        if not dpdk_kernel.may_take():
            raise TransportError(
                f"dpdk: {device.name}: taking packets from {found.name} needs root, or "
                "CAP_NET_RAW and CAP_NET_ADMIN"
            )
        program = None
        if device.name.startswith(dpdk_leftover.DRIVER):
            program = dpdk_leftover.program_on(found.name)
        if program is None or EAL.has(device):
            return
        if not program.is_left_over:
            raise TransportError(
                f"dpdk: {found.name} has the {program} of another program, and can have one only; "
                f"end that, or run: sudo {program.removal}"
            )
        dpdk_leftover.remove(program)
        self._findings.append(f"{found.name}: {program} of a killed process was removed")

    def _order_route(self) -> Route | None:
        """Where orders go to and come from, and the next hop's Ethernet address.

        Found before the interface is taken: some drivers keep ARP's answers from the kernel.
        """
        transport = self._config.transport
        if transport.orders_to is None:
            return None
        if transport.orders_from is None:
            raise TransportError("transport.orders_from: needed where orders leave by dpdk")
        to = Group(*parse_group(transport.orders_to))
        if transport.orders_mac is not None:
            mac = datagram.parse_mac(transport.orders_mac)
        elif (known := neighbour.multicast_mac(to.address)) is not None:
            mac = known
        else:
            below = next((each.interface for each in self._plan.devices if each.interface), None)
            if below is None:
                raise TransportError(
                    "transport.orders_mac: needed: no kernel's interface is below the port, whose "
                    "neighbours would be known"
                )
            way = neighbour.route(to.address)
            mac = neighbour.find_mac(interface.find(below).ifindex, way.next_hop)
        return to, Group(*parse_group(transport.orders_from)), mac

    def _choose(self, ports: Sequence[int]) -> int:
        """The configured port among those there are."""
        number = self._own.port
        if number >= len(ports):
            have = f"{len(ports)} are there" if ports else "there is none"
            raise TransportError(
                f"transport.dpdk.port: no port {number}: {have}; in transport.dpdk.eal, --vdev "
                "adds a virtual one and -a takes a card"
            )
        first = len(ports) - len(self._plan.devices)
        below = self._plan.devices[number - first].interface if number >= first else None
        self._interface = interface.find(below) if below else None
        return ports[number]

    def _groups(self) -> list[Group]:
        """Those of the feed; none: everything is."""
        feed = self._config.feed
        return multicast.groups(self._config) if feed.groups or feed.lines_b else []

    def _options(self, module: Any, route: Route | None) -> Any:
        keys = [group.address << 16 | group.port for group in self._groups()]
        options = module.ffi.new("struct dpdk_options *")
        options.port, options.queues = self._port, self._own.queues
        options.descriptors, options.buffers = self._own.descriptors, self._config.transport.buffers
        # cffi keeps nothing alive that a struct points to: the array has to live as long.
        self._keys = module.ffi.new("uint64_t[]", keys or [0])
        options.groups, options.group_count = self._keys, len(keys)
        options.is_promiscuous = self._interface is None
        if route:
            to, source, mac = route
            own = bytes(module.ffi.buffer(module.lib.dpdk_port_mac(self._port), len(mac)))
            options.headers = datagram.headers(own, mac, source, to)
        return options

    def close(self) -> None:
        """Stop the port, and take its device away if no other transport has it."""
        if self._module is not None:
            module, state = self._module, self._state
            self._facts = self.environment
            self._stopped()
            if self._drops:
                self._drops.close()
            with EAL.quiet():
                module.lib.dpdk_close(state)
        self._drops = None
        if self._watch:
            self._watch.close()
        if self._plugged:
            self._unplug()
        if self._memberships:
            self._memberships.close()
        self._memberships = None
        self._placement.undo()

    def _unplug(self) -> None:
        """Take the devices away, and close what their driver had opened and forgets."""
        before = dpdk_kernel.xdp_descriptors()
        EAL.unplug(self._plugged)
        after = dpdk_kernel.xdp_descriptors()
        if not any(EAL.has(device) for device in self._plugged):
            for number, _ in (after & self._drivers) | (after - before):
                os.close(number)
        self._plugged, self._drivers = (), set()

    # ------------------------------------------------------------ what is known of it

    @property
    def counters(self) -> dict[str, int]:
        """By cause, since `open`.

        ``ring_full`` and ``no_buffers`` are packets for which the driver found no descriptor or no
        buffer, ``kernel_*`` and ``fill_ring_empty`` those that the kernel below it dropped, and
        ``driver_*`` its further losses by its own names.
        """
        counts = super().counters
        if self._module is None:
            return counts
        ffi, lib = self._module.ffi, self._module.lib
        driver = ffi.new("struct dpdk_driver_counts *")
        if lib.dpdk_driver_counts(self._state, driver) == 0:
            counts |= {name: getattr(driver, name) for name in dir(driver)}
        if self._drops:
            counts |= self._drops.counters
        names, values = ffi.new(f"char[{MOST_EXTRA}][64]"), ffi.new("uint64_t[]", MOST_EXTRA)
        for n in range(lib.dpdk_extra_counts(self._state, names, values, MOST_EXTRA)):
            name = ffi.string(names[n]).decode(errors="replace")
            if values[n] and name not in _BASIC and any(each in name for each in _LOSSES):
                counts[f"driver_{name}"] = values[n]
        return counts

    @property
    def findings(self) -> list[str]:
        """What is not as it was asked for; of an interface that was down, what became of orders."""
        found = super().findings
        if self._watch and self._watch.counters["interface_down"]:
            if self._config.transport.orders_to is not None:
                found.append(
                    f"dpdk: {self._watch.name} went down: orders that its driver had taken by "
                    "then, or meanwhile, may leave when it comes up again"
                )
        return found

    @property
    def environment(self) -> dict[str, Any]:
        """For a result: DPDK, EAL's arguments, device, driver, rings, link, placement."""
        if self._module is None:
            return dict(self._facts)
        ffi, lib = self._module.ffi, self._module.lib
        facts = ffi.new("struct dpdk_facts *")
        lib.dpdk_facts(self._state, facts)
        return {
            "transport": "dpdk",
            "version": ffi.string(lib.dpdk_version()).decode(),
            "eal": [*EAL.arguments, *(f"--vdev={each}" for each in self._plan.devices)],
            "port": self._own.port,
            "device": ffi.string(facts.device).decode(),
            "driver": ffi.string(facts.driver).decode(),
            "interface": self._interface.name if self._interface else None,
            "mac": bytes(facts.mac).hex(":"),
            "mtu": facts.mtu,
            "numa_node": facts.numa_node if facts.numa_node >= 0 else None,
            "link": "up" if facts.is_up else "down",
            "link_mbps": facts.link_mbps if facts.link_mbps < UNKNOWN_MBPS else None,
            "groups": [str(group) for group in self._groups()],
            "queues": facts.queues,
            "descriptors": facts.receive_descriptors,
            "timestamps": "hardware" if facts.has_device_clock else "none",
            "promiscuous": bool(facts.is_promiscuous),
            "all_multicast": bool(facts.is_all_multicast),
            "burst": self._config.transport.burst,
            "buffers": self._config.transport.buffers,
            **self._placement.environment,
            "huge_pages": bool(lib.dpdk_has_huge_pages()),
        }

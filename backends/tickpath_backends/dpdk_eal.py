"""DPDK's environment abstraction layer (EAL): started once in a process, shared by all transports.

EAL cannot be started twice or with other arguments later; what can come and go are virtual devices.
So ``--vdev`` arguments never reach it: they are plugged when the first transport that names them
opens, and unplugged when the last one closes, which is what makes a transport restartable and
leaves nothing on an interface.

What is not given gets a value with which several processes, and processes without huge pages or
privilege, run side by side: see `defaults`.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tickpath.backend import TransportError

MOST_PORTS = 32
MOST_SAID = 2
"""Lines of a log that go into an error's one line."""
BUFFER_BYTES = 2560
"""An mbuf with its room for a frame, and what the pool keeps of it."""
LEAST_MEGABYTES = 64
_APART = ("--in-memory", "--no-shconf", "--file-prefix", "--proc-type")
_CORES = ("-l", "-c", "-s", "--lcores", "--main-lcore")
_DEVICES = ("-a", "--allow", "-b", "--block", "--no-pci")


class Device(NamedTuple):
    """A virtual device, as after ``--vdev``: ``net_af_packet0`` and ``iface=eth0,qpairs=1``."""

    name: str
    arguments: str

    def value(self, key: str) -> str | None:
        """What the device's arguments say of a key."""
        pairs = (each.partition("=") for each in self.arguments.split(","))
        return next((value for name, _, value in pairs if name == key), None)

    def __str__(self) -> str:
        return f"{self.name},{self.arguments}" if self.arguments else self.name

    @property
    def interface(self) -> str | None:
        """The kernel's interface that it takes packets from."""
        return self.value("iface") or self.value("rx_iface")


class Plan(NamedTuple):
    """EAL's arguments of a configuration, taken apart."""

    arguments: tuple[str, ...]
    devices: tuple[Device, ...]


def plan(eal: Sequence[str]) -> Plan:
    """Take the virtual devices out of EAL's arguments.  Raises `TransportError`."""
    arguments: list[str] = []
    devices: list[Device] = []
    words = iter(eal)
    for word in words:
        option, equals, value = word.partition("=")
        if option != "--vdev":
            arguments.append(word)
            continue
        name, _, rest = (value if equals else next(words, "")).partition(",")
        if not name or name in (each.name for each in devices):
            what = f"{name!r} is there twice" if name else "--vdev names no device"
            raise TransportError(f"dpdk: transport.dpdk.eal: {what}")
        devices.append(Device(name, rest))
    return Plan(tuple(arguments), tuple(devices))


def _has(arguments: Sequence[str], *options: str) -> bool:
    """Whether one of the options is given, in whatever form: ``-l 1``, ``-l1``, ``--lcores=1``."""
    for argument in arguments:
        for option in options:
            long = option.startswith("--")
            if argument.partition("=")[0] == option or (not long and argument.startswith(option)):
                return True
    return False


def free_huge_pages(root: Path = Path("/sys/kernel/mm/hugepages")) -> int:
    """Bytes of huge pages that nobody has taken."""
    free = 0
    for directory in root.glob("hugepages-*kB"):
        try:
            pages = int((directory / "free_hugepages").read_text())
        except (OSError, ValueError):
            continue
        free += pages * int(directory.name[len("hugepages-") : -len("kB")]) * 1024
    return free


def defaults(wanted: Plan, buffers: int, cpu: int | None, must_be_huge: bool) -> list[str]:
    """What EAL is told beside the configuration, each unless that says something of it.

    - ``--in-memory``, or ``--no-shconf`` without huge pages, which it does not go with: no files
      that are shared with, or in the way of, other processes, or left behind;
    - ``--no-telemetry``: no socket for it;
    - ``--no-pci`` unless ``-a`` names a card: none is taken that was not meant;
    - ``--no-huge`` where no huge page is free and none is demanded;
    - ``-m`` without huge pages: megabytes for the buffers;
    - ``--lcores``: one thread, which may run where this one may; EAL would pin it.
    - ``--log-level``: errors only.
    """
    given, more = wanted.arguments, []
    is_plain = _has(given, "--no-huge")
    if not is_plain and not must_be_huge and not free_huge_pages():
        more.append("--no-huge")
        is_plain = True
    if not _has(given, *_APART):
        more.append("--no-shconf" if is_plain else "--in-memory")
    if not _has(given, "--telemetry", "--no-telemetry"):
        more.append("--no-telemetry")
    if not _has(given, *_DEVICES):
        more.append("--no-pci")
    if is_plain and not _has(given, "-m"):
        # Twice what one port's receive pool takes: for rings, orders and a second port.
        more += ["-m", str(LEAST_MEGABYTES + (2 * buffers * BUFFER_BYTES >> 20))]
    if not _has(given, *_CORES):
        cores = os.sched_getaffinity(0) if cpu is None else {cpu}
        more.append(f"--lcores=0@({','.join(map(str, sorted(cores)))})")
    if not _has(given, "--log-level"):
        more.append("--log-level=error")
    return more


class Eal:
    """The one of this process, with the devices that are plugged in."""

    def __init__(self) -> None:
        self._module: ModuleType | None = None
        self._started: tuple[str, ...] | None = None
        self.arguments: list[str] = []
        """What it was started with, the defaults included."""
        self._users: dict[Device, int] = {}
        self._own_ports: list[int] = []

    def start(self, module: ModuleType, wanted: Plan, more: Sequence[str]) -> None:
        """Start it, or see that it was started with the same.  Raises `TransportError`."""
        self._module = module
        if self._started is not None:
            if self._started != wanted.arguments:
                was = " ".join(self._started) or "none"
                raise TransportError(
                    "dpdk: transport.dpdk.eal: EAL is started once in a process, and was with "
                    f"other arguments: {was}; use these, or another process"
                )
            return
        ffi, lib = module.ffi, module.lib
        arguments = ["tickpath", *more, *wanted.arguments]
        words = [ffi.new("char[]", each.encode()) for each in arguments]
        affinity = os.sched_getaffinity(0)
        is_shown = _has(wanted.arguments, "--log-level")
        with self.quiet() as printed:
            code = lib.dpdk_start(len(words), ffi.new("char *[]", [*words, ffi.NULL]), is_shown)
        os.sched_setaffinity(0, affinity)
        if code < 0:
            why = self.why(code, printed)
            fix = "; run: sudo sysctl vm.nr_hugepages=512" if "hugepage" in why else ""
            raise TransportError(f"dpdk: EAL does not start: {why}{fix}")
        self._started = wanted.arguments
        self.arguments = arguments[1:]
        self._own_ports = self._ports()

    def has(self, device: Device) -> bool:
        """Whether a device is plugged in already."""
        return device in self._users

    def _ports(self) -> list[int]:
        assert self._module is not None
        found = self._module.ffi.new("uint16_t[]", MOST_PORTS)
        return list(found[0 : self._module.lib.dpdk_ports(found, MOST_PORTS)])

    def plug(self, devices: Sequence[Device]) -> list[int]:
        """Have the devices there; gives the ports to choose from: EAL's own, then the devices'.

        Raises `TransportError`; then none of them was plugged by this call.
        """
        assert self._module is not None
        ffi, lib = self._module.ffi, self._module.lib
        ports, done = list(self._own_ports), []
        try:
            for device in devices:
                if device not in self._users:
                    self._plug(device)
                self._users[device] = self._users.get(device, 0) + 1
                done.append(device)
                port = lib.dpdk_port_of(ffi.new("char[]", device.name.encode()))
                if port < 0:
                    raise TransportError(f"dpdk: {device.name} is no network device")
                ports.append(port)
        except TransportError:
            self.unplug(done)
            raise
        return ports

    def _plug(self, device: Device) -> None:
        assert self._module is not None
        ffi, lib = self._module.ffi, self._module.lib
        if device.name in (each.name for each in self._users):
            raise TransportError(f"dpdk: {device.name} is in use here with other arguments")
        name, arguments = (ffi.new("char[]", each.encode()) for each in device)
        with self.quiet() as printed:
            code = lib.dpdk_plug(name, arguments)
        if code < 0:
            raise TransportError(f"dpdk: {device.name} cannot be added: {self.why(code, printed)}")

    def unplug(self, devices: Sequence[Device]) -> None:
        """Take the devices away that no other transport has."""
        assert self._module is not None
        ffi, lib = self._module.ffi, self._module.lib
        for device in devices:
            self._users[device] -= 1
            if self._users[device]:
                continue
            del self._users[device]
            name = ffi.new("char[]", device.name.encode())
            port = lib.dpdk_port_of(name)
            with self.quiet():
                code = lib.dpdk_unplug(name)
            if code == 0 and port >= 0:
                lib.dpdk_forget(port)

    @contextmanager
    def quiet(self) -> Iterator[list[str]]:
        """Show nothing of what EAL and the libraries below it print; what went to stderr is given.

        The list has its lines when the block is over.
        """
        assert self._module is not None
        self._module.lib.dpdk_forget_log()
        lines: list[str] = []
        sys.stdout.flush()
        sys.stderr.flush()
        printed = os.memfd_create("printed"), os.memfd_create("errors")
        before = [os.dup(number) for number in (1, 2)]
        try:
            for number, kept in zip((1, 2), printed, strict=True):
                os.dup2(kept, number)
            yield lines
        finally:
            for number, old in zip((1, 2), before, strict=True):
                os.dup2(old, number)
                os.close(old)
            size = os.lseek(printed[1], 0, os.SEEK_END)
            lines += os.pread(printed[1], size, 0).decode(errors="replace").splitlines()
            for kept in printed:
                os.close(kept)

    def why(self, code: int, printed: Sequence[str]) -> str:
        """In one line: what libraries, EAL or a driver said, or else what the code means."""
        assert self._module is not None
        ffi, lib = self._module.ffi, self._module.lib
        said = [*printed, *ffi.string(lib.dpdk_log()).decode(errors="replace").splitlines()]
        lines = dict.fromkeys(each.strip().rstrip(".") for each in said if each.strip())
        error: str = ffi.string(lib.dpdk_error(code)).decode()
        return "; ".join([*lines][:MOST_SAID]) or error


EAL = Eal()

"""XDP programs that a killed DPDK process left on an interface.

`net_af_xdp` attaches a program through libxdp, which the kernel keeps when the process is killed:
it then takes all packets of its queues, for a socket that is gone.  It is told from one that works
by its name, which is libxdp's, and by nobody holding it: whoever uses libxdp keeps a descriptor of
the program, which stands in /proc.  Only that is removed; what else is attached there belongs to
somebody.

Worst case: a process that cannot be seen, in another PID namespace but the same network namespace,
is taken for a dead one.  Processes whose descriptors may not be read are taken for holders.
"""

import ctypes
import os
import platform
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tickpath.backend import TransportError
from tickpath_backends import interface, netlink

LIBXDP_NAMES = ("xsk_def_prog", "xdp_dispatcher")
"""What libxdp (and libbpf before it) calls programs that lead to AF_XDP sockets."""
DRIVER = "net_af_xdp"
UNKNOWN = "unknown"

_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_GET_PROGRAM, _GET_INFO = 13, 15  # BPF_PROG_GET_FD_BY_ID, BPF_OBJ_GET_INFO_BY_FD
_INFO_BYTES, _NAME = 256, slice(64, 80)  # of bpf_prog_info
_SET_LINK, _XDP, _XDP_FD, _XDP_FLAGS, _NESTED = 19, 43, 1, 3, 0x8000
_LINK = struct.Struct("=BxHiII")  # family, hardware type, index, flags, change
_MODES = {"generic": 1 << 1, "native": 1 << 2, "hardware": 1 << 3}
"""XDP_FLAGS_*_MODE of what `interface.find` says."""
_IP_WORDS = {"generic": "xdpgeneric", "native": "xdpdrv", "hardware": "xdpoffload"}


class Program(NamedTuple):
    """An XDP program on an interface."""

    interface: str
    ifindex: int
    mode: str
    number: int
    name: str
    is_held: bool
    """Whether a process has it, as far as can be seen."""

    @property
    def is_left_over(self) -> bool:
        """Whether it is of a process that was killed."""
        return self.name in LIBXDP_NAMES and not self.is_held

    @property
    def removal(self) -> str:
        """The command that takes it away."""
        return f"ip link set dev {self.interface} {_IP_WORDS.get(self.mode, 'xdp')} off"

    def __str__(self) -> str:
        return f"XDP program {self.name} (id {self.number})"


def program_on(name: str) -> Program | None:
    """The XDP program on an interface, if there is one.  Raises `TransportError`."""
    found = interface.find(name)
    if found.xdp_mode is None:
        return None
    number = found.xdp_program
    held = is_held(number)
    return Program(name, found.ifindex, found.xdp_mode, number, _name_of(number), held)


def left_over() -> list[Program]:
    """Those on all interfaces of this network namespace that nobody is behind any more."""
    found = []
    for _, name in socket.if_nameindex():
        try:
            program = program_on(name)
        except TransportError:  # gone meanwhile
            continue
        if program is not None and program.is_left_over:
            found.append(program)
    return found


def remove(program: Program) -> None:
    """Take it off its interface.  Raises `TransportError`."""
    flags = _MODES.get(program.mode, 0)
    xdp = netlink.pack(_XDP_FD, struct.pack("=i", -1))
    xdp += netlink.pack(_XDP_FLAGS, struct.pack("=I", flags))
    body = _LINK.pack(0, 0, program.ifindex, 0, 0) + netlink.pack(_XDP | _NESTED, xdp)
    try:
        netlink.ask(_SET_LINK, body, netlink.ACKNOWLEDGE)
    except OSError as error:
        raise TransportError(
            f"dpdk: {program.interface}: {program} of a killed process cannot be removed: "
            f"{error.strerror}; run: sudo {program.removal}"
        ) from None


def _name_of(number: int) -> str:
    """A program's name; `UNKNOWN` where that may not be asked."""
    call = _SYS_BPF.get(platform.machine())
    if call is None:
        return UNKNOWN
    library = ctypes.CDLL(None, use_errno=True)
    ask = ctypes.create_string_buffer(struct.pack("=III", number, 0, 0), 128)
    descriptor = library.syscall(call, _GET_PROGRAM, ask, 128)
    if descriptor < 0:
        return UNKNOWN
    try:
        told = ctypes.create_string_buffer(_INFO_BYTES)
        request = struct.pack("=IIQ", descriptor, _INFO_BYTES, ctypes.addressof(told))
        ask = ctypes.create_string_buffer(request, 128)
        if library.syscall(call, _GET_INFO, ask, 128) < 0:
            return UNKNOWN
    finally:
        os.close(descriptor)
    return told.raw[_NAME].partition(b"\0")[0].decode(errors="replace") or UNKNOWN


def is_held(number: int, root: Path = Path("/proc")) -> bool:
    """Whether a process has a descriptor of a program, or has descriptors that cannot be seen."""
    line = f"prog_id:\t{number}\n"
    return any(text is None or line in text for text in _programs_held(root))


def _programs_held(root: Path) -> Iterator[str | None]:
    """What /proc says of each descriptor of a BPF program; None: it may not be read."""
    for process in root.iterdir():
        if not process.name.isdigit():
            continue
        try:
            descriptors = list((process / "fd").iterdir())
        except PermissionError:
            yield None
            continue
        except OSError:  # ended meanwhile
            continue
        for each in descriptors:
            try:
                if "bpf" in os.readlink(each):
                    yield (process / "fdinfo" / each.name).read_text()
            except OSError:  # closed meanwhile
                continue

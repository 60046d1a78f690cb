"""What an interface answers to AF_XDP, in words: modes, refusals, privilege, other programs.

A mode that is refused is no error while another one is left to try; all else ends the opening.
"""

import errno
import os
from dataclasses import dataclass

from tickpath.backend import TransportError
from tickpath_backends.interface import Interface

_COPY, _ZERO_COPY = 1 << 1, 1 << 2
_GENERIC, _NATIVE = 1 << 1, 1 << 2
CAPABILITIES = {12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW", 39: "CAP_BPF"}
_CAP_SYS_ADMIN, _CAP_BPF = 21, 39


@dataclass(frozen=True)
class Mode:
    """A way to receive: flags of the attachment and of the sockets' bind."""

    name: str
    attach: int
    bind: int


MODES = (
    Mode("zero-copy", _NATIVE, _ZERO_COPY),
    Mode("native", _NATIVE, _COPY),
    Mode("generic", _GENERIC, _COPY),
)


class RefusedError(Exception):
    """The interface does not offer a mode."""


def lacking_capabilities() -> list[str]:
    """Those of `CAPABILITIES` that this process does not have."""
    try:
        with open("/proc/self/status") as status:
            line = next(each for each in status if each.startswith("CapEff:"))
        effective = int(line.split()[1], 16)
    except (OSError, StopIteration, ValueError):
        return []  # not known: opening will say
    held = {bit for bit in range(64) if effective >> bit & 1}
    if _CAP_SYS_ADMIN in held:
        held.add(_CAP_BPF)
    return [name for bit, name in CAPABILITIES.items() if bit not in held]


def privilege(what: str) -> TransportError:
    needed = ", ".join(CAPABILITIES.values())
    return TransportError(f"afxdp: {what}: not permitted; it takes root, or {needed}")


def socket_error(code: int, step: str, card: Interface, queue: int, mode: Mode) -> Exception:
    """What a queue's socket could not be opened for."""
    if code in (errno.EPERM, errno.EACCES):
        return privilege(f"{card.name}: {step}")
    if step == "bind" and code == errno.EBUSY:
        return TransportError(
            f"afxdp: queue {queue} of {card.name} is taken by another program's AF_XDP socket"
        )
    if step == "bind" and code == errno.ENETDOWN:
        return TransportError(f"{card.name} is down; run: sudo ip link set {card.name} up")
    if step == "bind" and (code == errno.EOPNOTSUPP or mode.bind & _ZERO_COPY):
        return RefusedError(_in_words(code))
    if step == "bind" and code == errno.EINVAL:
        return TransportError(f"transport.afxdp.queues: {card.name} has no queue {queue}")
    if code in (errno.ENOBUFS, errno.ENOMEM):
        return TransportError(
            f"afxdp: {step}: no memory may be locked for packets; run: ulimit -l unlimited"
        )
    return TransportError(f"afxdp: {card.name} queue {queue}: {step}: {_in_words(code)}")


def attach_error(code: int, card: Interface, mode: Mode) -> Exception:
    """What the program could not be attached for."""
    if code in (errno.EPERM, errno.EACCES):
        return privilege(f"{card.name}: attaching the program")
    if code in (errno.EBUSY, errno.EEXIST):
        return TransportError(
            f"afxdp: another XDP program is on {card.name}; "
            f"run: sudo ip link set dev {card.name} xdp off, or stop the program that put it there"
        )
    reason = {
        errno.ERANGE: f"the MTU of {card.name} or its peer is too large",
        errno.ENOSPC: f"{card.name} has fewer receive queues than its peer sends by",
    }.get(code, _in_words(code))
    if mode.attach == _NATIVE:
        return RefusedError(reason)
    return TransportError(f"afxdp: {card.name}: attaching the program: {reason}")


def _in_words(code: int) -> str:
    return os.strerror(code).lower()

"""Network namespaces without names: each lives as long as somebody holds its file open.

The invariant: the thread that entered a namespace has left it when `inside` is over, whatever
happened there.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tickpath.backend import BackendError

OURS = "/proc/thread-self/ns/net"
_CLONE_NEWNET = 0x4000_0000


def _call(name: str, *arguments: int) -> None:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        reason = os.strerror(ctypes.get_errno())
        raise BackendError(
            f"a private network namespace cannot be had ({name}: {reason}): run as root, in a "
            "container with --privileged"
        )


def _ours() -> int:
    """The open file of the namespace that this thread is in."""
    return os.open(OURS, os.O_RDONLY | os.O_CLOEXEC)


def enter(namespace: int) -> None:
    """Put this thread into a network namespace, for good.  Raises `BackendError`."""
    _call("setns", namespace, _CLONE_NEWNET)


@contextmanager
def inside(namespace: int | None) -> Iterator[None]:
    """This thread, and what it starts, in a network namespace for a while; None: where it is."""
    if namespace is None:
        yield
        return
    before = _ours()
    try:
        enter(namespace)
        try:
            yield
        finally:
            enter(before)
    finally:
        os.close(before)


def made() -> int:
    """The open file of a network namespace that is nobody's yet.  Raises `BackendError`."""
    before = _ours()
    try:
        _call("unshare", _CLONE_NEWNET)
        try:
            return _ours()
        finally:
            enter(before)
    finally:
        os.close(before)

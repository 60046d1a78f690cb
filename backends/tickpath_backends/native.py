"""The native part of a transport, as it was built: whether it is there, and what it offers.

A module that was built from other sources than those in the checkout is refused: its records could
differ from what Python expects.
"""

import importlib
from types import ModuleType

from tickpath.backend import RUN, TransportError
from tickpath_backends import build


def why_not(name: str) -> str | None:
    """Why a transport's native part cannot be used, and the command that mends it; None: it can."""
    command = f"{build.COMMAND} {name}"
    try:
        module = importlib.import_module(f"tickpath_backends._{name}")
    except ImportError as error:
        missing = build.lacking(name)
        if missing:
            return f"its native part is not built: {missing[0]}{RUN}{missing[1]}"
        if isinstance(error, ModuleNotFoundError):
            return f"its native part is not built{RUN}{command}"
        return f"its native part cannot be loaded: {error}{RUN}{command}"
    if build.source(name).exists():
        built_from = module.ffi.string(module.lib.SOURCES).decode()
        if built_from != build.sources_digest(name):
            return f"its native part was built from other sources than these{RUN}{command}"
    return None


def load(name: str) -> ModuleType:
    """The native part: a cffi module with ``ffi`` and ``lib``.  Raises `TransportError`."""
    if reason := why_not(name):
        raise TransportError(f"{name}: {reason}")
    return importlib.import_module(f"tickpath_backends._{name}")


def address(module: ModuleType, function: str) -> int:
    """Where a C function is."""
    return int(module.ffi.cast("uintptr_t", module.ffi.addressof(module.lib, function)))

"""A user's strategy: found by name, compiled to machine code, called by address.

    @njit
    def mine(engine, book, kind, flags): ...

is called for every message that had an effect: ``kind`` and ``flags`` are those of
`tickpath.event`, ``book`` is the book's number.  It reads through `tickpath.view`, keeps integers
in ``view.state(engine)`` and asks for orders through `tickpath.emit`.  A strategy that raises is
latched off for the rest of the run, its intents of that message are dropped, and the run goes on.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher

from tickpath.invoke import ARGUMENTS, SIGNATURE
from tickpath.jit import HOT


class StrategyError(ValueError):
    """A strategy that cannot be found or compiled; the message says which and why."""


def _module(name: str) -> Any:
    """The module of a dotted name or of a path to a file."""
    if not name.endswith(".py"):
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        return importlib.import_module(name)
    path = Path(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError(f"no file {name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def find(name: str) -> Callable[..., Any]:
    """The function that ``MODULE:NAME`` or ``FILE.py:NAME`` names.  Raises `StrategyError`."""
    where, _, attribute = name.rpartition(":")
    if not where or not attribute:
        raise StrategyError(f"strategy {name!r}: expected MODULE:NAME or FILE.py:NAME")
    try:
        return getattr(_module(where), attribute)
    except AttributeError:
        raise StrategyError(f"strategy {name}: {where} has no function {attribute}") from None
    except Exception as error:  # whatever the user's module raises when it is imported
        raise StrategyError(
            f"strategy {name}: {where} cannot be imported: {type(error).__name__}: {error}"
        ) from None


class Strategy:
    """A compiled strategy; `address` is what the engine calls."""

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        """Compile ``function``, which may be jitted already.  Raises `StrategyError`."""
        self.name = name or getattr(function, "__name__", "strategy")
        if not callable(function):
            raise StrategyError(f"strategy {self.name}: is not a function")
        jitted: Any = function if isinstance(function, Dispatcher) else njit(**HOT)(function)
        try:
            jitted.compile(ARGUMENTS)
        except Exception as error:  # Numba's own, and what Python raises where Numba asks it
            raise StrategyError(
                f"strategy {self.name}: does not compile as (engine, book, kind, flags): "
                + _first_lines(error)
            ) from None
        result = jitted.overloads[ARGUMENTS]
        if result.signature.return_type != SIGNATURE.return_type:
            raise StrategyError(
                f"strategy {self.name}: returns {result.signature.return_type}; it must return "
                "nothing, orders are asked for through tickpath.emit"
            )
        self._jitted = jitted  # keeps the machine code
        name_in_library = result.fndesc.llvm_func_name
        self.address = np.uint64(result.library.get_pointer_to_function(name_in_library))


def _first_lines(error: Exception) -> str:
    """The reason without Numba's long trail."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("Failed in", "During:", "^"))]
    return "; ".join(kept[:4])


def load(name: str) -> Strategy:
    """Find and compile a strategy by name.  Raises `StrategyError`."""
    return Strategy(find(name), name)

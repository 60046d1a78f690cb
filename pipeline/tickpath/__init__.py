"""tickpath: exchange packets in, risk-checked orders out.

    from tickpath import Config, Engine

The names are loaded when they are used, so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickpath.config import Config, ConfigError, load_config
    from tickpath.engine import Book, Engine
    from tickpath.strategy import StrategyError

__version__ = "0.1.0"

__all__ = ["Book", "Config", "ConfigError", "Engine", "StrategyError", "load_config"]

_HOME = {
    "Book": "engine",
    "Config": "config",
    "ConfigError": "config",
    "Engine": "engine",
    "StrategyError": "strategy",
    "load_config": "config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tickpath' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"tickpath.{_HOME[name]}"), name)

"""The software executor: the Numba pipeline on the calling thread, the reference for all others."""

from typing import Any

import numpy as np

from tickpath.config import Config
from tickpath.engine import Engine
from tickpath.profile import Profile


class SoftwareExecutor:
    """Runs lent packets through one `Engine`."""

    def __init__(self, config: Config, *, profile: Profile | None = None, **options: Any) -> None:
        """``options`` go to `Engine`.  Raises `ConfigError`, `StrategyError`.

        What a hardware ``profile`` says is in the configuration (`tickpath.profile_config`).
        """
        self.engine = Engine(config, **options)

    @staticmethod
    def why_not() -> str | None:
        """It runs wherever the package is installed."""
        return None

    def run(self, packets: np.ndarray, first: int) -> int:
        """Take lent packets from number ``first`` on; gives the number to go on with."""
        return self.engine.advance(packets, first)

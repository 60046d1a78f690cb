"""Kill switches that outlive the process: a crash does not take an operator's kill back.

A file in the trader's directory has every switch that is not reset, with who and why; it is
replaced as a whole, and by the time a kill is answered it is on the disk.  At the start each is
given to the engine again as the same command.
"""

import os
from pathlib import Path

import msgspec

from tickpath.config import ConfigError
from tickpath.engine import Engine

NAME = "kill-switches.json"


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One switch: the fields of the control command ``kill``."""

    scope: str
    symbol: str
    level: int
    who: str
    why: str


class Latch:
    """The switches of one directory.  Raises `ConfigError` where their file cannot be read."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.error: str | None = None
        """Why the file cannot be written, once that has happened."""
        self.switches: list[Switch] = []
        try:
            self.switches = msgspec.json.decode(self.path.read_bytes(), type=list[Switch])
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from None
        except msgspec.MsgspecError as error:
            raise ConfigError(
                f"{self.path}: is damaged ({error}); it says which kill switches were latched: "
                "delete it to begin without any"
            ) from None

    def apply(self, engine: Engine) -> None:
        """Latch them in an engine."""
        for switch in self.switches:
            engine.command("kill", **msgspec.structs.asdict(switch))

    def set(self, who: str, why: str, scope: str, symbol: str, level: int) -> None:
        """Note a switch that was set or, with level 0, reset; a global reset is of that one only.

        What cannot be written is said in `error`; the engine's switch is set all the same.
        """
        kept = [each for each in self.switches if (each.scope, each.symbol) != (scope, symbol)]
        if level:
            kept.append(Switch(scope, symbol, level, who, why))
        self.switches = kept
        beside = self.path.with_suffix(".new")
        try:
            with beside.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(msgspec.json.encode(kept))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            self.error = None
        except OSError as error:
            self.error = f"{self.path}: cannot be written: {error.strerror}"

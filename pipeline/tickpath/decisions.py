"""The gate's decisions from the engine's ring into an audit file.

    decisions = Decisions(path, config, strategy="module:name")
    engine = Engine(config, strategy=..., on_audit=decisions.write)
    ...
    decisions.close()

Each record of the ring (`layout.AUDIT`) is one record of the file (`tickpath.audit`), in the order
in which the intents were decided.  A file that cannot be written keeps its records in the ring, and
``risk.audit_full`` says what happens when that is full; `error` is why.
"""

from typing import Any

import numpy as np

from tickpath import __version__, emit
from tickpath.audit import AuditError, AuditWriter, Hint
from tickpath.config import Config
from tickpath.layout import AUDIT
from tickpath.risk import Reject

HINTS = {
    "ts_event": Hint("since_midnight", "ns"),
    "symbol": Hint("symbol"),
    "price": Hint("decimal:4", "USD"),
    "reference_px": Hint("decimal:4", "USD"),
    "quantity": Hint(unit="shares"),
    "position": Hint(unit="shares"),
    "kind": Hint("code:kind"),
    "side": Hint("character"),
    "code": Hint("code:reject"),
}
TABLES = {
    "kind": {
        str(emit.NEW): "new",
        str(emit.CANCEL): "cancel",
        str(emit.REPLACE): "replace",
        str(emit.MODIFY): "modify",
    },
    "reject": {str(each.value): each.name for each in Reject},
}


class Decisions:
    """An audit file that an engine's decisions go to."""

    def __init__(
        self,
        path: str,
        config: Config,
        *,
        strategy: str | None = None,
        key: bytes | None = None,
        fsync: Any = "interval",
        stops_on_error: bool = True,
    ) -> None:
        """Open or continue the file.  Raises `AuditError`.

        ``stops_on_error``: a failing write raises; else it is kept in `error`, and the engine goes
        on by its rule.
        """
        identity = {
            "build": __version__,
            "configuration": config.digest(),
            "strategy": strategy or "",
            "tables": TABLES,
        }
        self.path = path
        self.error: AuditError | None = None
        self._stops_on_error = stops_on_error
        self._writer = AuditWriter(path, AUDIT, identity, key, fsync, hints=HINTS)

    @property
    def records(self) -> int:
        """Records in the file."""
        return self._writer.records

    @property
    def head(self) -> str:
        """Hash of all that is in the file, in hex."""
        return self._writer.head

    def write(self, records: np.ndarray, lost: int = 0) -> bool:
        """Append decisions; ``lost`` were made before them and had no room.  False: not written."""
        try:
            self._writer.append(records, lost)
        except AuditError as error:
            self.error = error
            if self._stops_on_error:
                raise
            return False
        self.error = None
        return True

    def close(self) -> None:
        """Seal the file.  Raises `AuditError`."""
        self._writer.close()

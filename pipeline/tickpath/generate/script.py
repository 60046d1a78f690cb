"""A list of what is to be said at which time, each entry exactly one message.

So what is left of the list is known at any moment, and the flow can be given the rest of the plan.
Messages that depend on nothing but the plan are encoded when the list is written; the others
(`IMBALANCE`, `CROSS`, `COLLAR`) are left to `auction` when their time has come.
"""

import numpy as np

from tickpath.generate.state import SCRIPT
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath.wire.table import Message

SAY, STATE, OPERATIONAL, IMBALANCE, CROSS, COLLAR, LAST = range(7)
"""What an entry does besides being said: nothing; set the trading state or the operational halt to
its argument; say an imbalance or a cross of the type in its argument, or a collar with that many
extensions; wait until the flow has said all it had to."""

_BLOCK = MOLDUDP64["message_block"]


class Script:
    """The list in the making: entries and the prepared bytes they refer to."""

    def __init__(self) -> None:
        self._entries: list[np.ndarray] = []
        self._prepared: list[bytes] = []
        self._size = 0

    def say(self, message: Message, records: np.ndarray, times, action=SAY, argument=0) -> None:
        """Add one entry for each of the prepared ``records`` (of the message's dtype)."""
        n = len(records)
        framed = np.zeros(n, [("block", _BLOCK.dtype), ("message", message.dtype)])
        framed["block"]["message_length"] = message.length
        framed["message"] = records
        framed["message"]["message_type"] = message.type.encode()
        entries = self._timed(n, times, action, argument)
        entries["message"] = self._size + framed.itemsize * np.arange(n)
        entries["length"] = message.length
        entries["code"] = ord(message.type)
        self._prepared.append(framed.tobytes())
        self._size += framed.nbytes

    def say_one(self, name: str, time: int, action=SAY, argument=0, symbol=0, **values) -> None:
        """Add one message, given by its fields, about the symbol with that index."""
        message = ITCH50[name]
        record = np.frombuffer(message.encode(**values), message.dtype)
        self.say(message, record, time, action, argument)
        self._entries[-1]["symbol"] = symbol

    def act(self, symbols, times, action: int, argument: int) -> None:
        """Add entries whose message is made when their time has come."""
        entries = self._timed(len(symbols), times, action, argument)
        entries["symbol"] = symbols

    def _timed(self, n: int, times, action: int, argument: int) -> np.ndarray:
        entries = np.zeros(n, SCRIPT)
        entries["time"], entries["action"], entries["argument"] = times, action, argument
        entries["message"] = -1
        self._entries.append(entries)
        return entries

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """(entries in the order of time, prepared bytes)."""
        entries = np.concatenate(self._entries)
        entries = entries[np.argsort(entries["time"], kind="stable")]
        return entries, np.frombuffer(b"".join(self._prepared), np.uint8)


def locate_field(message: Message) -> str:
    """What a message calls its stock locate: Reg SHO's has a name of its own."""
    return message.fields[1].name

"""The number of a new order: what an exchange takes no second time, and what must only rise."""

from tickpath.session.ouch_message import Dialect, Kind
from tickpath.wire.table import WireError

NEW_ORDERS = (Kind.ENTER, Kind.REPLACE)
_REF = "user_ref_num"
_NEW_NAMES = ("enter_order", "replace_order")


class Numbers:
    """Numbers of one protocol's orders."""

    def __init__(self, dialect: Dialect):
        self._dialect = dialect
        new = [dialect.inbound[name] for name in _NEW_NAMES]
        # OUCH 5.0 has the number as it is, so nothing else of the message has to be read.
        self._fields = {
            ord(each.type): (each.length, each[_REF].offset, each[_REF].offset + each[_REF].size)
            for each in new
            if _REF in each.by_name
        }
        self._codes = {ord(each.type) for each in new}

    def of(self, message: bytes) -> int | None:
        """The number of a new order; None where the message is none, or is not whole."""
        code = message[0]
        if code not in self._codes:
            return None
        if code in self._fields:
            length, begin, end = self._fields[code]
            return int.from_bytes(message[begin:end], "big") if len(message) >= length else None
        try:
            return self._dialect.request(message).number
        except WireError:
            return None

"""Who logs in: a user name, and a password that no text of the program ever shows."""

import hmac


class Secret:
    """Text that shows itself only to `reveal`: not in repr, str, format, errors or pickles."""

    __slots__ = ("_text",)

    def __init__(self, text: str):
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the wire."""
        return self._text

    def equals(self, other: "Secret | str") -> bool:
        """Compare in a time that does not tell how much of it was right."""
        text = other.reveal() if isinstance(other, Secret) else other
        return hmac.compare_digest(self._text.encode("latin-1", "replace"), text.encode())

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return repr(self)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")

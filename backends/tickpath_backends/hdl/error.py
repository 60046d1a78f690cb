"""What goes wrong with the hardware's sources and tools."""


class HdlError(RuntimeError):
    """A source, tool or package that is missing or refuses; the message says what to do."""

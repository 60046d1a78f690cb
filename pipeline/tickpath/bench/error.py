"""What can stop a benchmark, in one line each: what could not be measured, and what to do."""


class BenchError(RuntimeError):
    """A benchmark that cannot be made here; the message is one line for the user."""

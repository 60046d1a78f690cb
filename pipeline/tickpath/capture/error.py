"""What a user can do wrong with a capture, in one line each: path, what, and what to do."""


class CaptureError(Exception):
    """A capture that cannot be read or written; the message is one line for the user."""

"""Who logs in: a user name, and a password that no text of the program ever shows.

    [file, owner-only]           username = "TRADER"
                                 password = "..."
    [environment]                TICKPATH_USERNAME, TICKPATH_PASSWORD

Never from the command line, which every user of the machine can read.  A file is checked on the
open file itself, so that nobody can exchange it in between.  No error quotes what it complains
about: it may be the password in the wrong place.
"""

import hmac
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tickpath.session.error import SessionError
from tickpath.wire.soupbintcp import SOUPBINTCP

USERNAME, PASSWORD = "TICKPATH_USERNAME", "TICKPATH_PASSWORD"
MAX_FILE_BYTES = 4096

_REQUEST = SOUPBINTCP["login_request"]
_KEYS = ("username", "password")


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
        return hmac.compare_digest(self._text.encode(), text.encode())

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return repr(self)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


class Credentials(msgspec.Struct, frozen=True):
    """A user name and its password."""

    username: str
    password: Secret


def load_credentials(
    path: str | Path | None = None, environment: Mapping[str, str] = os.environ
) -> Credentials:
    """From the file where one is named, or else from the environment.

    Raises `SessionError`, which says what to do.
    """
    return from_environment(environment) if path is None else from_file(path)


def from_environment(environment: Mapping[str, str] = os.environ) -> Credentials:
    """From ``TICKPATH_USERNAME`` and ``TICKPATH_PASSWORD``.  Raises `SessionError`."""
    missing = [name for name in (USERNAME, PASSWORD) if not environment.get(name)]
    if missing:
        raise SessionError(
            f"no credentials: {' and '.join(missing)} not set in the environment; set "
            f"{'them' if len(missing) > 1 else 'it'}, or name a file with the two lines "
            'username = "..." and password = "..." that only its owner can read'
        )
    return _checked(environment[USERNAME], environment[PASSWORD], "the environment")


def from_file(path: str | Path) -> Credentials:
    """From a TOML file that only its owner, who runs this, can read.  Raises `SessionError`."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SessionError(f"credentials {path}: cannot be opened: {error.strerror}") from None
    try:
        _check_permissions(path, os.fstat(file))
        content = os.read(file, MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SessionError(f"credentials {path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(file)
    if len(content) > MAX_FILE_BYTES:
        raise SessionError(f"credentials {path}: more than {MAX_FILE_BYTES} bytes; not such a file")
    try:
        values = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        values = {}
    if set(values) != set(_KEYS) or not all(isinstance(values[key], str) for key in _KEYS):
        raise SessionError(
            f'credentials {path}: takes exactly two lines: username = "..." and password = "..."'
        )
    return _checked(values["username"], values["password"], str(path))


def _check_permissions(path: str | Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SessionError(f"credentials {path}: not a regular file")
    if status.st_uid != os.geteuid():
        raise SessionError(
            f"credentials {path}: belongs to another user; run: chown {os.geteuid()} {path}"
        )
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        raise SessionError(
            f"credentials {path}: others can use it (mode {mode:04o}); run: chmod 600 {path}"
        )


def _checked(username: str, password: str, source: str) -> Credentials:
    values = {"username": username, "password": password}
    for name, value in values.items():
        room = _REQUEST[name].size
        if not 0 < len(value) <= room or not value.isascii() or not value.isprintable():
            raise SessionError(
                f"credentials from {source}: the {name} has 1 to {room} printable ASCII characters"
            )
    return Credentials(username, Secret(password))

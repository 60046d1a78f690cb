"""The configuration with which `tickpath trade` finds a venue that runs.

It names this venue's addresses, and a directory for this session alone: what an earlier day left
is another session's.  A file that was not written here is left as it is.
"""

from pathlib import Path
from typing import Any

from tickpath.exchange.error import ExchangeError

MARK = "# Written by `tickpath exchange --trade-config`"

_TEXT = """{mark} for session {session}: written anew with every start.

[trade]
feed = "{feed}"
feed_session = "{session}"
interface = "{interface}"
requests = "{requests}"
{glimpse}orders = "{ouch}"
drop_copy = "{drop_copy}"
directory = "tickpath-trade-{session}"

{lines}[orders]
protocol = "{protocol}"

[strategy]
# Of tickpath.samples:two_sided_quoter: book, shares, ticks behind the best price.
parameters = [1, 100, 1]
"""


def text(where: dict[str, Any]) -> str:
    """The file for a venue's addresses (`server.Server.addresses`)."""
    names = ("feed", "requests", "ouch", "drop_copy")
    addresses = {name: "{}:{}".format(*where[name]) for name in names}
    glimpse, line_b = where["glimpse"], where["feed_b"]
    lines = '[feed]\nlines_b = {{ "{}" = "{}:{}" }}\n\n'
    return _TEXT.format(
        mark=MARK,
        glimpse="" if glimpse is None else 'glimpse = "{}:{}"\n'.format(*glimpse),
        lines="" if line_b is None else lines.format(addresses["feed"], *line_b),
        session=where["session"],
        interface=where["interface"],
        protocol=where["protocol"],
        **addresses,
    )


def write(path: str, where: dict[str, Any]) -> None:
    """Write the file, or write it anew.  Raises `ExchangeError`."""
    file = Path(path)
    try:
        if file.exists() and not file.read_text(errors="replace").startswith(MARK):
            raise ExchangeError(
                f"--trade-config: {path}: was not written by this option; name another file"
            )
        file.write_text(text(where))
    except OSError as error:
        why = error.strerror or error
        raise ExchangeError(f"--trade-config: {path}: cannot be written: {why}") from None

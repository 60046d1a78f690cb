"""A result as one HTML file that a person can open anywhere: offline, nothing loaded, nothing sent.

    write_report(path, result)         a ``tickpath.replay/1`` object, with its ``series``
    write_bench_report(path, result)   a ``tickpath.bench/1`` object
    write_wire_report(path, result)    a ``tickpath.wire/1`` object

The file carries plotly (the extra ``report``), its style and its data: about 5 MB.  A key that is
absent or null leaves out its panel, and the page says so.  What comes from the input (symbols,
paths, notes) is escaped on its way into the page and once more on its way into plotly.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tickpath.report.markup import NO_PLOTLY, ReportError

__all__ = [
    "ReportError",
    "require_plotly",
    "write_bench_report",
    "write_report",
    "write_wire_report",
]


def require_plotly() -> None:
    """Raise `ReportError` where plotly is missing: to be asked before a long run, not after it."""
    if find_spec("plotly") is None:
        raise ReportError(NO_PLOTLY)


def write_report(path: str | Path, result: Mapping[str, Any]) -> Path:
    """Write the report of a replay.

    ``result`` is the ``tickpath.replay/1`` object; its optional ``series`` holds

    - ``histograms`` {name: {``value_ns``: rising upper edges of the non-empty buckets, ``count``}},
      as `latency.buckets` gives them, for ``tick_to_order``, ``response`` and each stage;
    - ``timeline`` {``t_s``: end of each interval in seconds since the run began, and per interval
      ``messages``, ``orders``, ``tick_to_order_ns_p50``, ``_p99``, ``_max`` (null where none)};
    - ``symbols`` [{``symbol``, ``messages``, ``orders``, ``position``, ...}], busiest first.

    Optional too: ``findings``, a list of sentences to show beside those read off the counters.
    Raises `ReportError` where plotly is missing, the result is another one, or the file cannot be
    written.
    """
    from tickpath.report.replay import SCHEMA, replay_page

    _expect(result, SCHEMA)
    return replay_page(result).write(path)


def write_bench_report(path: str | Path, result: Mapping[str, Any]) -> Path:
    """Write the report of a benchmark: a ``tickpath.bench/1`` object.

    ``results`` [{``name``, ``ns_per_message``, ``messages_per_second``, ``runs`` (ns per message
    of each), ``verified`` (null: not checked), ``note``}], ``curves`` [{``name``, ``x_label``,
    ``x``, ``ns_per_message``}], ``latency`` as ``histograms`` above (the first is emphasised),
    ``environment``.  Raises `ReportError` as `write_report` does.
    """
    from tickpath.report.bench import SCHEMA, bench_page

    _expect(result, SCHEMA)
    return bench_page(result).write(path)


def write_wire_report(path: str | Path, result: Mapping[str, Any]) -> Path:
    """Write the report of a wire-to-wire measurement: a ``tickpath.wire/1`` object.

    Raises `ReportError` as `write_report` does.
    """
    from tickpath.report.wire import SCHEMA, wire_page

    _expect(result, SCHEMA)
    return wire_page(result).write(path)


def _expect(result: Mapping[str, Any], schema: str) -> None:
    if result.get("schema") != schema:
        raise ReportError(f"not a {schema} result: its schema is {result.get('schema')!r}")

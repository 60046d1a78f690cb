"""The page: HTML that is escaped unless it says it is HTML, tables, panels, plots, one file.

Every string that is not `Html` is escaped when it is put into an element, so that a symbol or a
path from the input cannot become markup.  The finished page carries its style, its script and
plotly; a content security policy forbids the browser to load anything.
"""

import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)


NO_PLOTLY = "the HTML report needs plotly: run  pip install 'tickpath[report]'"
_HALF = '<section class="half'


class ReportError(RuntimeError):
    """A report that cannot be made: no plotly, not a result, or a file that cannot be written."""


class Html(str):
    """Text that is HTML already."""


def escaped(value: Any) -> Html:
    """The value as HTML; only `Html` passes as it is."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """An element; ``class_`` and ``aria_label`` stand for ``class`` and ``aria-label``."""
    given = "".join(
        f' {key.strip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def joined(parts: Iterable[Any]) -> Html:
    """The parts one after another."""
    return Html("".join(escaped(part) for part in parts))


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], text_columns: int = 1) -> Html:
    """A table whose first ``text_columns`` columns are text and whose others are numbers."""

    def cells(kind: str, row: Sequence[Any]) -> Html:
        return joined(
            tag(kind, value, class_=None if place < text_columns else "number")
            for place, value in enumerate(row)
        )

    head = tag("thead", tag("tr", cells("th", heads)))
    body = tag("tbody", joined(tag("tr", cells("td", row)) for row in rows))
    return tag("div", tag("table", head, body), class_="scroll")


def bar(part: float, largest: float) -> Html:
    """A horizontal bar for a table's cell, as long as ``part`` is of ``largest``."""
    width = 100 * part / largest if largest > 0 else 0
    filled = tag("span", style=f"width:{width:.2f}%")
    return tag("span", filled, class_="bar", aria_hidden="true")


def definitions(pairs: Mapping[str, str]) -> Html:
    """Terms and what they mean."""
    items = (part for term, text in pairs.items() for part in (tag("dt", term), tag("dd", text)))
    return tag("dl", *items)


@dataclass
class Page:
    """A report while it is put together: panels in order, and the figures they refer to."""

    title: str
    subtitle: str
    panels: list[Html] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, part: Html) -> None:
        """Put something between the panels."""
        self.panels.append(part)

    def panel(self, title: str, explanation: str, *content: Html, half: bool = False) -> None:
        """A titled panel; the explanation says what is seen and how to read it."""
        parts = (tag("h2", title), tag("p", explanation, class_="explanation"), *content)
        self.panels.append(tag("section", *parts, class_="half panel" if half else "panel"))

    def left_out(self, title: str, reason: str, *, half: bool = False) -> None:
        """Say in a line why a panel is not there."""
        content = (tag("h2", title), tag("p", "Left out: " + reason, class_="missing"))
        self.panels.append(tag("section", *content, class_="half panel" if half else "panel"))

    def plot(self, figure: dict[str, Any], label: str) -> Html:
        """The place of a plotly figure, drawn when the page opens."""
        self.figures.append(figure)
        height = figure["layout"]["height"]
        needs_script = tag("noscript", tag("p", "This plot needs JavaScript.", class_="missing"))
        return tag(
            "div",
            needs_script,
            id=f"figure-{len(self.figures) - 1}",
            class_="plot",
            style=f"height:{height}px",
            role="img",
            aria_label=label,
        )

    def render(self) -> str:
        """The whole file."""
        body = joined(
            (
                tag("header", tag("h1", self.title), tag("p", self.subtitle, class_="subtitle")),
                tag("main", *_in_columns(self.panels)),
                tag("script", Html(_json(self.figures)), type="application/json", id="figures"),
                tag("script", Html(_plotly())) if self.figures else "",
                tag("script", Html(_resource("page.js"))),
            )
        )
        head = joined(
            (
                Html('<meta charset="utf-8">'),
                Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
                Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
                Html('<meta name="color-scheme" content="light dark">'),
                tag("title", self.title),
                tag("style", Html(_resource("page.css"))),
            )
        )
        return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'

    def write(self, path: str | Path) -> Path:
        """Write the page; `ReportError` where that fails, and nothing is left half written."""
        target, text = Path(path), self.render()
        part = target.with_name(target.name + ".part")
        try:
            part.write_text(text, encoding="utf-8", errors="replace")
            part.replace(target)
        except OSError as error:
            reason = error.strerror or str(error)
            part.unlink(missing_ok=True)
            raise ReportError(
                f"{target}: cannot write the report: {reason}; name another file"
            ) from None
        return target


def _in_columns(panels: Iterable[Html]) -> Iterator[Html]:
    """The panels, neighbouring half-width ones put together so that they flow in two columns."""
    for is_half, group in groupby(panels, lambda panel: panel.startswith(_HALF)):
        if is_half:
            yield tag("div", *group, class_="columns")
        else:
            yield from group


def _json(value: Any) -> str:
    """JSON that can stand inside a script element: no ``<`` in it, so nothing can close it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python's own."""
    return value.tolist()


def _resource(name: str) -> str:
    return resources.files("tickpath.report").joinpath(name).read_text(encoding="utf-8")


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise ReportError(NO_PLOTLY) from None
    return get_plotlyjs()

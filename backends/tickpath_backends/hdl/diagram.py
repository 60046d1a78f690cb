"""The chain as a drawing: its blocks side by side, what each is made of, the nets between them.

Everything in it is read from the sources (`structure`); only the order from left to right is the
way of the data.  Colours are those of the page's style sheet, so the drawing is dark where it is.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from tickpath.report.markup import Html, joined, tag
from tickpath_backends.hdl.structure import Module, links, tree

TOP, CORE = "wire_top", "chain"
DEPTH = 2
"""How far down modules are listed."""
ROW, WIDTH, NARROW, GAP, PAD = 19, 288, 118, 46, 14
HEAD = 66
NAMES = 4
"""Nets that a link's label names."""


class Row(NamedTuple):
    """A line of a block: a module within it."""

    depth: int
    module: str
    is_generated: bool
    number: int = 1


class Box(NamedTuple):
    """A block with its place."""

    name: str
    module: str
    note: str
    rows: Sequence[Row]
    x: int
    width: int


def drawing(
    modules: Mapping[str, Module], generated: frozenset[str], notes: Mapping[str, str]
) -> Html:
    """The drawing as SVG; ``notes`` has a line for each module that is a block."""
    boxes, x = [], PAD
    flow = _in_order(modules)
    for name, module in flow:
        is_end = module not in {each.module for each in modules[CORE].instances}
        width = NARROW if is_end else WIDTH
        rows = [] if is_end else _rows(modules, module, generated)
        boxes.append(Box(name, module, notes.get(module, ""), rows, x, width))
        x += width + GAP
    height = HEAD + ROW * max(len(box.rows) for box in boxes) + PAD
    under = _links_under(modules, boxes, height + 34)
    total = height + 34 + 30 * len(under) + PAD
    parts = [_core(boxes, height), *(_box(box, height) for box in boxes)]
    parts += [_arrow(a, b) for a, b in pairwise(boxes)]
    return tag(
        "svg",
        _ARROW,
        *parts,
        *under,
        viewBox=f"0 0 {x - GAP + PAD} {total}",
        role="img",
        aria_label="The blocks of the chain, their modules, and the nets between them",
        style="width:100%;height:auto;font:12.5px system-ui,sans-serif",
    )


_ARROW = Html(
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    ' orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="var(--accent)"/></marker></defs>'
)


def _in_order(modules: Mapping[str, Module]) -> list[tuple[str, str]]:
    """The blocks by the way of the data: those of the top, the core's in the core's place."""
    top = modules[TOP].instances
    made: list[tuple[str, str]] = []
    for each in top:
        if each.module == CORE:
            made += [(inner.name, inner.module) for inner in modules[CORE].instances]
        else:
            made.append((each.name, each.module))
    return made


def _rows(modules: Mapping[str, Module], top: str, generated: frozenset[str]) -> list[Row]:
    """The modules of a block; those of one kind side by side are one row."""
    rows: list[Row] = []
    seen: dict[tuple[int, str], int] = {}
    skipped: int | None = None
    for depth, each in tree(modules, top):
        if skipped is not None and depth > skipped:
            continue
        skipped = None
        if depth > DEPTH:
            continue
        key = (depth, each.module)
        behind = [row.depth for row in rows[seen.get(key, 0) + 1 :]]
        if key in seen and all(other > depth for other in behind):
            row = rows[seen[key]]
            rows[seen[key]] = row._replace(number=row.number + 1)
            skipped = depth
            continue
        seen[key] = len(rows)
        rows.append(Row(depth, each.module, each.module in generated))
    return rows


def _text(x: float, y: float, text: str, fill: str = "var(--ink)", **more: str) -> Html:
    return tag("text", text, x=x, y=y, fill=fill, **more)


def _box(box: Box, height: int) -> Html:
    middle = box.x + box.width / 2
    parts = [
        tag(
            "rect",
            x=box.x,
            y=PAD,
            width=box.width,
            height=height - PAD,
            rx=8,
            fill="var(--panel)",
            stroke="var(--accent)",
        ),
        _text(middle, PAD + 21, box.module, text_anchor="middle", font_weight="600"),
        _text(middle, PAD + 39, box.note, "var(--accent)", text_anchor="middle"),
    ]
    for n, row in enumerate(box.rows):
        y = HEAD + ROW * n
        left = box.x + 12 + 16 * row.depth
        fill = "var(--level-0)" if row.is_generated else "var(--soft)"
        ink = "var(--ink)"
        text = row.module if row.number == 1 else f"{row.number} of {row.module}"
        parts.append(
            tag(
                "rect",
                x=left,
                y=y,
                width=box.x + box.width - 12 - left,
                height=ROW - 3,
                rx=3,
                fill=fill,
                fill_opacity="0.55" if row.is_generated else None,
            )
        )
        parts.append(_text(left + 7, y + 12.5, text, ink))
    return joined(parts)


def _core(boxes: Sequence[Box], height: int) -> Html:
    """The ground of what runs in the core's clock."""
    inner = [box for box in boxes if box.width == WIDTH]
    left, right = inner[0].x - GAP / 4, inner[-1].x + WIDTH + GAP / 4
    return tag(
        "rect",
        x=left,
        y=3,
        width=right - left,
        height=height + 8,
        rx=12,
        fill="var(--soft)",
        stroke="var(--line)",
    )


def _arrow(source: Box, target: Box) -> Html:
    y = PAD + 26
    return tag(
        "path",
        d=f"M{source.x + source.width + 3},{y} H{target.x - 4}",
        stroke="var(--accent)",
        stroke_width="3",
        marker_end="url(#tip)",
    )


def _links_under(modules: Mapping[str, Module], boxes: Sequence[Box], top: int) -> list[Html]:
    """Lines below the blocks: which nets go from where to where within the core."""
    places = {box.name: box for box in boxes}
    made: list[Html] = []
    for (source, target), nets in sorted(links(modules, CORE).items()):
        a, b = places[source], places[target]
        start, end = a.x + a.width / 2, b.x + b.width / 2
        y = top + 30 * len(made)
        more = len(nets) - NAMES
        named = ", ".join(nets[:NAMES]) + (f" and {more} more" if more > 0 else "")
        line = tag(
            "path",
            d=f"M{start},{y} H{end}",
            stroke="var(--accent)",
            stroke_width="1.5",
            marker_end="url(#tip)",
        )
        label = _text(
            (start + end) / 2, y - 5, f"{len(nets)}: {named}", "var(--muted)", text_anchor="middle"
        )
        made.append(joined((line, label)))
    return made

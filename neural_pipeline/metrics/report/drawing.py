"""Drawing with matplotlib: SVG that stands inside a page, takes its colours from it, and is the same for equal data."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from io import StringIO
from typing import Any
from xml.etree import ElementTree

Axes = Any
"""matplotlib's Axes, whose own types leave most arguments open."""

WIDTH, HEIGHT = 480, 260
"""Units of the drawing; at 360 pixels of a phone its text is still ten pixels tall."""

INK, MUTED, LINE, SURFACE = "#010101", "#010102", "#010103", "#010104"
SERIES = ("#010111", "#010112", "#010113", "#010114", "#010115")
GOOD, BAD, NEUTRAL = SERIES[0], SERIES[1], "#010116"
"""Marks that page.css has the colours for: those of Okabe and Ito, which the colour-blind can tell apart."""

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    SURFACE: "var(--surface)",
    NEUTRAL: "var(--neutral)",
    **{colour: f"var(--series-{place})" for place, colour in enumerate(SERIES, start=1)},
}
"""Colours that nothing else has stand for variables of the page, which knows whether it is light or dark."""

_LOOKS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "neural_pipeline",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 15.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
    "grid.color": LINE,
    "legend.frameon": False,
    "legend.handlelength": 0.9,
    "legend.handleheight": 0.9,
    "legend.columnspacing": 1.2,
    "legend.borderpad": 0.1,
    "legend.borderaxespad": 0.2,
}

_PREFIX = re.compile(r"^\{[^}]*\}")
_MARK = re.compile("#[0-9a-f]{6}")
_DIGITS = re.compile(r"(?<=\.\d\d)\d+")
_REFERENCE = re.compile(r"#([\w.-]+)")


_MOST_TICKS = 5
_MOST_BARS = 70
_LEGEND_CHARACTERS = 54


Series = Sequence[tuple[str, Sequence[float | None]]]
"""Names, as the legend has them, and values, one per place; None where there is nothing to tell."""


def drawn(draw: Callable[[Axes], None], *, name: str, title: str) -> str:
    """Return what `draw` puts into one pair of axes as an SVG element, with `name` in all its ids."""
    matplotlib: Any = import_module("matplotlib")  # takes a second
    written = StringIO()
    with warnings.catch_warnings():
        # Names may be in scripts that the font of the measuring has not; the browser has them.
        warnings.filterwarnings("ignore", message="Glyph")
        with matplotlib.rc_context(_defaults(matplotlib) | _LOOKS):
            _draw_into(written, draw)
    return _for_a_page(written.getvalue(), name=name, title=title)


def _defaults(matplotlib: Any) -> dict[str, Any]:
    """Return matplotlib's own settings: a matplotlibrc of the user's or of the current folder is for other drawings."""
    warnings.filterwarnings("ignore", category=matplotlib.MatplotlibDeprecationWarning)
    return {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")}


def _draw_into(written: StringIO, draw: Callable[[Axes], None]) -> None:
    figures: Any = import_module("matplotlib.figure")
    figure = figures.Figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained")
    draw(figure.add_subplot())
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


def _for_a_page(svg: str, *, name: str, title: str) -> str:
    root = ElementTree.fromstring(svg)  # noqa: S314 - matplotlib wrote it
    used = {
        match for element in root.iter() for value in element.attrib.values() for match in _REFERENCE.findall(value)
    }
    for element in root.iter():
        element.tag = _PREFIX.sub("", element.tag)
        for style in [child for child in element if child.tag.endswith(("metadata", "style"))]:
            element.remove(style)
        element.attrib = _attributes(element.attrib, name=name, used=used)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title}
    heading = ElementTree.Element("title")
    heading.text = title
    root.insert(0, heading)
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(found: Mapping[str, str], *, name: str, used: set[str]) -> dict[str, str]:
    """Return attributes with this page's colours and fonts, and with ids, if anything refers to them, of this chart."""
    kept: dict[str, str] = {}
    for attribute, value in found.items():
        key = _PREFIX.sub("", attribute)
        if key == "id":
            if value in used:
                kept[key] = f"{name}-{value}"
        elif key == "style":
            kept[key] = _style(value)
        elif key == "href" or "url(#" in value:
            kept[key] = value.replace("#", f"#{name}-")
        elif not value.startswith("rotate(-0 "):
            kept[key] = _DIGITS.sub("", " ".join(value.split()))
    return kept


def _style(value: str) -> str:
    parts = [part for part in value.split("; ") if not part.startswith("font-family")]
    return _MARK.sub(lambda mark: _VARIABLES.get(mark[0], mark[0]), "; ".join(parts))


def bars_by_place(axes: Axes, series: Series, *, colours: Sequence[str], places: Sequence[str]) -> None:
    """Stack series over places that follow one another, like days, of which those without a name get no tick.

    Bars become areas where there are many.
    """
    bottom = [0.0] * len(places)
    xs = range(len(places))
    handles: list[Any] = []
    for (_, values), colour in zip(series, colours, strict=False):
        top = [below + (value or 0) for below, value in zip(bottom, values, strict=True)]
        if len(places) > _MOST_BARS:
            handles.append(axes.fill_between(xs, bottom, top, step="mid", color=colour, linewidth=0))
        else:
            handles.append(axes.bar(xs, [value or 0 for value in values], bottom=bottom, width=0.8, color=colour))
        bottom = top
    _finish_upright(axes, places)
    _put_legend(axes, handles, series)


def lines_by_place(axes: Axes, series: Series, *, colours: Sequence[str], places: Sequence[str]) -> None:
    """Draw series as lines over places that follow one another, with gaps where there is nothing to tell."""
    marker = "o" if len(places) <= _MOST_BARS else ""
    handles: list[Any] = []
    for (_, values), colour in zip(series, colours, strict=False):
        heights = [float("nan") if value is None else value for value in values]
        handles += axes.plot(range(len(places)), heights, color=colour, linewidth=2, marker=marker, markersize=5)
    axes.set_xlim(-0.5, len(places) - 0.5)
    _finish_upright(axes, places)
    _put_legend(axes, handles, series)


def bars_by_name(axes: Axes, series: Series, *, colours: Sequence[str], places: Sequence[str]) -> None:
    """Stack series as horizontal bars, one per place, the first on top, each with its sum at its end."""
    left = [0.0] * len(places)
    handles: list[Any] = []
    for (_, values), colour in zip(series, colours, strict=False):
        widths = [value or 0 for value in values]
        handles.append(axes.barh(range(len(places)), widths, left=left, height=0.7, color=colour))
        left = [before + width for before, width in zip(left, widths, strict=True)]
    for place, end in enumerate(left):
        axes.annotate(f"{end:,.0f}", (end, place), xytext=(4, 0), textcoords="offset points", va="center", color=MUTED)
    axes.set_yticks(range(len(places)), list(places), color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, max(left, default=0) * 1.16 or 1)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    _put_legend(axes, handles, series)


def _finish_upright(axes: Axes, places: Sequence[str]) -> None:
    ticker: Any = import_module("matplotlib.ticker")
    named = [place for place, name in enumerate(places) if name]
    ticks = named[:: max(1, -(-len(named) // _MOST_TICKS))]
    axes.set_xticks(ticks, [places[tick] for tick in ticks])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(ticker.MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    axes.grid(axis="y")


def _put_legend(axes: Axes, handles: Sequence[Any], series: Series) -> None:
    """Name each of several series: matplotlib on its own leaves out names that begin with an underscore."""
    labels = [label for label, _ in series][: len(handles)]
    if len(handles) > 1:
        columns = max(1, _LEGEND_CHARACTERS // (max(map(len, labels)) + 4))
        axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=min(columns, len(labels)))

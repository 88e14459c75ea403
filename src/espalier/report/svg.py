"""SVG by hand: elements as strings, scales from values to pixels, ticks, and labels that do not collide.

No chart library and no script: a figure is one string that any browser shows without a network. Colours come from CSS
classes (`theme`), so that one drawing serves light, dark and paper. Every text that enters is escaped here.
"""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

# What a page must not pass on from a teacher: control characters, lone surrogates (no UTF-8), and the marks that turn the
# reading direction of what follows them.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Drawing:
    """The inside of a figure with its size in pixels; `label` says in words what it shows."""

    width: float
    height: float
    body: str
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Places values low..high on the pixels start..end (end < start for an upward axis), on a log scale if asked."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (self._inner(number) for number in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def _inner(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def escape(words: object) -> str:
    """Text that is safe inside an element or a quoted attribute."""
    return html.escape(UNSAFE.sub("\ufffd", str(words)), quote=True)


def element(name: str, children: str = "", **attributes: object) -> str:
    """One element; `class_` is written class, underscores become hyphens, None leaves an attribute out.

    `children` is markup, not text: escape text before.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"' for key, value in attributes.items() if value is not None
    )
    return f"<{name}{written}>{children}</{name}>" if children else f"<{name}{written}/>"


def text(x: float, y: float, words: object, *, class_: str | None = None, anchor: str | None = None) -> str:
    """One line of text with its baseline at y; anchor: middle or end, None for the start."""
    return element("text", escape(words), x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, *, class_: str) -> str:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: float, y: float, width: float, height: float, *, class_: str) -> str:
    return element("rect", x=x, y=y, width=max(width, 0.0), height=height, rx=1.5, class_=class_)


def polyline(points: Sequence[tuple[float, float]], *, class_: str) -> str:
    return element("polyline", points=" ".join(f"{_short(x)},{_short(y)}" for x, y in points), class_=class_)


def group(*children: str, class_: str | None = None, title: str | None = None, shift: tuple[float, float] | None = None) -> str:
    """Elements together; `title` is shown when the pointer rests on them."""
    tip = element("title", escape(title)) if title else ""
    transform = f"translate({_short(shift[0])} {_short(shift[1])})" if shift else None
    return element("g", tip + "".join(children), class_=class_, transform=transform)


def marker(kind: int, x: float, y: float, *, radius: float = 5.0, class_: str = "solid") -> str:
    """A mark whose shape tells a recipe as its colour does: circle, square, diamond, triangle, then the same again."""
    r = radius
    if kind % 4 == 0:
        return element("circle", cx=x, cy=y, r=r, class_=class_)
    corners = {
        1: ((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)), 2: ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
        3: ((0, -1.2), (1.15, 0.9), (-1.15, 0.9)),
    }[kind % 4]
    return element("polygon", points=" ".join(f"{_short(x + r * dx)},{_short(y + r * dy)}" for dx, dy in corners), class_=class_)


def svg(drawing: Drawing, *, style: str = "") -> str:
    """The drawing as an element of a page; with `style` (CSS) as a file of its own."""
    children = (element("style", style) if style else "") + drawing.body
    return element(
        "svg", children, xmlns="http://www.w3.org/2000/svg" if style else None,
        viewBox=f"0 0 {_short(drawing.width)} {_short(drawing.height)}",
        width=drawing.width if style else None, height=drawing.height if style else None,
        style=None if style else f"--chart-width:{_short(drawing.width)}px", class_="chart", role="img", aria_label=drawing.label,
    )


def ticks(low: float, high: float, *, at_most: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside low..high.

    >>> ticks(-0.03, 0.12, at_most=4)
    [0.0, 0.05, 0.1]
    """
    rough = (high - low) / at_most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """The powers of ten inside low..high, low and high above 0."""
    return [10.0**power for power in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]


def spread(places: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """The places moved as little as needed to stand `gap` apart inside low..high, in the order given.

    >>> spread([10.0, 11.0, 50.0], gap=12, low=0, high=60)
    [10.0, 22.0, 50.0]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for before, i in zip([None, *order], order, strict=False):
        moved[i] = max(moved[i], low if before is None else moved[before] + gap)
    for after, i in zip([None, *reversed(order)], reversed(order), strict=False):
        moved[i] = min(moved[i], high if after is None else moved[after] - gap)
    return moved


def cut(words: str, letters: int) -> str:
    """The words, their end given up for an ellipsis when they have more letters."""
    return words if len(words) <= letters else words[: letters - 1].rstrip() + "\u2026"


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value

"""Charts of a report: an SVG that stretches, labels as HTML around it, and a table behind it.

Labels are not in the drawing, so that they stay as large on a phone as on a wide screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 1_000.0, 300.0
_TICKS = 4
_LONE = 5.0
_COLOURS = 8

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart; ``None`` leaves a gap."""

    name: str
    values: Values


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart over time.

    Args:
        unit: stands after the title.
        times_s: the seconds of the points.
        stacked: areas on top of each other, in place of lines.
        logarithmic: each step of the scale is ten times the one before.
        number: writes a value, on the scale and in the table.
    """

    title: str
    unit: str
    note: str
    times_s: Sequence[float]
    lines: Sequence[Line]
    number: Callable[[float], str]
    stacked: bool = False
    logarithmic: bool = False

    def html(self) -> str:
        """Return the chart as an HTML ``figure``."""
        lines = [line for line in self.lines if any(value for value in line.values)]
        drawn = self._drawn(lines) if lines and len(self.times_s) > 1 else _nothing()
        unit = f' <span class="unit">{escape(self.unit)}</span>' if self.unit else ""
        return (
            f"<figure><figcaption>{escape(self.title)}{unit}</figcaption>"
            f'<p class="note">{escape(self.note)}</p>{drawn}{self._table()}</figure>'
        )

    def _drawn(self, lines: Sequence[Line]) -> str:
        tops = _stack(lines) if self.stacked else [line.values for line in lines]
        scale = _Scale.over([value for top in tops for value in top if value], self.logarithmic)
        colours = {line.name: number for number, line in enumerate(self.lines)}
        shapes = [
            self._shape(scale, tops, number, colours[line.name] % _COLOURS)
            for number, line in enumerate(lines)
        ]
        shapes = shapes[::-1] if self.stacked else shapes
        grid = "".join(
            f'<line x1="0" x2="{_WIDTH:g}" y1="{scale.y(tick):.1f}" y2="{scale.y(tick):.1f}"/>'
            for tick in scale.ticks
        )
        ticks = "".join(
            f'<span style="top:{scale.y(tick) / _HEIGHT:.2%}">{escape(self.number(tick))}</span>'
            for tick in scale.ticks
        )
        legend = "".join(
            f'<span class="c{colours[line.name] % _COLOURS}"><i></i>{escape(line.name)}</span>'
            for line in lines
        )
        first_s, last_s = self.times_s[0], self.times_s[-1]
        named = [first_s + (last_s - first_s) * part / 4 for part in range(5)]
        times = "".join(f"<span>{seconds:.0f} s</span>" for seconds in named)
        label = escape(f"{self.title}: {', '.join(line.name for line in lines)}, over time")
        return (
            f'<div class="legend">{legend}</div><div class="plot"><div class="ticks">{ticks}</div>'
            f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" preserveAspectRatio="none" role="img" '
            f'aria-label="{label}"><g class="grid">{grid}</g>{"".join(shapes)}</svg></div>'
            f'<div class="times">{times}</div>'
        )

    def _shape(self, scale: _Scale, tops: Sequence[Values], number: int, colour: int) -> str:
        parts = [
            " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            for run in _runs(self._points(scale, tops[number]))
        ]
        if not self.stacked:
            return "".join(f'<polyline class="c{colour}" points="{part}"/>' for part in parts)
        below: Values = tops[number - 1] if number else [0.0] * len(self.times_s)
        back = [point for point in self._points(scale, below) if point is not None][::-1]
        floor = " ".join(f"{x:.1f},{y:.1f}" for x, y in back)
        return f'<polygon class="c{colour}" points="{" ".join(parts)} {floor}"/>'

    def _points(self, scale: _Scale, values: Values) -> list[tuple[float, float] | None]:
        first_s, last_s = self.times_s[0], self.times_s[-1]
        span_s = (last_s - first_s) or 1.0
        return [
            None if value is None else ((at_s - first_s) / span_s * _WIDTH, scale.y(value))
            for at_s, value in zip(self.times_s, values, strict=True)
        ]

    def _table(self) -> str:
        head = "".join(f'<th scope="col">{escape(line.name)}</th>' for line in self.lines)
        rows = []
        for number, at_s in enumerate(self.times_s):
            cells = "".join(
                f"<td>{'' if value is None else escape(self.number(value))}</td>"
                for value in (line.values[number] for line in self.lines)
            )
            rows.append(f'<tr><th scope="row">{at_s:.0f} s</th>{cells}</tr>')
        return table(f"<tr><th>Time</th>{head}</tr>", "".join(rows))


def bars(title: str, note: str, rows: Sequence[tuple[str, int]], total: int) -> str:
    """Return horizontal bars of counts, each with its share of a total, as a ``figure``."""
    most = max((count for _, count in rows), default=0)
    drawn = "".join(
        f'<div class="bar"><span class="name">{escape(name)}</span>'
        f'<span class="track"><i style="width:{count / most:.2%}"></i></span>'
        f'<span class="count">{count:,} <small>{count / total:.1%}</small></span></div>'
        for name, count in rows
        if most and total
    )
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{count:,}</td></tr>' for name, count in rows
    )
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<p class="note">{escape(note)}</p>{drawn or _nothing()}'
        f"{table('<tr><th>Reason</th><th>Executions</th></tr>', cells)}</figure>"
    )


def table(head: str, rows: str) -> str:
    """Return a table that is folded until somebody opens it; both texts are rows of HTML."""
    return (
        '<details><summary>Table</summary><div class="wide"><table>'
        f"<thead>{head}</thead><tbody>{rows}</tbody></table></div></details>"
    )


def _nothing() -> str:
    return '<p class="nothing">Nothing to show.</p>'


@dataclass(frozen=True, slots=True)
class _Scale:
    """The scale of the values: from its first tick to its last one."""

    ticks: tuple[float, ...]
    logarithmic: bool

    @classmethod
    def over(cls, values: Sequence[float], logarithmic: bool) -> _Scale:
        highest = max(values, default=1.0)
        if logarithmic:
            low = math.floor(math.log10(max(min(values, default=1.0), 0.1)))
            high = max(low + 1, math.ceil(math.log10(max(highest, 0.1))))
            return cls(tuple(10.0**power for power in range(low, high + 1)), logarithmic)
        step = _round_step(highest / _TICKS)
        count = max(1, math.ceil(highest / step - 1e-9))
        return cls(tuple(step * number for number in range(count + 1)), logarithmic)

    def y(self, value: float) -> float:
        """Return how far from the top a value is drawn."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            value, low, high = (math.log10(max(one, self.ticks[0])) for one in (value, low, high))
        return _HEIGHT * (1 - (value - low) / (high - low))


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2 and 5, times a power of ten, that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _stack(lines: Sequence[Line]) -> list[list[float]]:
    tops: list[list[float]] = []
    below = [0.0] * len(lines[0].values)
    for line in lines:
        below = [base + (value or 0.0) for base, value in zip(below, line.values, strict=True)]
        tops.append(below)
    return tops


def _runs(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """Return the points between gaps; a lone one is drawn as a short line."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run if len(run) > 1 else _short_line(*run[0]) for run in runs if run]


def _short_line(x: float, y: float) -> list[tuple[float, float]]:
    return [(max(0.0, x - _LONE), y), (min(_WIDTH, x + _LONE), y)]

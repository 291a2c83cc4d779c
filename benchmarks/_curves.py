"""Curves as a plain SVG: one panel per title, time on a logarithmic axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, GAP = 320, 220, 52, 44, 24
COLOURS = ("#c0392b", "#2471a3", "#1e8449", "#7d3c98")


@dataclass(frozen=True)
class Curve:
    """One line of one panel."""

    panel: str
    name: str
    x: list[float]  # above 0, rising
    y: list[float]  # 0 to 1


def write_svg(path: Path, curves: list[Curve], x_title: str, y_title: str) -> None:
    """Write the panels side by side."""
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    names = list(dict.fromkeys(curve.name for curve in curves))
    colours = dict(zip(names, COLOURS, strict=False))
    low = math.floor(math.log10(min(curve.x[0] for curve in curves)))
    high = math.ceil(math.log10(max(curve.x[-1] for curve in curves)))
    parts = []
    for number, panel in enumerate(panels):
        left = number * (WIDTH + LEFT + GAP) + LEFT
        parts += [_text(left + WIDTH / 2, 16, panel, "middle"), _axes(left, low, high, x_title, y_title)]
        for curve in (curve for curve in curves if curve.panel == panel):
            points = " ".join(
                f"{left + WIDTH * (math.log10(x) - low) / (high - low):.1f},{_height(y):.1f}"
                for x, y in zip(curve.x, curve.y, strict=True)
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colours[curve.name]}" stroke-width="2"/>')
        for i, name in enumerate(names):
            parts.append(_text(left + WIDTH - 6, _height(0.06 + 0.08 * i), name, "end", colours[name]))
    size = f'width="{len(panels) * (WIDTH + LEFT + GAP)}" height="{HEIGHT + BOTTOM + 24}"'
    style = 'font-family="sans-serif" font-size="12"'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(parts) + "\n</svg>\n")


def _axes(left: float, low: int, high: int, x_title: str, y_title: str) -> str:
    parts = [f'<rect x="{left}" y="24" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>']
    for power in range(low, high + 1):
        x = left + WIDTH * (power - low) / (high - low)
        parts += [_text(x, HEIGHT + 40, f"{10.0**power:g}", "middle"), _line(x, 24, x, 24 + HEIGHT)]
    for tenth in range(0, 11, 2):
        parts += [_text(left - 6, _height(tenth / 10) + 4, f"{tenth / 10:g}", "end")]
        parts += [_line(left, _height(tenth / 10), left + WIDTH, _height(tenth / 10))]
    parts.append(_text(left + WIDTH / 2, HEIGHT + 58, x_title, "middle"))
    middle = 24 + HEIGHT / 2
    parts.append(f'<g transform="rotate(-90 {left - 34} {middle})">{_text(left - 34, middle, y_title, "middle")}</g>')
    return "\n".join(parts)


def _height(y: float) -> float:
    return 24 + HEIGHT * (1 - y)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'

"""Draws a soak as lines over time, readable on light and on dark pages."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .note { fill: #57606a } .page { fill: #ffffff; stroke: #d0d7de }
.grid { stroke: #d0d7de } polyline { fill: none; stroke-width: 1.5 }
.ours { stroke: #0969da } .second { stroke: #bf3989 } .other { stroke: #8c959f }
.ours-name { fill: #0969da } .second-name { fill: #bf3989 } .other-name { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #9198a1 } .page { fill: #0d1117; stroke: #30363d } .grid { stroke: #30363d }
  .ours { stroke: #4493f8 } .second { stroke: #db61a2 } .other { stroke: #6e7681 }
  .ours-name { fill: #4493f8 } .second-name { fill: #db61a2 } .other-name { fill: #6e7681 }
}
"""
WIDTH, MARGIN, LABELS, PLOT, HEAD = 1000, 20, 60, 110, 40
KINDS: Final = ("ours", "second", "other")
MB: Final = 1e6
# title, and for each line: its name, the key in a sample, and what one of the unit is
PANELS: Final[Sequence[tuple[str, Sequence[tuple[str, str, float]]]]] = (
    ("Memory of its own, MB", (("memory", "memory", MB),)),
    ("Open files and threads", (("files", "files", 1), ("threads", "threads", 1))),
    ("Store on disk, MB", (("database", "db", MB), ("WAL", "wal", MB))),
    (
        "Lateness, ms, in log scale",
        (("p99", "late_p99", 1), ("p50", "late_p50", 1), ("a plain timer's p99", "timer_p99", 1)),
    ),
    ("Acknowledged jobs that wait for their time", (("jobs", "live", 1),)),
)


def draw(soak: Mapping[str, Any]) -> str:
    """Return the plot of a soak's document."""
    samples = soak["samples"]
    each = HEAD + PLOT + MARGIN
    height = MARGIN + each * len(PANELS) + MARGIN
    minutes = samples[-1]["at_s"] / 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<title>{minutes:.0f} minutes at {soak['rate']:,.0f} jobs a second</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
    ]
    for number, (title, lines) in enumerate(PANELS):
        parts.append(f'<g transform="translate({MARGIN} {MARGIN + each * number})">')
        parts += [*_panel(title, lines, samples, log="log scale" in title), "</g>"]
    end = height - MARGIN / 2
    parts.append(f'<text class="note" x="{MARGIN + LABELS}" y="{end}">0</text>')
    parts.append(f'<text class="note" x="{WIDTH - MARGIN}" y="{end}" text-anchor="end">{minutes:.0f} minutes</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    title: str, lines: Sequence[tuple[str, str, float]], samples: Sequence[Mapping[str, float]], *, log: bool
) -> list[str]:
    series = [[sample[key] / unit for sample in samples] for _, key, unit in lines]
    most = max(max(values) for values in series) or 1.0
    room = WIDTH - 2 * MARGIN - LABELS

    def y(value: float) -> float:
        if log:
            share = max(0.0, _log(max(value, 0.1)) - _log(0.1)) / max(1e-9, _log(max(most, 0.2)) - _log(0.1))
        else:
            share = value / most
        return HEAD + PLOT * (1 - share)

    parts = [f'<text class="title" y="13">{title}</text>']
    x = LABELS
    for kind, (name, _, _) in zip(KINDS, lines, strict=False):
        parts.append(f'<text class="{kind}-name" x="{x}" y="31">{name}</text>')
        x += 20 + 8 * len(name)
    marks = [0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0] if log else [0.0, most / 2, most]
    for mark in marks:
        if mark <= most:
            parts.append(
                f'<line class="grid" x1="{LABELS}" x2="{LABELS + room}" y1="{y(mark):.1f}" y2="{y(mark):.1f}"/>'
            )
            parts.append(
                f'<text class="note" x="{LABELS - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{_figure(mark)}</text>'
            )
    length = samples[-1]["at_s"] or 1.0
    for kind, values in zip(KINDS, series, strict=False):
        points = (
            f"{LABELS + room * sample['at_s'] / length:.1f},{y(value):.1f}"
            for sample, value in zip(samples, values, strict=True)
        )
        parts.append(f'<polyline class="{kind}" points="{" ".join(points)}"/>')
    return parts


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _log(value: float) -> float:
    return math.log10(value)

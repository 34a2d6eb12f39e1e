"""`python -m peers.chart FIGURES.json PLOT.svg`, in bench/: horizontal bars, readable on light and on dark pages."""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from peers.tables import figure

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .note { fill: #57606a } .page { fill: #ffffff; stroke: #d0d7de }
.ours { fill: #0969da } .other { fill: #8c959f } .spread { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #9198a1 } .page { fill: #0d1117; stroke: #30363d }
  .ours { fill: #4493f8 } .other { fill: #6e7681 } .spread { stroke: #e6edf3 }
}
"""
WIDTH, MARGIN, LABELS, VALUES = 1000, 20, 190, 60
PANEL = (WIDTH - 3 * MARGIN) // 2
ROW, BAR, HEAD = 22, 14, 44
Systems = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of all systems."""

    title: str
    note: str
    keys: Sequence[str]  # the first that was measured
    log: bool = False


PANELS = (
    Panel("Acknowledged enqueues a second", "32 clients, one job each time; more is better", ("enqueue_rate",)),
    Panel("10,000 jobs due at once, jobs a second", "cron: 500; more is better", ("rate_10000", "rate_500")),
    Panel("CPU per delivered job, µs", "database included; less is better", ("cpu_us_10000", "cpu_us_500"), log=True),
    Panel("Lateness at 50 jobs a second, p99 in ms", "cron: 500 in a minute; less is better", ("late_p99",), log=True),
    Panel("Wake-ups a second when idle", "less is better", ("wakeups",)),
    Panel("Memory of all that must run, MB", "after 12,800 jobs; less is better", ("memory_mb",)),
)


def draw(systems: Systems) -> str:
    """Return the plot of what was measured."""
    systems = [system for system in systems if system["values"]]
    height_each = HEAD + ROW * len(systems) + MARGIN
    height = MARGIN + height_each * -(-len(PANELS) // 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
    ]
    for number, panel in enumerate(PANELS):
        x = MARGIN + (PANEL + MARGIN) * (number % 2)
        y = MARGIN + height_each * (number // 2)
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel, systems), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, systems: Systems) -> list[str]:
    rows = [(system["name"], values) for system in systems if (values := _values(panel, system))]
    known = [value for _, values in rows for value in values]
    scale = _Scale(max(known, default=1.0), min([value for value in known if value > 0], default=1.0), log=panel.log)
    note = f"{panel.note}; log scale" if panel.log else panel.note
    parts = [f'<text class="title" y="13">{panel.title}</text>', f'<text class="note" y="30">{note}</text>']
    for number, (name, values) in enumerate(rows):
        y = HEAD + ROW * number
        parts.append(f'<text x="{LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
        end, low, high = (scale.x(value) for value in (median(values), min(values), max(values)))
        kind = "ours" if name.startswith("fliqd") else "other"
        parts.append(f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{max(1.0, end):.1f}" height="{BAR}" rx="2"/>')
        middle = y + BAR / 2
        line = f'x1="{LABELS + low:.1f}" x2="{LABELS + high:.1f}" y1="{middle}" y2="{middle}"'
        parts.append(f'<line class="spread" {line}/>')
        parts.append(f'<text x="{LABELS + max(end, high) + 6:.1f}" y="{y + 12}">{figure(median(values))}</text>')
    return parts


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where a value is on the axis; one of powers begins a decade below the least."""

    most: float
    least: float
    log: bool

    def x(self, value: float) -> float:
        room = PANEL - LABELS - VALUES
        if not self.log:
            return room * value / (self.most or 1.0)
        start = math.floor(math.log10(self.least)) - 0.3
        return room * max(0.0, math.log10(max(value, 1e-9)) - start) / (math.log10(self.most) - start)


def _values(panel: Panel, system: dict[str, Any]) -> list[float]:
    return next((list(system["values"][key]) for key in panel.keys if key in system["values"]), [])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="peers.chart", description=__doc__)
    parser.add_argument("figures", type=Path)
    parser.add_argument("plot", type=Path)
    given = parser.parse_args()
    given.plot.write_text(draw(json.loads(given.figures.read_text(encoding="utf-8"))["systems"]), encoding="utf-8")

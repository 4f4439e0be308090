# SPDX-License-Identifier: MIT
"""An SVG of a run: requests a second and latency over the number of connections. Its colours follow the reader's
setting, light or dark."""
import math
from xml.sax.saxutils import escape

COLOURS = (("#1f6fb4", "#6cb4f0"), ("#c4501b", "#f59a64"), ("#2b8a3e", "#77d08a"), ("#8b3fa8", "#cf92e8"),
           ("#9a7400", "#e0bd4a"), ("#b3245f", "#f587b3"), ("#11808a", "#5fd0da"), ("#5b5b5b", "#b9b9b9"))
WIDTH, PANEL, HEIGHT, GAP, LEFT, TOP = 1000, 330, 250, 90, 70, 60
LEGEND = LEFT + 2 * PANEL + GAP + 24

STYLE = """
  .page, .hollow { fill: #ffffff } text { fill: #222222; font: 13px sans-serif } .title { font-size: 16px; font-weight: bold }
  .axis { stroke: #444444 } .grid { stroke: #dddddd } .line { fill: none; stroke-width: 2 }
  .p99 { stroke-dasharray: 6 4 } .p50, .p99, .rate { stroke-linejoin: round }
""" + "".join(f"  .c{i} {{ stroke: {light} }} .d{i} {{ fill: {light} }}\n" for i, (light, _) in enumerate(COLOURS)) + """
  @media (prefers-color-scheme: dark) {
    .page, .hollow { fill: #16191d } text { fill: #e4e4e4 } .axis { stroke: #aaaaaa } .grid { stroke: #3a3f45 }
""" + "".join(f"    .c{i} {{ stroke: {dark} }} .d{i} {{ fill: {dark} }}\n" for i, (_, dark) in enumerate(COLOURS)) + "  }\n"


def _text(x, y, words, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def _number(value):
    if value >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:g}"


class Scale:
    """Maps values to places along an axis. Logarithmic axes have a mark at 1, 2 and 5 of each ten."""

    def __init__(self, low, high, start, end, marks=None, logarithmic=True):
        self.start, self.end, self.logarithmic = start, end, logarithmic
        if marks is None and logarithmic:
            steps = [m * 10.0 ** e for e in range(-4, 7) for m in (1, 2, 5)]
            low = max((s for s in steps if s <= low), default=steps[0])
            high = min((s for s in steps if s >= high and s > low), default=steps[-1])
            marks = [s for s in steps if low <= s <= high]
        elif marks is None:
            step = 10.0 ** math.floor(math.log10(high))
            step = next(s for s in (step / 5, step / 2, step, step * 2) if high / s <= 7)
            low, high = 0, step * math.ceil(high / step)
            marks = [step * i for i in range(round(high / step) + 1)]
        self.low, self.high, self.marks = low, high, marks

    def __call__(self, value):
        if self.logarithmic:
            value, low, high = (math.log(v) for v in (max(value, self.low), self.low, self.high))
        else:
            low, high = self.low, self.high
        part = (value - low) / (high - low) if high > low else 0.5
        return self.start + part * (self.end - self.start)


def _panel(left, top, title, unit, x, y):
    """Frame, grid, labels of the axes."""
    out = [_text(left + PANEL / 2, top - 10, title, "middle")]
    for mark in y.marks:
        at = y(mark)
        out += [f'<line class="grid" x1="{left}" y1="{at:.1f}" x2="{left + PANEL}" y2="{at:.1f}"/>',
                _text(left - 6, at + 4, _number(mark), "end")]
    for mark in x.marks:
        at = x(mark)
        out += [f'<line class="axis" x1="{at:.1f}" y1="{top + HEIGHT}" x2="{at:.1f}" y2="{top + HEIGHT + 5}"/>',
                _text(at, top + HEIGHT + 20, _number(mark), "middle")]
    out += [f'<path class="axis" fill="none" d="M{left} {top}V{top + HEIGHT}H{left + PANEL}"/>',
            _text(left + PANEL / 2, top + HEIGHT + 40, "connections", "middle"),
            _text(left - 48, top + HEIGHT / 2, unit, "middle",
                  f' transform="rotate(-90 {left - 48} {top + HEIGHT / 2})"')]
    return out


def _line(points, kind, colour):
    """A series: its line, and a dot at each value."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dot = f"hollow c{colour}" if kind == "p99" else f"d{colour}"
    return [f'<polyline class="line {kind} c{colour}" points="{path}"/>'] + [
        f'<circle class="{dot}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]


def _row(top, cells, table, counts):
    """Two panels and the legend: rates on the left, percentiles on the right."""
    out = []
    lefts = LEFT, LEFT + PANEL + GAP
    xs = [Scale(min(counts), max(counts), left + 15, left + PANEL - 15, marks=counts) for left in lefts]
    rates = Scale(0, max(table[c][n]["rate"] for c in cells for n in counts) or 1, top + HEIGHT, top,
                  logarithmic=False)
    times = [table[c][n][p] for c in cells for n in counts for p in ("p50", "p99")]
    delays = Scale(max(min(times), 1e-3), max(max(times), 2e-3), top + HEIGHT, top)
    out += _panel(lefts[0], top, "served", "requests a second", xs[0], rates)
    out += _panel(lefts[1], top, "latency: p50, and p99 dashed", "ms", xs[1], delays)
    for i, cell in enumerate(cells):
        at = table[cell]
        out += _line([(xs[0](n), rates(at[n]["rate"])) for n in counts], "rate", i)
        for p in ("p50", "p99"):
            out += _line([(xs[1](n), delays(at[n][p])) for n in counts], p, i)
        y = top + 14 + 22 * i
        errors = sum(at[n]["errors"] for n in counts)
        out += [f'<line class="line c{i}" x1="{LEGEND}" y1="{y - 4}" x2="{LEGEND + 26}" y2="{y - 4}"/>',
                _text(LEGEND + 32, y, cell + (f", {errors} errors" if errors else ""))]
    return out


def draw(title, groups, table, counts):
    """The text of an SVG. groups: name to cells that are drawn together; table[cell][connections]: rate, p50,
    p99, errors; counts: the numbers of connections in order."""
    step = HEIGHT + 110
    height = TOP + 30 + step * len(groups)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
           f' viewBox="0 0 {WIDTH} {height}" role="img">',
           f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>",
           f'<rect class="page" width="{WIDTH}" height="{height}"/>',
           _text(LEFT, 28, title, more=' class="title"')]
    for i, (name, cells) in enumerate(groups.items()):
        top = TOP + 30 + step * i
        out += [_text(LEFT, top - 28, name, more=' class="title"')] + _row(top, cells, table, counts)
    return "\n".join(out + ["</svg>", ""])

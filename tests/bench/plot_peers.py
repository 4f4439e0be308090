#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""plot_peers.py [RESULT.json [NAME]] >docs/plot.svg: the bar chart of the README.

Without an argument it draws FIGURES. RESULT.json is what the yardstick writes with --json for the
targets php, fastapi, node and url:NAME=…; its medians are drawn, parley under NAME (one)."""
import json
import statistics
import sys
from xml.sax.saxutils import escape

# Requests a second with 16 connections: "Against other servers" in docs/internals/performance-scale.md.
FIGURES = {
    "parley": {"get": 44227, "page": 39845, "append": 6216, "create": 7815},
    "PHP (php-fpm)": {"get": 9781, "page": 4215, "append": 2745, "create": 2646},
    "FastAPI (uvicorn)": {"get": 5930, "page": 2826, "append": 1826, "create": 1858},
    "Node (fastify)": {"get": 14811, "page": 6365, "append": 2679, "create": 2995},
}
OPERATIONS = {"get": "get-session", "page": "list-messages", "append": "append-message", "create": "create-session"}
PEERS = {"php": "PHP (php-fpm)", "fastapi": "FastAPI (uvicorn)", "node": "Node (fastify)"}
COLOURS = (("#1f6fb4", "#6cb4f0"), ("#8a8f98", "#8a929c"), ("#b3b8bf", "#6b727b"), ("#d3d7dc", "#4c525a"))
WIDTH, LEFT, RIGHT, BAR = 760, 90, 90, 16


def from_result(path, name):
    """The figures of a run of the yardstick."""
    with open(path, encoding="utf-8") as f:
        samples = json.load(f)["samples"]
    return {label: {short: statistics.median(s["rps"] for s in samples[target][op])
                    for short, op in OPERATIONS.items() if op in samples[target]}
            for target, label in {name: "parley", **PEERS}.items()}


def text(x, y, words, more=""):
    return f'<text x="{x:.0f}" y="{y:.0f}"{more}>{escape(words)}</text>'


def draw(figures):
    """The SVG: a group of bars for each operation, one bar a server."""
    most = max(rate for rates in figures.values() for rate in rates.values())
    out, y = [], 70
    for i, label in enumerate(figures):
        x = LEFT + i * (WIDTH - LEFT) // len(figures)
        out += [f'<rect class="c{i}" x="{x}" y="40" width="12" height="12"/>', text(x + 18, 51, label)]
    for operation in next(iter(figures.values())):
        out.append(text(LEFT - 10, y + BAR * len(figures) / 2 + 5, operation, ' text-anchor="end"'))
        for i, rates in enumerate(figures.values()):
            width = (WIDTH - LEFT - RIGHT) * rates[operation] / most
            out += [f'<rect class="c{i}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}"/>',
                    text(LEFT + width + 6, y + BAR - 4, f"{rates[operation]:,.0f}")]
            y += BAR
        y += 14
    style = "".join(f".c{i} {{ fill: {light} }} " for i, (light, _) in enumerate(COLOURS))
    dark = "".join(f".c{i} {{ fill: {colour} }} " for i, (_, colour) in enumerate(COLOURS))
    title = "Requests a second, each server over PostgreSQL and Redis, 16 connections, two cores"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">',
        f"<title>{title}</title>",
        f"<style>.page {{ fill: #ffffff }} text {{ fill: #222222; font: 13px sans-serif }}",
        f".title {{ font-weight: bold }} {style}",
        f"@media (prefers-color-scheme: dark) {{ .page {{ fill: #16191d }} text {{ fill: #e4e4e4 }} {dark}}}</style>",
        f'<rect class="page" width="{WIDTH}" height="{y}"/>', text(LEFT, 22, title, ' class="title"'),
        *out, "</svg>"])


if __name__ == "__main__":
    print(draw(from_result(sys.argv[1], (sys.argv + ["one"])[2]) if len(sys.argv) > 1 else FIGURES))

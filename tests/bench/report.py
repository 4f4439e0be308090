# SPDX-License-Identifier: MIT
"""What came of a run: the machine, a table, and how it compares with a run that was saved."""
import glob
import os
import platform
import statistics
import subprocess

PERCENTILES = ("p50", "p90", "p99")
# A smaller difference between two runs is noise, even if the rounds of each are alike.
NOISE = 0.03


def _first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")[0]
    except OSError:
        return "unknown"


def machine(stack):
    """What the figures depend on."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
        models = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    with open("/proc/meminfo", encoding="ascii") as f:
        memory = int(f.readline().split()[1]) // 1024
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr.strip()
    return {"cores": os.cpu_count(), "cpu": models[0] if models else platform.machine(), "memory_mb": memory,
            "kernel": platform.release(), "load_at_start": round(os.getloadavg()[0], 2),
            "parley": _first_line(stack.parley.program, "--version"),
            "postgres": _first_line(stack.postgres.bin + "/postgres", "--version"),
            "redis": " ".join(_first_line("redis-server", "--version").split()[:3]),
            "nginx": nginx.rpartition(": ")[2],
            "wrk": _first_line("wrk", "-v").split(" Copyright")[0].strip(),
            "libraries": sorted({os.path.basename(os.path.realpath(p)) for name in ("pq", "hiredis", "fcgi")
                                 for p in glob.glob(f"/usr/lib/*/lib{name}.so.[0-9]*")})}


def machine_lines(found):
    """The same as text."""
    return [f"{found['cores']} cores ({found['cpu']}), {found['memory_mb']} MB, Linux {found['kernel']},"
            f" load {found['load_at_start']} at the start",
            ", ".join(found[name] for name in ("parley", "nginx", "postgres", "redis", "wrk"))]


def median_of(samples):
    """The median of each figure over the rounds; errors are added up."""
    found = {name: statistics.median(s[name] for s in samples) for name in ("rate", "max", *PERCENTILES)}
    found["errors"] = sum(s["errors"] for s in samples)
    found["cpu"] = {name: statistics.median(s["cpu"].get(name, 0) for s in samples)
                    for name in samples[0]["cpu"]}
    return found


def medians(samples):
    """samples[cell][connections] to the medians, with connections as numbers."""
    return {cell: {int(n): median_of(got) for n, got in by_n.items()} for cell, by_n in samples.items()}


def served_cpu(figures):
    """CPU microseconds of all servers for a request, without the load generator."""
    return sum(us for name, us in figures["cpu"].items() if name != "client")


def table_lines(table, floors):
    """One line for each cell and number of connections. floors: cell to the cell that it is compared with."""
    lines = [f"{'operation':17} {'conn':>5} {'rate/s':>8} {'p50 ms':>7} {'p90 ms':>7} {'p99 ms':>7} {'errors':>6}"
             f" {'of floor':>8}  CPU us a request"]
    for cell, by_n in table.items():
        for n, at in sorted(by_n.items()):
            floor = table.get(floors.get(cell), {}).get(n)
            share = f"{at['rate'] / floor['rate']:.2f}" if floor else "-"
            cpu = ", ".join(f"{name} {us:.0f}" for name, us in at["cpu"].items() if us >= 0.5)
            lines.append(f"{cell:17} {n:5} {at['rate']:8.0f} " + " ".join(f"{at[p]:7.2f}" for p in PERCENTILES)
                         + f" {at['errors']:6}{'!' if at['errors'] else ' '}{share:>8}  {cpu}")
    return lines


def _apart(old, new, pick):
    """Whether two sets of rounds do not overlap."""
    old, new = [pick(s) for s in old], [pick(s) for s in new]
    return min(new) > max(old) or max(new) < min(old)


def _ratio(old, new, pick):
    a, b = (statistics.median(map(pick, samples)) for samples in (old, new))
    if not a:
        return "   -  "
    ratio = b / a
    # One round says nothing about noise.
    known = min(len(old), len(new)) > 1
    mark = "*" if known and abs(ratio - 1) > NOISE and _apart(old, new, pick) else " "
    return f"{ratio:5.2f}{mark}"


def comparison_lines(old, new):
    """Ratios of two runs' samples, this one over the saved one, cell by cell."""
    lines = ["this run over the saved one; * outside of what the rounds of either differ by",
             f"{'operation':17} {'conn':>5} {'rate':>6} {'p50':>6} {'p90':>6} {'p99':>6} {'CPU':>6}"]
    for cell, by_n in new.items():
        for n, samples in by_n.items():
            before = old.get(cell, {}).get(n)
            if before:
                picks = [lambda s, name=name: s[name] for name in ("rate", *PERCENTILES)] + [served_cpu]
                lines.append(f"{cell:17} {n:>5} " + " ".join(_ratio(before, samples, p) for p in picks))
    if len(lines) == 2:
        lines.append("the two runs have nothing in common")
    return lines

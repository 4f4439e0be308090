#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""main.py: measures a whole stack of its own and prints a table; `make bench`. Options are environment
variables, since they are make's:

  SECONDS=3              length of one measurement
  ROUNDS=3               how often all of them are repeated; the table has medians
  CONNECTIONS=1,4,16,64  with how many connections, each
  OPS=get/one,…       what to measure; all by default
  OUT=build/bench        directory for bench.json
  COMPARE=FILE           a bench.json of an earlier run, to compare with

docs/internals/performance.md says what is measured, and how.
"""
import json
import os
import sys

sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/system")
import load
import report
from bench_stack import SETTINGS, BenchStack
from stack import ROOT, StackError

SESSIONS, MESSAGES = 1000, 50

# What is measured: name to parley's settings (None: parley is not used), operation, and its floor.
FLOOR_OF = {"get": "nginx", "state": "nginx", "page": "nginx", "append": "pg-append", "create": "pg-create"}
CELLS = {name: (None, name, None) for name in ("nginx", "pg-page", "pg-append", "pg-create")}
CELLS.update({f"{operation}/{setting}": (setting, operation, floor)
              for setting in SETTINGS for operation, floor in FLOOR_OF.items()})
FLOORS = {name: floor for name, (_, _, floor) in CELLS.items()}


class OptionError(Exception):
    """An option is not what it may be; says which."""


def _number(name, text, most):
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise OptionError(f"{name}={text}: it is a number from 1 to {most}")
    return int(text)


class Options:
    """The options of a run, read and checked before anything is started."""

    def __init__(self, given):
        self.seconds = _number("SECONDS", given.get("SECONDS") or "3", 3600)
        self.rounds = _number("ROUNDS", given.get("ROUNDS") or "3", 1000)
        self.connections = sorted({_number("CONNECTIONS", part.strip(), 1000) for part in
                                   (given.get("CONNECTIONS") or "1,4,16,64").split(",")})
        asked = [part.strip() for part in (given.get("OPS") or ",".join(CELLS)).split(",")]
        for name in asked:
            if name not in CELLS:
                raise OptionError(f"OPS: there is no {name!r}; known: {', '.join(CELLS)}")
        # Each comes with its floor.
        wanted = set(asked) | {FLOORS[name] for name in asked}
        self.cells = [name for name in CELLS if name in wanted]
        self.out = given.get("OUT") or ROOT + "/build/bench"
        self.compare = self._saved(given.get("COMPARE"))
        try:
            os.makedirs(self.out, exist_ok=True)
        except OSError as e:
            raise OptionError(f"OUT={self.out}: {e.strerror}") from None
        if not os.access(self.out, os.W_OK):
            raise OptionError(f"OUT={self.out}: it cannot be written to")

    @staticmethod
    def _saved(path):
        if not path:
            return None
        try:
            with open(path, encoding="utf-8") as f:
                saved = json.load(f)
            report.medians(saved["samples"])    # that it is what it should be
            return saved
        except OSError as e:
            raise OptionError(f"COMPARE={path}: {e.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise OptionError(f"COMPARE={path}: it is not a result of make bench") from None


def measure_cell(stack, name, connections, seconds):
    _, operation, _ = CELLS[name]
    if operation in load.STATEMENTS:
        return load.pgbench(stack, operation, connections, seconds, (1, SESSIONS))
    port = stack.constant_port if operation == "nginx" else stack.nginx.port
    return load.wrk(stack, port, operation, connections, seconds, (1, SESSIONS, 1))


def measure(stack, options):
    """samples[cell][connections]: one of each round. A round measures everything once, so that a disturbance
    of the machine affects all cells."""
    samples = {name: {str(n): [] for n in options.connections} for name in options.cells}
    settings = list(dict.fromkeys(CELLS[name][0] for name in options.cells))
    for turn in range(options.rounds):
        for setting in settings:
            # Without parley's settings parley is idle.
            stack.switch(setting or "one")
            cells = [name for name in options.cells if CELLS[name][0] == setting]
            for name in cells:
                with load.alone():
                    # An append finds its session cached: a chat reads before it writes.
                    if CELLS[name][1] == "append":
                        load.wrk(stack, stack.nginx.port, "get", max(options.connections), 1, (1, SESSIONS, 1))
                    measure_cell(stack, name, max(options.connections), 1)
                for n in options.connections:
                    with load.alone():
                        got = measure_cell(stack, name, n, options.seconds)
                    samples[name][str(n)].append(got)
                    print(f"round {turn + 1} of {options.rounds}  {name:16} {n:4} connections"
                          f" {got['rate']:8.0f}/s  p99 {got['p99']:7.2f} ms  {got['errors']} errors",
                          file=sys.stderr, flush=True)
    return samples


def finish(stack, options, samples, found):
    """Table, file, comparison."""
    print("\n".join(report.machine_lines(found)))
    print(f"medians of {options.rounds} rounds of {options.seconds} s; {SESSIONS} sessions of {MESSAGES} messages")
    print("\n".join(report.table_lines(report.medians(samples), FLOORS)))
    result = {"machine": found, "seconds": options.seconds, "rounds": options.rounds, "sessions": SESSIONS,
              "messages": MESSAGES, "samples": samples}
    with open(options.out + "/bench.json", "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    print(f"written: {options.out}/bench.json")
    if options.compare:
        print("\n".join(report.comparison_lines(options.compare["samples"], samples)))
    if stack.parley.log().count('"level":"error"'):
        print("parley logged errors:\n" + stack.parley.log(5))


def main():
    """The exit status."""
    load.end_by_exceptions()
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        options = Options(os.environ)
        with BenchStack() as stack:
            found = report.machine(stack)
            stack.seed(SESSIONS, MESSAGES)
            finish(stack, options, measure(stack, options), found)
    except OptionError as e:
        print(f"bench: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    except (StackError, load.LoadError) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

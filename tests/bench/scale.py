#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scale.py [STEP…]: whether parley stays as fast as its tables grow, and what it needs; `make bench-scale`.

  long      the newest 20 and an append in sessions of 100,000 messages against sessions of 50
  million   all operations with 1,000,000 sessions in the tables against 1,000: 1,000 of them hot, and all alike
  memory    the memory of a worker, as it serves a million requests
  overload  1,000 connections that ask for twice of what can be served

The two sides of a ratio are measured in turn, several times; a ratio is the median of those of the turns.
"""
import argparse
import functools
import json
import os
import shutil
import statistics
import sys

sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/system")
import harness
import load
import overload
import report
import seed
from bench_stack import BenchStack
from stack import StackError

STEPS = ("long", "million", "memory", "overload")
GIB = 2 ** 30
say = functools.partial(print, flush=True)


def turns(options, operation, sides):
    """Measures an operation for each side in turn. sides: name to (stack, ids). ids may be a function of the
    turn, for sessions that a measurement changes. Name to its samples."""
    samples = {name: [] for name in sides}
    for turn in range(options.rounds):
        with load.alone():
            # Back and forth, so that neither side is always the one that comes first.
            for name, (stack, ids) in list(sides.items())[::-1 if turn % 2 else 1]:
                ids = ids(turn) if callable(ids) else ids
                if turn == 0:
                    load.wrk(stack, stack.nginx.port, operation, options.connections, 1, ids)
                samples[name].append(load.wrk(stack, stack.nginx.port, operation, options.connections,
                                              options.seconds, ids))
    return samples


def figures(samples):
    """The medians of samples as text."""
    at = report.median_of(samples)
    return f"{at['rate']:6.0f}/s p99 {at['p99']:6.2f} ms {report.served_cpu(at):5.0f} us"


def compare(results, label, samples, bounds):
    """One line for each side against the first: how much longer a request takes. bounds: name to the
    maximum."""
    first, *others = samples
    for name in others:
        pairs = list(zip(samples[first], samples[name]))
        times = statistics.median(a["rate"] / b["rate"] for a, b in pairs)
        cpu = statistics.median(report.served_cpu(b) / report.served_cpu(a) for a, b in pairs)
        errors = sum(s["errors"] for pair in pairs for s in pair)
        verdict = "holds" if times <= bounds[name] else "FALLS SHORT"
        say(f"{label:18} {name:8} {figures(samples[name])} against {first} {figures(samples[first])}: time {times:.2f}"
            f" (at most {bounds[name]}: {verdict}), CPU {cpu:.2f}, {errors} errors")
        results.append({"what": label, "side": name, "against": first, "times": times, "cpu": cpu,
                        "bound": bounds[name], "errors": errors, "samples": samples})


def measure_long(options, results):
    """20 sessions of 100,000 messages: writers of one session wait for each other."""
    count, first_short = 20, 1000
    with BenchStack() as stack:
        seed.fill(stack, 1, count, options.long)
        # An append makes its session longer: each turn has short ones of its own.
        seed.fill(stack, first_short, first_short + count * (options.rounds + 1) - 1, 50)
        seed.settle(stack)

        def short(turn):
            low = first_short + count * turn
            return low, low + count - 1, 1
        for settings, operations in (("many-bare", ("page", "get")), ("many-memory", ("append",)),
                                     ("one", ("page", "get", "append"))):
            stack.switch(settings)
            for operation in operations:
                samples = turns(options, operation, {"50": (stack, short),
                                                     str(options.long): (stack, (1, count, 1))})
                compare(results, f"{operation} {settings}", samples, {str(options.long): 1.1})


def measure_million(options, results):
    """Sessions of 20 messages each, few and many. The hot ones are spread evenly."""
    few, many, messages = 1000, options.sessions, 20
    need = many * 11_000
    if shutil.disk_usage("/var/tmp").free < 2 * need:
        raise StackError(f"/var/tmp needs {2 * need / GIB:.0f} GiB free")
    with BenchStack() as small, BenchStack() as large:
        seed.fill(small, 1, few, messages)
        seed.settle(small)
        say(f"filling {many} sessions with {messages} messages each")
        seed.fill(large, 1, many, messages)
        seed.settle(large)
        say("tables and indexes: " + large.psql(
            "SELECT string_agg(relname || ' ' || pg_size_pretty(pg_total_relation_size(oid)), ', ')"
            " FROM pg_class WHERE relname IN ('sessions', 'messages')"))
        for settings, operations in (("many-bare", ("get", "page")), ("many-memory", ("append", "create")),
                                     ("one", ("get", "state", "page", "append", "create"))):
            small.switch(settings)
            large.switch(settings)
            for operation in operations:
                sides = {f"{few}": (small, (1, few, 1)), "hot": (large, (1, many, many // few)),
                         "uniform": (large, (1, many, 1))}
                if operation == "create":
                    del sides["uniform"]
                compare(results, f"{operation} {settings}", turns(options, operation, sides),
                        {"hot": 1.1, "uniform": 1.5})


def measure_memory(options, results):
    """Until one worker has served a million requests. No worker is replaced meanwhile (PARLEY_RECYCLE)."""
    with BenchStack() as stack:
        seed.fill(stack, 1, 1000, 50)
        seed.settle(stack)
        stack.parley.configure({"PARLEY_RECYCLE": "0"})
        stack.switch("one")
        pids, client, turn, rows = stack.worker_pids(), stack.client(), 0, []
        while True:
            served = {w["pid"]: w["requests"] for w in client.get("/status").json["workers"]}
            # In kB: its own, the table that all share, the program.
            memory = {pid: {part: harness.memory(pid, "Rss" + part) // 1024 for part in ("Anon", "Shmem", "File")}
                      for pid in pids}
            client.close()
            rows.append({"served": list(served.values()), "memory": list(memory.values())})
            say("requests " + ", ".join(
                f"{served[pid]}: own {memory[pid]['Anon']} kB, shared {memory[pid]['Shmem']} kB, program "
                f"{memory[pid]['File']} kB" for pid in pids))
            if max(served.values()) >= options.requests:
                break
            with load.alone():
                for operation in ("get", "page", "append", "create", "state", "get"):
                    load.wrk(stack, stack.nginx.port, operation, (16, 64)[turn % 2],
                             options.memory_seconds, (1, 1000, 1))
            turn += 1
        if stack.worker_pids() != pids:
            raise StackError("a worker was replaced:\n" + stack.parley.log(10))
        most = max(m["Anon"] + m["File"] for m in rows[-1]["memory"])
        say(f"own and program: {most / 1024:.1f} MB at most (under 20: {'holds' if most < 20480 else 'FALLS SHORT'})")
        results.append({"what": "memory", "rows": rows})


def main():
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help="all by default")
    parser.add_argument("--seconds", type=int, default=3, help="length of a measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--sessions", type=int, default=1_000_000, help="of the step million")
    parser.add_argument("--long", type=int, default=100_000, help="messages of a long session")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of a worker in the step memory")
    parser.add_argument("--memory-seconds", type=int, default=4)
    parser.add_argument("--out", help="file for all samples, as JSON")
    options = parser.parse_args()
    for step in options.steps:
        if step not in STEPS:
            parser.error(f"unknown step {step}; known: {', '.join(STEPS)}")
    load.end_by_exceptions()
    results = []
    work = {"long": measure_long, "million": measure_million, "memory": measure_memory,
            "overload": overload.measure}
    try:
        for step in options.steps or STEPS:
            say(f"== {step}")
            work[step](options, results)
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except (StackError, load.LoadError) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    finally:
        if options.out:
            with open(options.out, "w", encoding="utf-8") as f:
                json.dump(results, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

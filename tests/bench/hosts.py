#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hosts.py: two hosts (parley and nginx each) over one PostgreSQL and one Redis on this machine, compared with
one. SECONDS=3, ROUNDS=5, CONNECTIONS=16 for each host.

Each round measures in turn: the first host alone with CONNECTIONS, alone with twice as many, both at once.
docs/internals/performance.md has the figures."""
import concurrent.futures
import os
import statistics
import sys

sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/system")
import load
from bench_stack import BenchStack
from stack import Stack

SECONDS, ROUNDS, CONNECTIONS = (int(os.environ.get(name) or usual) for name, usual in
                                (("SECONDS", 3), ("ROUNDS", 5), ("CONNECTIONS", 16)))
SESSIONS = 1000


def second_host(first):
    """A host with a parley and an nginx of its own, and the servers of the first one."""
    sockets = ("PARLEY_LISTEN", "PARLEY_ADMIN")
    other = Stack(servers=("parley", "nginx"), profile="bench")
    other.parley.env = {**first.parley.env, **{name: other.parley.env[name] for name in sockets}}
    other.key = first.key
    return other.start()


def measure(hosts, operation, connections):
    """The rates of these hosts, loaded at once, and their errors."""
    ids = (1, SESSIONS, 1)
    with load.alone(), concurrent.futures.ThreadPoolExecutor(len(hosts)) as threads:
        got = list(threads.map(
            lambda host: load.wrk(host, host.nginx.port, operation, connections, SECONDS, ids), hosts))
    return sum(g["rate"] for g in got), max(g["p99"] for g in got), sum(g["errors"] for g in got)


def main():
    """Prints the medians of the rounds, and the ratios to one host."""
    load.end_by_exceptions()
    with BenchStack() as first:
        first.seed(SESSIONS, 50)
        first.switch("many")
        second = second_host(first)
        second.wait_ready()
        ways = {"one": ([first], CONNECTIONS), "one, twice the connections": ([first], 2 * CONNECTIONS),
                "two": ([first, second], CONNECTIONS)}
        samples = {(operation, way): [] for operation in ("get", "append") for way in ways}
        for operation in ("get", "append"):
            for way in ways.values():
                measure(way[0], operation, way[1])
        for turn in range(ROUNDS):
            for operation, way in samples:
                samples[operation, way].append(measure(ways[way][0], operation, ways[way][1]))
                print(turn + 1, operation, way, *samples[operation, way][-1], file=sys.stderr, flush=True)
        print(f"medians of {ROUNDS} rounds of {SECONDS} s, {CONNECTIONS} connections a host")
        for (operation, way), got in samples.items():
            base = samples[operation, "one"]
            ratios = [g[0] / b[0] for g, b in zip(got, base)]
            rate, p99, errors = (statistics.median(column) for column in zip(*got))
            print(f"{operation:7} {way:27} {rate:8.0f}/s  p99 {p99:6.2f} ms  {errors:.0f} errors"
                  f"  {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        second.close()


if __name__ == "__main__":
    main()
